"""Downloads: a bad line is borne with, and nothing half or other than published arrives."""

import ssl
from pathlib import Path

import pytest

from retrace.downloads import Patience
from retrace.errors import InputError
from retrace.sources import obtain
from tests.publisher import SHORT, Publisher, self_signed, serving, sha256

WEIGHTS = bytes(range(256)) * 4096


@pytest.mark.parametrize("fault", ["truncate", "stall", "500", "429", "redirect"])
def test_a_bad_line_is_borne_with(fault: str, publisher: Publisher, tmp_path: Path) -> None:
    publisher.files["/weights.pth"] = WEIGHTS
    publisher.faults = [fault]
    obtain(f"{publisher.url}/weights.pth", tmp_path / "w.pth", patience=SHORT)
    assert (tmp_path / "w.pth").read_bytes() == WEIGHTS
    (_, _, first), (path, wanted, second) = publisher.requests
    if fault in ("truncate", "stall"):
        assert wanted == f"bytes={len(WEIGHTS) // 2}-"
    if fault in ("429", "500"):
        assert second - first >= 1.0  # as Retry-After asked
    assert (path == "/moved") == (fault == "redirect")


def test_the_next_command_goes_on_where_the_last_one_gave_up(
    publisher: Publisher, tmp_path: Path
) -> None:
    url = f"{publisher.url}/weights.pth"
    publisher.files["/weights.pth"] = WEIGHTS
    publisher.faults = ["truncate", "500", "500", "500"]
    impatient = Patience(timeout=0.3, attempts=2, backoff=0.01, longest=0.5)
    with pytest.raises(InputError, match=r"busy \(HTTP 500\).*wait 1 s.*RETRACE_MIRROR"):
        obtain(url, tmp_path / "w.pth", patience=impatient)
    assert not (tmp_path / "w.pth").exists()
    publisher.faults = []
    obtain(url, tmp_path / "w.pth", patience=impatient)
    assert publisher.requests[-1][1] == f"bytes={len(WEIGHTS) // 2}-"
    assert (tmp_path / "w.pth").read_bytes() == WEIGHTS


def test_the_rest_of_another_version_is_never_appended(
    publisher: Publisher, tmp_path: Path
) -> None:
    publisher.files["/weights.pth"] = WEIGHTS
    publisher.faults = ["truncate", "truncate", "truncate"]
    with pytest.raises(InputError, match="it broke off before its end"):
        obtain(f"{publisher.url}/weights.pth", tmp_path / "w.pth", patience=Patience(attempts=1))
    publisher.faults = []
    publisher.files["/weights.pth"] = WEIGHTS[::-1]
    obtain(f"{publisher.url}/weights.pth", tmp_path / "w.pth", patience=SHORT)
    assert (tmp_path / "w.pth").read_bytes() == WEIGHTS[::-1]


def test_nothing_comes_without_tls_where_tls_was_asked_for(
    publisher: Publisher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate, key = self_signed(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    secure = Publisher()
    secure.socket = context.wrap_socket(secure.socket, server_side=True)
    secure.files["/w.pth"] = publisher.files["/moved"] = WEIGHTS
    url = f"https://{secure.host}/w.pth"
    with serving(secure):
        with pytest.raises(InputError, match="its TLS certificate is refused"):
            obtain(url, tmp_path / "w.pth", patience=SHORT)
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
        secure.faults = ["redirect"]
        secure.moved = f"{publisher.url}/moved"
        with pytest.raises(InputError, match="redirects to an address without TLS"):
            obtain(url, tmp_path / "w.pth", patience=SHORT)
        assert obtain(url, tmp_path / "w.pth", patience=SHORT) == sha256(WEIGHTS)


def test_weights_known_by_eight_digits_are_checked_and_said_not_to_be_pinned(
    publisher: Publisher, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"{publisher.url}/models/efficientnet_b0_rwightman-7f5810bc.pth"
    publisher.files["/models/efficientnet_b0_rwightman-7f5810bc.pth"] = WEIGHTS
    with pytest.raises(InputError, match=f"SHA-256 is {sha256(WEIGHTS)}, but 7f5810bc is pinned"):
        obtain(url, tmp_path / "w.pth", sha256_prefix="7f5810bc", patience=SHORT)
    assert not (tmp_path / "w.pth").exists()
    prefix = sha256(WEIGHTS)[:8]
    assert obtain(url, tmp_path / "w.pth", sha256_prefix=prefix) == sha256(WEIGHTS)
    assert f"not pinned; its SHA-256 is {sha256(WEIGHTS)}" in capsys.readouterr().out
    assert obtain(url, tmp_path / "w.pth", sha256=sha256(WEIGHTS)) == sha256(WEIGHTS)
    assert capsys.readouterr().out == ""
