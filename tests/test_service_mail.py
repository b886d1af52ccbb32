"""Mail: whatever the mail server does, no mail is lost, and none is sent twice without need."""

import email
import email.policy
import ipaddress
import logging
import socket
import ssl
import stat
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, nullcontext
from datetime import timedelta
from email.message import EmailMessage
from pathlib import Path
from threading import Barrier, Event
from time import monotonic, sleep
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from sqlalchemy import delete, select

from retrace.errors import InputError
from retrace.service import delivery, mail
from retrace.service.database import Database
from retrace.service.tables import Mail, now
from tests.desk import DATABASES
from tests.serving import free_port, postgres_database, service_settings

TO = "staff@example.org"
TOKEN = "https://retrace.example.org/reset?token=" + 60 * "t"


class Received:
    """What a mail server got; `answer` is said to each mail, `recipient` to each address."""

    def __init__(self, answer: str = "250 OK", recipient: str = "250 OK") -> None:
        self.mails: list[EmailMessage] = []
        self.passwords: list[bytes] = []
        self.answer, self.recipient = answer, recipient
        self.drops = False  # the connection, once it has a mail
        self.rude = False  # ends without a word when the client says QUIT

    async def handle_RCPT(
        self, server: Any, session: Any, envelope: Any, address: str, options: Any
    ) -> str:
        if self.recipient.startswith("250"):
            envelope.rcpt_tos.append(address)
        return self.recipient

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        self.mails.append(email.message_from_bytes(envelope.content, policy=email.policy.default))
        if self.drops:
            server.transport.abort()
        return self.answer

    async def handle_QUIT(self, server: Any, session: Any, envelope: Any) -> str:
        if self.rude:
            server.transport.abort()
        return "221 Bye"

    def check(self, server: Any, session: Any, envelope: Any, kind: str, given: Any) -> AuthResult:
        assert isinstance(given, LoginPassword)
        self.passwords.append(given.password)
        return AuthResult(success=True)


@contextmanager
def server(received: Received, **options: Any) -> Iterator[str]:
    """A real SMTP server on loopback; its address without the scheme."""
    controller = Controller(received, hostname="127.0.0.1", port=free_port(), **options)
    controller.start()
    try:
        yield f"127.0.0.1:{controller.port}"
    finally:
        controller.stop()


@pytest.fixture(scope="module", params=DATABASES)
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    with nullcontext("") if request.param == "sqlite" else postgres_database() as url:
        yield url


@pytest.fixture
def database(url: str, tmp_path: Path) -> Iterator[Database]:
    database = Database(service_settings(tmp_path, database_url=url).database)
    database.prepare()
    with closing(database):
        yield database
        with database.write() as session:
            session.execute(delete(Mail))


def outbox(database: Database, tmp_path: Path, url: str = "", **changes: Any) -> mail.Outbox:
    settings = service_settings(tmp_path, smtp_url=url, **changes)
    return mail.Outbox(settings, database, lambda: None)


def queued(database: Database, to: str = TO, body: str = TOKEN) -> None:
    with database.write() as session:
        mail.queue(session, to, "Your password", f"{body}\n")


def kept(database: Database) -> list[Mail]:
    with database.read() as session:
        return list(session.scalars(select(Mail).order_by(Mail.id)))


def change(database: Database, **values: Any) -> None:
    with database.write() as session:
        for row in session.scalars(select(Mail)):
            for name, value in values.items():
                setattr(row, name, value)


def until(done: Callable[[], object]) -> None:
    deadline = monotonic() + 20
    while not done() and monotonic() < deadline:
        sleep(0.01)
    assert done()


def test_without_a_server_a_mail_becomes_a_file_of_its_owner(
    database: Database, tmp_path: Path
) -> None:
    queued(database)
    outbox(database, tmp_path).round(Event())

    (path,) = (tmp_path / "var/mail").iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert TOKEN in path.read_text().splitlines()  # on one line: it can be copied
    found = email.message_from_bytes(path.read_bytes(), policy=email.policy.default)
    assert (found["To"], found["Subject"]) == (TO, "Your password")


