"""A publisher on loopback that does what real ones do on bad days."""

import hashlib
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from retrace.downloads import Patience

SHORT = Patience(timeout=0.3, attempts=3, backoff=0.01, longest=2.0)


class Publisher(ThreadingHTTPServer):
    """Serves `files` with ranges and ETags; `faults` are what it does wrong, request by request."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.faults: list[str] = []
        self.requests: list[tuple[str, str | None, float]] = []
        self.host = f"127.0.0.1:{self.server_address[1]}"
        self.url = f"http://{self.host}"
        self.moved = "/moved"
        self.over = threading.Event()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Publisher

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.server.requests.append((self.path, wanted, time.monotonic()))
        fault = self.server.faults.pop(0) if self.server.faults else ""
        body = self.server.files.get(self.path)
        if fault in ("429", "500") or body is None:
            self.answer(int(fault or 404), b"", {"Retry-After": "1"} if fault else {})
            return
        if fault == "redirect":
            self.server.files["/moved"] = body
            self.answer(302, b"", {"Location": self.server.moved})
            return
        if fault == "wrong":
            body = flipped(body)
        tag = f'"{hashlib.md5(body).hexdigest()}"'
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
        if self.headers.get("If-Range", tag) != tag:
            start = 0
        headers = {"ETag": tag}
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
        self.answer(206 if start else 200, body[start:], headers, fault)

    def answer(self, status: int, body: bytes, headers: dict[str, str], fault: str = "") -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if fault not in ("truncate", "stall"):
            self.wfile.write(body)
            return
        self.wfile.write(body[: len(body) // 2])
        self.wfile.flush()
        if fault == "stall":
            self.server.over.wait(5)
        self.close_connection = True


@contextmanager
def serving(server: Publisher) -> Iterator[Publisher]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.over.set()
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def publishing(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Publisher]:
    """A publisher, no mirror, and an empty cache of our own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    monkeypatch.delenv("RETRACE_MIRROR", raising=False)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    with serving(Publisher()) as server:
        yield server


def flipped(body: bytes) -> bytes:
    """One bit of the middle byte is another."""
    middle = len(body) // 2
    return body[:middle] + bytes([body[middle] ^ 1]) + body[middle + 1 :]


def sha256(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def self_signed(folder: Path) -> tuple[Path, Path]:
    """A certificate of 127.0.0.1 that nobody has reason to trust, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    address = x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(address, critical=False)
        .sign(key, hashes.SHA256())
    )
    (folder / "certificate.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    return folder / "certificate.pem", folder / "key.pem"
