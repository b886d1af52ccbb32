"""Obtaining files: whichever way they come, the same bytes arrive, or one sentence says why not."""

import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from retrace import depot
from retrace.errors import InputError
from retrace.sources import copy_folder, describe, fetch, pin, read_sums
from tests.publisher import SHORT, Publisher, flipped, sha256

SOURCES = Path(__file__).parents[1] / "stages"
FILES = {
    "labels.csv": b"A1,N\nA2,A\n",
    "training/A1.mat": b"\x00\x01" * 900,
    "training/A2.mat": b"\x02\x03" * 700,
}


def write(folder: Path, files: dict[str, bytes]) -> None:
    for name, body in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(body)


def tree(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def packed(path: Path, files: dict[str, bytes]) -> bytes:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, body in files.items():
            archive.writestr(name, body)
    return path.read_bytes()


@pytest.fixture
def sources(publisher: Publisher, tmp_path: Path) -> Path:
    """Our data set `ecg`: labels.csv as a file, the rest in training.zip, in the CinC layout."""
    folder = tmp_path / "stages"
    write(
        folder,
        {
            "sources.yaml": yaml.safe_dump(
                {
                    "ecg": {
                        "title": "ECG",
                        "licence": "MIT",
                        "citation": "nobody",
                        "url": f"{publisher.url}/files/",
                        "archives": {"training/": f"{publisher.url}/files/training.zip"},
                    }
                }
            ).encode(),
            "sources/ecg.sha256": "".join(
                f"{sha256(body)}  {name}\n" for name, body in FILES.items()
            ).encode(),
        },
    )
    return folder


def publish(publisher: Publisher, tmp_path: Path) -> None:
    members = {name: body for name, body in FILES.items() if "/" in name}
    # The published archive holds more than is pinned; the rest stays in it.
    archive = packed(tmp_path / "publisher.zip", {**members, "training/A1.hea": b"header"})
    publisher.files |= {"/files/labels.csv": FILES["labels.csv"], "/files/training.zip": archive}


def mirror_folder(publisher: Publisher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "mirror" / publisher.host / "files", FILES)
    monkeypatch.setenv("RETRACE_MIRROR", str(tmp_path / "mirror"))


def mirror_with_archive(
    publisher: Publisher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "mirror" / publisher.host / "files"
    write(folder, {"labels.csv": FILES["labels.csv"]})
    members = {f"packed/by/me/{name}": body for name, body in FILES.items() if "/" in name}
    packed(folder / "training.zip", members)
    monkeypatch.setenv("RETRACE_MIRROR", "mirror")
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))