def test_a_mail_arrives_and_its_body_is_forgotten(database: Database, tmp_path: Path) -> None:
    received = Received()
    queued(database, body="Grüße")
    with server(received) as address:
        outbox(
            database, tmp_path, f"smtp://{address}", mail_from="Retrace <ecg@example.org>"
        ).round(Event())

    (found,) = received.mails
    assert (found["From"], found["To"]) == ("Retrace <ecg@example.org>", TO)
    assert found.get_content().strip() == "Grüße"
    (row,) = kept(database)
    assert (row.body, row.due, row.attempts) == ("", None, 1)
    assert row.sent is not None


def test_what_is_undone_is_not_mailed(database: Database, tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), database.write() as session:
        mail.queue(session, TO, "Never", "said")
        session.flush()
        raise ZeroDivisionError
    outbox(database, tmp_path).round(Event())

    assert not (tmp_path / "var/mail").exists()


@pytest.mark.parametrize(
    "address",
    ["", "nobody", "a@b@c", "a@b, c@d", "a@b\r\nBcc: c@d", "<a@b>", "a b@c", "a@b\x00", "a@b;c"],
)
def test_only_one_address_can_be_written_to(database: Database, address: str) -> None:
    with pytest.raises(ValueError, match="address"):
        queued(database, address)
    assert kept(database) == []


def test_a_subject_adds_no_line_to_the_head(database: Database, tmp_path: Path) -> None:
    with database.write() as session:
        mail.queue(session, TO, "Alert\r\nBcc: other@example.org", "body")
    outbox(database, tmp_path).round(Event())

    (path,) = (tmp_path / "var/mail").iterdir()
    found = email.message_from_bytes(path.read_bytes(), policy=email.policy.default)
    assert found["Bcc"] is None
    assert found["Subject"] == "Alert Bcc: other@example.org"


@pytest.mark.parametrize(
    "changes",
    [
        {"smtp_url": "http://user:hidden@host"},
        {"smtp_url": "smtp://user:hidden@"},
        {"smtp_url": "smtp://user:hidden@host:port"},
        {"smtp_url": "smtp://user:hidden@[host"},
        {"mail_from": "retrace"},
        {"mail_from": "retrace@example.org\nBcc: a@b"},
        {"alert_mail": "a@example.org; b@example.org"},
    ],
)
def test_wrong_settings_are_refused_and_not_quoted(
    database: Database, tmp_path: Path, changes: dict[str, str]
) -> None:
    with pytest.raises(InputError, match="RETRACE_") as raised:
        mail.Outbox(service_settings(tmp_path, **changes), database, lambda: None)
    assert "hidden" not in str(raised.value)


