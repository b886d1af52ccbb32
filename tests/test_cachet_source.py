"""Obtaining CACHET-CADB: one file in a .zip whose address does not say that it is one."""

import zipfile
from pathlib import Path

import pytest
import yaml

from retrace.datasets.cachet_cadb import FILE
from retrace.errors import InputError
from retrace.sources import describe, fetch, read_sums
from tests.publisher import SHORT, Publisher, flipped, sha256
from tests.sources import ROOT

CONTENT = b"\x89HDF\r\n\x1a\n" * 500
PLACE = "/ndownloader/files/27917358"  # a .zip in all but name


@pytest.fixture
def stages(publisher: Publisher, tmp_path: Path) -> Path:
    """The committed entry, but at the local server, and with a smaller file's hash."""
    entry = yaml.safe_load((ROOT / "stages/sources.yaml").read_text())["cachet_cadb"]
    entry["archives"] = {"": publisher.url + PLACE}
    (tmp_path / "stages/sources").mkdir(parents=True)
    (tmp_path / "stages/sources.yaml").write_text(yaml.safe_dump({"cachet_cadb": entry}))
    sums = tmp_path / "stages/sources/cachet_cadb.sha256"
    sums.write_text(f"{sha256(CONTENT)}  {FILE}\n")
    return tmp_path / "stages"


def packed(folder: Path, members: dict[str, bytes]) -> bytes:
    with zipfile.ZipFile(folder / "packed.zip", "w") as archive:
        for name, body in members.items():
            archive.writestr(name, body)
    return (folder / "packed.zip").read_bytes()


def obtained(stages: Path, raw: Path) -> bytes:
    fetch("cachet_cadb", raw, sources=stages, patience=SHORT)
    assert sorted(path.name for path in raw.iterdir()) == [FILE, "manifest.csv"]
    return (raw / FILE).read_bytes()


@pytest.mark.parametrize(
    "members",
    [{FILE: CONTENT}, {f"__MACOSX/short/._{FILE}": b"fork", f"short/{FILE}": CONTENT}],
    ids=["at the top", "in a folder"],
)
def test_the_file_comes_out_of_an_archive_whose_address_does_not_say_so(
    members: dict[str, bytes], publisher: Publisher, stages: Path, tmp_path: Path
) -> None:
    publisher.files[PLACE] = packed(tmp_path, members)
    publisher.faults = ["redirect"]

    assert obtained(stages, tmp_path / "raw") == CONTENT
    manifest = (tmp_path / "raw/manifest.csv").read_text()
    assert f"{FILE},{publisher.url}{PLACE}#{FILE},{sha256(CONTENT)},4000" in manifest


def test_a_mirror_holds_the_file_below_the_archives_address(
    publisher: Publisher, stages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "mirror" / (publisher.host + PLACE)
    folder.mkdir(parents=True)
    (folder / FILE).write_bytes(CONTENT)
    monkeypatch.setenv("RETRACE_MIRROR", str(tmp_path / "mirror"))

    assert obtained(stages, tmp_path / "raw") == CONTENT
    assert publisher.requests == []


def test_archive_and_file_stand_side_by_side_in_the_cache(
    publisher: Publisher, stages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher.files[PLACE] = packed(tmp_path, {FILE: CONTENT})
    obtained(stages, tmp_path / "first")
    publisher.files[f"/copies/{publisher.host}{PLACE}/{FILE}"] = CONTENT
    monkeypatch.setenv("RETRACE_MIRROR", f"{publisher.url}/copies")

    assert obtained(stages, tmp_path / "second") == CONTENT


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({FILE: flipped(CONTENT)}, f"{sha256(flipped(CONTENT))}, but {sha256(CONTENT)} is pinned"),
        ({"readme.txt": CONTENT}, "the archive has no such member"),
    ],
)
def test_another_file_or_none_is_refused_by_name(
    members: dict[str, bytes], words: str, publisher: Publisher, stages: Path, tmp_path: Path
) -> None:
    publisher.files[PLACE] = packed(tmp_path, members)

    with pytest.raises(InputError, match=f"27917358#{FILE}: .*{words}"):
        fetch("cachet_cadb", tmp_path / "raw", sources=stages, patience=SHORT)
    assert not (tmp_path / "raw").exists()


def test_the_committed_entry_names_the_published_file() -> None:
    source = describe("cachet_cadb", ROOT / "stages")
    sums = read_sums(ROOT / "stages/sources/cachet_cadb.sha256")

    assert "10.11583/DTU.14547330" in source.citation
    assert [*sums] == [FILE]
    assert sums[FILE].startswith("d4311871")
    base = f"data.dtu.dk{PLACE}"
    assert source.place(FILE).canonical == f"https://{base}#{FILE}"
    assert source.place(FILE).address.as_posix() == f"{base}/{FILE}"
