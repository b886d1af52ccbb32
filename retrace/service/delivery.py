"""How a mail leaves: by SMTP, or as a file where no server is set."""

import smtplib
import ssl
from collections.abc import Callable
from contextlib import suppress
from email.message import EmailMessage
from pathlib import Path
from urllib.parse import unquote, urlsplit

from retrace.errors import InputError
from retrace.files import new_file

TIMEOUT = 10  # s for each answer of the server
LOOPBACK = ("localhost", "127.0.0.1", "::1")

# Takes a mail and its id; raises OSError, SMTPException or ValueError where it could not be sent.
Delivery = Callable[[EmailMessage, str], None]


def by_smtp(url: str) -> Delivery:
    """Hand mails to the server at smtp[s]://user:password@host:port.

    smtps:// speaks TLS from the start, smtp:// as soon as the server offers it; its certificate
    must be valid either way. A password is never sent in the clear, but to this machine. Raises
    InputError for another address; it is not quoted, for it may hold a password.
    """
    try:
        parsed = urlsplit(url)
        port = parsed.port or 0
    except ValueError:
        parsed, port = urlsplit(""), 0
    if parsed.scheme not in ("smtp", "smtps") or not parsed.hostname:
        raise InputError(
            "RETRACE_SMTP_URL: not the address of a mail server; it is "
            "smtp://user:password@host:port, or smtps:// for TLS from the start, with %40 for an @ "
            "in user or password: correct it"
        )
    host, secure = parsed.hostname, parsed.scheme == "smtps"
    user, password = unquote(parsed.username or ""), unquote(parsed.password or "")

    def deliver(message: EmailMessage, name: str) -> None:
        smtp = _connected(host, port, secure)
        try:
            if user:
                if not isinstance(smtp.sock, ssl.SSLSocket) and host not in LOOPBACK:
                    raise smtplib.SMTPNotSupportedError("without TLS no password is sent")
                smtp.login(user, password)
            smtp.send_message(message)
        except BaseException:
            smtp.close()
            raise
        with suppress(OSError, smtplib.SMTPException):  # it was taken, however they part
            smtp.quit()

    return deliver


def into(folder: Path) -> Delivery:
    """Write each mail to a file, ID.eml, that its owner alone can read."""

    def deliver(message: EmailMessage, name: str) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with new_file(folder / f"{name}.eml") as part:
            part.touch(mode=0o600)
            part.write_bytes(message.as_bytes())

    return deliver


def _connected(host: str, port: int, secure: bool) -> smtplib.SMTP:
    context = ssl.create_default_context()
    if secure:
        return smtplib.SMTP_SSL(host, port, timeout=TIMEOUT, context=context)
    smtp = smtplib.SMTP(host, port, timeout=TIMEOUT)
    try:
        smtp.ehlo_or_helo_if_needed()
        if smtp.has_extn("starttls"):
            smtp.starttls(context=context)
    except BaseException:
        smtp.close()
        raise
    return smtp