def test_a_server_that_is_down_is_tried_again_ever_less_often(
    database: Database, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sends = outbox(database, tmp_path, f"smtp://127.0.0.1:{free_port()}")
    queued(database)
    pauses = []
    with caplog.at_level(logging.INFO):
        for _ in range(9):
            change(database, due=now())
            begun = now()
            sends.round(Event())
            (row,) = kept(database)
            assert row.due is not None
            pauses.append(round((row.due - begun).total_seconds() / 60))

    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert "ConnectionRefusedError" in caplog.text
    assert TO not in caplog.text
    assert "token" not in caplog.text


def test_after_three_days_a_mail_is_given_up_aloud(
    database: Database, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    queued(database)
    change(database, created=now() - timedelta(days=3, minutes=1))
    outbox(database, tmp_path, f"smtp://127.0.0.1:{free_port()}").round(Event())

    (row,) = kept(database)
    assert (row.due, row.sent, row.body) == (None, None, "")
    assert [record.levelname for record in caplog.records] == ["ERROR"]


@pytest.mark.parametrize(("answer", "waits"), [("550 no such box", False), ("451 later", True)])
def test_an_address_that_is_refused_for_good_is_not_tried_again(
    database: Database, tmp_path: Path, answer: str, waits: bool
) -> None:
    queued(database)
    with server(Received(recipient=answer)) as address:
        outbox(database, tmp_path, f"smtp://{address}").round(Event())

    (row,) = kept(database)
    assert (row.due is not None) is waits
    assert row.error == f"SMTPRecipientsRefused {answer[:3]}"


def test_a_mail_that_the_server_refuses_waits(database: Database, tmp_path: Path) -> None:
    received = Received("452 the disk is full")
    queued(database)
    with server(received) as address:
        sends = outbox(database, tmp_path, f"smtp://{address}")
        sends.round(Event())
        (row,) = kept(database)
        assert (row.sent, row.error) == (None, "SMTPDataError 452")
        received.answer = "250 OK"
        change(database, due=now())
        sends.round(Event())

    (row,) = kept(database)
    assert row.sent is not None


def test_a_connection_that_breaks_behind_the_mail_leaves_one_mail_to_its_reader(
    database: Database, tmp_path: Path
) -> None:
    received = Received()
    received.drops = True
    queued(database)
    with server(received) as address:
        sends = outbox(database, tmp_path, f"smtp://{address}")
        sends.round(Event())
        assert kept(database)[0].sent is None  # nobody knows whether the server kept it
        received.drops = False
        change(database, due=now())
        sends.round(Event())

    first, second = received.mails
    assert first["Message-ID"] == second["Message-ID"]  # by which mailboxes drop the second
    assert kept(database)[0].sent is not None


def test_a_server_that_breaks_off_at_the_end_has_taken_the_mail(
    database: Database, tmp_path: Path
) -> None:
    received = Received()
    received.rude = True
    queued(database)
    with server(received) as address:
        outbox(database, tmp_path, f"smtp://{address}").round(Event())

    assert len(received.mails) == 1
    assert kept(database)[0].sent is not None


def test_a_server_that_hangs_holds_up_neither_who_queues_nor_the_end(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "TIMEOUT", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings = service_settings(
            tmp_path, smtp_url=f"smtp://127.0.0.1:{silent.getsockname()[1]}"
        )
        with mail.sending(settings, database):
            queued(database)
            until(lambda: kept(database)[0].attempts)
            queued(database)
            until(lambda: kept(database)[0].error)

    assert [row.sent for row in kept(database)] == [None, None]
    assert kept(database)[0].error in ("TimeoutError", "SMTPServerDisconnected")


def test_two_processes_send_each_mail_once(database: Database, tmp_path: Path) -> None:
    received = Received()
    for _ in range(12):
        queued(database)
    ready = Barrier(2)

    def work(address: str) -> None:
        sends = outbox(database, tmp_path, f"smtp://{address}")
        ready.wait()
        sends.round(Event())

    with server(received) as address, ThreadPoolExecutor(2) as pool:
        list(pool.map(work, [address, address]))

    assert len({found["Message-ID"] for found in received.mails}) == len(received.mails) == 12
    assert all(row.attempts == 1 and row.sent for row in kept(database))


def test_a_mail_whose_process_was_killed_is_sent_by_the_next(
    database: Database, tmp_path: Path
) -> None:
    queued(database)
    killed = outbox(database, tmp_path)
    (row,) = kept(database)
    assert killed._taken(row)
    outbox(database, tmp_path).round(Event())
    assert kept(database)[0].sent is None  # it may still be at work
    change(database, due=now())  # as it is after five minutes
    outbox(database, tmp_path).round(Event())

    assert kept(database)[0].sent is not None


def test_a_commit_wakes_the_thread(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mail, "EVERY", 3600.0)
    with mail.sending(service_settings(tmp_path), database):
        sleep(0.2)  # it has looked, found nothing, and sleeps
        queued(database)
        until(lambda: kept(database)[0].sent)


def test_what_goes_wrong_while_looking_does_not_end_the_thread(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mail, "EVERY", 0.01)
    failures = iter([RuntimeError("first"), RuntimeError("second")])

    def gather() -> None:
        if error := next(failures, None):
            raise error

    queued(database)
    with mail.sending(service_settings(tmp_path), database, gather):
        until(lambda: kept(database)[0].sent)


def test_old_mails_are_forgotten(database: Database, tmp_path: Path) -> None:
    queued(database)
    sends = outbox(database, tmp_path)
    sends.round(Event())
    change(database, created=now() - timedelta(days=40))
    assert list((tmp_path / "var/mail").iterdir())
    outbox(database, tmp_path).round(Event())

    assert kept(database) == []
    assert not list((tmp_path / "var/mail").iterdir())


def test_who_is_forgotten_leaves_no_file(database: Database, tmp_path: Path) -> None:
    queued(database)
    queued(database, to="other@example.org")
    with mail.sending(service_settings(tmp_path), database):
        until(lambda: all(row.sent for row in kept(database)))
        with database.write() as session:
            mail.forget(session, TO)
        until(lambda: len(list((tmp_path / "var/mail").iterdir())) == 1)

    (row,), (path,) = kept(database), (tmp_path / "var/mail").iterdir()
    assert (row.to, path.stem) == ("other@example.org", row.id)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Key and certificate of 127.0.0.1, which no authority has signed."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "mail")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now() - timedelta(days=1))
        .not_valid_after(now() + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "mail.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + made.public_bytes(serialization.Encoding.PEM)
    )
    return path


@pytest.mark.parametrize("scheme", ["smtp", "smtps"])
@pytest.mark.parametrize("trusted", [True, False])
def test_a_password_goes_to_a_server_whose_certificate_is_trusted_alone(
    database: Database,
    tmp_path: Path,
    certificate: Path,
    monkeypatch: pytest.MonkeyPatch,
    scheme: str,
    trusted: bool,
) -> None:
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    received = Received()
    tls: dict[str, Any] = (
        {"ssl_context": context}
        if scheme == "smtps"
        else {"tls_context": context, "require_starttls": True}
    )
    queued(database)
    with tls_server(received, **tls) as address:
        outbox(database, tmp_path, f"{scheme}://ecg:p%40ss@{address}").round(Event())

    assert received.passwords == ([b"p@ss"] if trusted else [])
    assert len(received.mails) == trusted
    assert kept(database)[0].error == (None if trusted else "SSLCertVerificationError 1")


@contextmanager
def tls_server(received: Received, **options: Any) -> Iterator[str]:
    """The same with TLS. (The controller's own knock at the door speaks none.)"""
    options |= {"authenticator": received.check, "auth_require_tls": False}
    controller = Controller(received, hostname="127.0.0.1", port=free_port(), **options)
    if "ssl_context" in options:
        controller._trigger_server = lambda: _knock(controller)  # type: ignore[method-assign]
    controller.start()
    try:
        yield f"127.0.0.1:{controller.port}"
    finally:
        controller.stop()


def _knock(controller: Controller) -> None:
    context = ssl._create_unverified_context()
    with (
        socket.create_connection(("127.0.0.1", controller.port), 5) as plain,
        context.wrap_socket(plain) as secure,
    ):
        secure.recv(100)


def test_no_password_goes_to_another_machine_in_the_clear(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "LOOPBACK", ())
    received = Received()
    queued(database)
    options = {"authenticator": received.check, "auth_require_tls": False}
    with server(received, **options) as address:
        outbox(database, tmp_path, f"smtp://ecg:hidden@{address}").round(Event())

    assert (received.passwords, received.mails) == ([], [])
    assert kept(database)[0].error == "SMTPNotSupportedError"