def mirror_url(publisher: Publisher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publisher.files |= {
        f"/copies/{publisher.host}/files/{name}": body for name, body in FILES.items()
    }
    monkeypatch.setenv("RETRACE_MIRROR", f"{publisher.url}/copies/")


def own_address(publisher: Publisher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(publisher, tmp_path)


@pytest.mark.parametrize("way", [mirror_folder, mirror_with_archive, mirror_url, own_address])
def test_every_way_gives_the_same_folder(
    way: Callable[..., None],
    publisher: Publisher,
    sources: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    way(publisher, tmp_path, monkeypatch)
    fetch("ecg", tmp_path / "data" / "raw", sources=sources, patience=SHORT)
    names = {
        name: f"{publisher.url}/files/" + (f"training.zip#{name}" if "/" in name else name)
        for name in FILES
    }
    manifest = "path,url,sha256,bytes\n" + "".join(
        f"{name},{url},{sha256(FILES[name])},{len(FILES[name])}\n" for name, url in names.items()
    )
    assert tree(tmp_path / "data") == {
        **{f"raw/{name}": body for name, body in FILES.items()},
        "raw/manifest.csv": manifest.encode(),
    }
    asked = {path for path, *_ in publisher.requests}
    if way is own_address:
        assert asked == {"/files/labels.csv", "/files/training.zip"}
    else:
        assert not any(path.startswith("/files/") for path in asked)


@pytest.mark.parametrize("name", FILES)
def test_a_flipped_bit_in_the_mirror_is_refused_by_name(
    name: str,
    publisher: Publisher,
    sources: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mirror_folder(publisher, tmp_path, monkeypatch)
    path = tmp_path / "mirror" / publisher.host / "files" / name
    path.write_bytes(flipped(FILES[name]))
    write(tmp_path / "data" / "raw", {"before": b"kept"})
    with pytest.raises(InputError) as error:
        fetch("ecg", tmp_path / "data" / "raw", sources=sources)
    for part in (name, sha256(FILES[name]), sha256(flipped(FILES[name])), str(path), "put that"):
        assert part in str(error.value)
    assert tree(tmp_path / "data") == {"raw/before": b"kept"}


def test_a_wrong_byte_from_the_publisher_is_thrown_away(
    publisher: Publisher, sources: Path, tmp_path: Path
) -> None:
    publish(publisher, tmp_path)
    publisher.faults = ["wrong"]
    with pytest.raises(InputError, match=sha256(flipped(FILES["labels.csv"]))):
        fetch("ecg", tmp_path / "raw", sources=sources, patience=SHORT)
    good = publisher.files["/files/training.zip"]
    members = {"training/A1.mat": FILES["training/A1.mat"], "training/A2.mat": b"other"}
    publisher.files["/files/training.zip"] = packed(tmp_path / "other.zip", members)
    with pytest.raises(InputError, match=r"training\.zip#training/A2\.mat.*run the command again"):
        fetch("ecg", tmp_path / "raw", sources=sources, patience=SHORT)
    publisher.files["/files/training.zip"] = good
    assert not (tmp_path / "raw").exists()
    fetch("ecg", tmp_path / "raw", sources=sources, patience=SHORT)
    assert set(tree(tmp_path / "raw")) == {*FILES, "manifest.csv"}


def test_a_damaged_cache_is_obtained_anew(
    publisher: Publisher, sources: Path, tmp_path: Path
) -> None:
    publish(publisher, tmp_path)
    fetch("ecg", tmp_path / "raw", sources=sources)
    publisher.requests.clear()
    fetch("ecg", tmp_path / "again", sources=sources)
    assert publisher.requests == []
    for path in (tmp_path / "cache" / "retrace" / publisher.host / "files").iterdir():
        path.write_bytes(path.read_bytes()[:-30])
    fetch("ecg", tmp_path / "anew", sources=sources)
    assert tree(tmp_path / "again") == tree(tmp_path / "anew") == tree(tmp_path / "raw")


def test_what_nobody_has_is_named_with_the_place_to_put_it(
    publisher: Publisher, sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match=r"labels\.csv: there is no such file.*RETRACE_MIRROR"):
        fetch("ecg", tmp_path / "raw", sources=sources, patience=SHORT)
    mirror_folder(publisher, tmp_path, monkeypatch)
    (tmp_path / "mirror" / publisher.host / "files" / "training" / "A2.mat").unlink()
    with pytest.raises(InputError, match=r"put the file at .*mirror.*/files/training/A2\.mat"):
        fetch("ecg", tmp_path / "raw", sources=sources, patience=SHORT)
    monkeypatch.setenv("RETRACE_MIRROR", "nowhere")
    with pytest.raises(InputError, match=r"RETRACE_MIRROR=nowhere: .* is no folder"):
        fetch("ecg", tmp_path / "raw", sources=sources, patience=SHORT)


def test_a_closed_port_says_what_to_do(publisher: Publisher, sources: Path, tmp_path: Path) -> None:
    publisher.shutdown()
    publisher.server_close()
    with pytest.raises(InputError, match=r"refused\), 3 times in a row; .*RETRACE_MIRROR"):
        fetch("ecg", tmp_path / "raw", sources=sources, patience=SHORT)


def test_a_source_with_an_account_is_never_downloaded(
    publisher: Publisher, sources: Path, tmp_path: Path
) -> None:
    publish(publisher, tmp_path)
    entries = yaml.safe_load((sources / "sources.yaml").read_text())
    entries["ecg"]["account"] = "download it from the site after logging in"
    (sources / "sources.yaml").write_text(yaml.safe_dump(entries))
    with pytest.raises(InputError, match=r"after logging in; put the file at .*/labels\.csv in a"):
        fetch("ecg", tmp_path / "raw", sources=sources)
    assert publisher.requests == []


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({"../training/A1.mat": FILES["training/A1.mat"]}, "points out of the archive"),
        ({"training/A2.mat": FILES["training/A2.mat"]}, "no such member"),
        ({"training/A1.mat": bytes(1 << 20)}, "unpacks to 1048576 bytes, more than 65536"),
        ({}, "archive is damaged"),
    ],
)
def test_a_bad_archive_is_refused(
    files: dict[str, bytes],
    reason: str,
    publisher: Publisher,
    sources: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(depot, "LARGEST_MEMBER", 65536)
    publish(publisher, tmp_path)
    publisher.files["/files/training.zip"] = packed(tmp_path / "bad.zip", files) if files else b"?"
    with pytest.raises(InputError, match=rf"training\.zip#training/A1\.mat: .*{reason}"):
        fetch("ecg", tmp_path / "data" / "raw", sources=sources, patience=SHORT)
    assert not list((tmp_path / "data").iterdir())
    assert not (tmp_path / "training").exists()


@pytest.mark.parametrize(
    "line",
    ["../out", "/etc/passwd", "a/../../out", "c:out", "a\\b", "manifest.csv", "labels.csv", ""],
)
def test_a_list_of_files_stays_below_its_folder(line: str, tmp_path: Path) -> None:
    path = tmp_path / "x.sha256"
    path.write_text(f"# ours\n{'0' * 64}  labels.csv\n{'0' * 64}  {line}\n")
    with pytest.raises(InputError, match=r"x\.sha256, line 3: .*retrace pin"):
        read_sums(path)


@given(
    files=st.dictionaries(
        st.sampled_from(["a.dat", "a.hea", "b/c.dat", "b/c d.hea", "é/ü.dat", "labels.csv"]),
        st.binary(max_size=50),
        min_size=1,
    )
)
def test_pinning_and_copying_is_a_round_trip(
    files: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = tmp_path_factory.mktemp("own")
    write(root / "mine", files)
    (root / "mine.sha256").write_text(pin(root / "mine"), encoding="utf-8")
    write(root / "mine", {".DS_Store": b"hidden"})
    copy_folder(root / "mine", root / "mine.sha256", root / "raw")
    copied = tree(root / "raw")
    assert copied.pop("manifest.csv").count(b"\n") == len(files) + 1
    assert copied == files
    # What was fetched can be pinned again, to the same list.
    assert pin(root / "raw") == pin(root / "mine")


def test_an_own_recording_that_changed_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine, sums = tmp_path / "mine", tmp_path / "mine.sha256"
    write(mine, FILES)
    sums.write_text("# nothing yet\n")
    with pytest.raises(InputError, match=r"mine\.sha256: lists no files: `retrace pin "):
        copy_folder(mine, sums, tmp_path / "raw")
    sums.write_text(pin(mine))
    write(mine, {"new.dat": b"later"})
    copy_folder(mine, sums, tmp_path / "raw")
    assert "1 files are not in" in capsys.readouterr().out
    write(mine, {"labels.csv": flipped(FILES["labels.csv"])})
    with pytest.raises(InputError, match=r"labels\.csv: .*restore the file.*retrace pin"):
        copy_folder(mine, sums, tmp_path / "raw")
    (mine / "labels.csv").unlink()
    with pytest.raises(InputError, match=r"labels\.csv: cannot be read"):
        copy_folder(mine, sums, tmp_path / "raw")
    shutil.rmtree(mine)
    with pytest.raises(InputError, match="no such folder"):
        pin(mine)


def test_the_committed_sources_are_whole() -> None:
    entries = yaml.safe_load((SOURCES / "sources.yaml").read_text(encoding="utf-8"))
    for name in entries:
        assert describe(name, SOURCES).licence
    sums = read_sums(SOURCES / "sources" / "cinc2017.sha256")
    records = {f"training2017/A{number:05}.mat" for number in range(1, 8529)}
    assert set(sums) == {"REFERENCE-v3.csv", *records}
    # The exact duplicates that are known in this set.
    assert sums["training2017/A00227.mat"] == sums["training2017/A01176.mat"]
    assert sums["training2017/A02656.mat"] == sums["training2017/A03123.mat"]
    place = describe("cinc2017", SOURCES).place("training2017/A00001.mat")
    base = "physionet.org/files/challenge-2017/1.0.0/training2017"
    assert place.canonical == f"https://{base}.zip#training2017/A00001.mat"
    assert place.address.as_posix() == f"{base}/A00001.mat"
    assert read_sums(SOURCES / "sources" / "synthetic.sha256") == {}
    with pytest.raises(InputError, match=r"expected cinc2017, .*; got 'cinc2018'"):
        describe("cinc2018", SOURCES)
