"""Mail: queued with what it tells of, then sent by a thread; a mail server that is down loses none.

A mail is sent once. Only where the process ends, or the server goes, between taking a mail and
saying so, is it sent again, under the same Message-ID.
"""

import logging
import smtplib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from email.message import EmailMessage
from email.policy import EmailPolicy
from email.utils import format_datetime, parseaddr
from threading import Event, Thread

from sqlalchemy import delete, event, select, update
from sqlalchemy.orm import Session

from retrace.errors import InputError
from retrace.service import delivery
from retrace.service.database import Database
from retrace.service.settings import Settings
from retrace.service.tables import Mail, new_id, now

EVERY = 2.0  # s between two looks for what another process has queued
TAKEN = timedelta(minutes=5)  # for so long a mail is its who has taken it
LONGEST = timedelta(hours=1)  # between two attempts: after 1, 2, 4, ... minutes
GIVEN_UP = timedelta(days=3)
KEPT = timedelta(days=30)  # address and subject of what was sent; the body goes at once
# No line is broken, so that a link in a file stays one; what is not ASCII is encoded.
POLICY = EmailPolicy(max_line_length=998, cte_type="7bit")
LOG = logging.getLogger(__name__)
_listening: set["Outbox"] = set()


def queue(session: Session, to: str, subject: str, body: str) -> None:
    """Send a mail to one address as soon as the transaction of `session` is committed.

    Raises ValueError for an address that is none, or more than one.
    """
    _check(to)
    subject = " ".join(subject.split())[:200]
    session.add(Mail(id=new_id(), to=to, subject=subject, body=body))
    if not event.contains(session, "after_commit", _wake):
        event.listen(session, "after_commit", _wake)


def forget(session: Session, to: str) -> None:
    """Remove all mails to an address, sent or not, and then their files."""
    session.execute(delete(Mail).where(Mail.to == to))
    event.listen(session, "after_commit", _sweep)


def addresses(text: str) -> list[str]:
    """Addresses that are joined by commas."""
    return [address.strip() for address in text.split(",") if address.strip()]


class Outbox:
    """Sends what is queued.

    gather: looks for more to queue, before each round. Raises InputError for settings of mail
    that are wrong.
    """

    def __init__(self, settings: Settings, database: Database, gather: Callable[[], None]) -> None:
        _check_settings(settings)
        url = settings.smtp_url.get_secret_value()
        self._deliver = delivery.by_smtp(url) if url else delivery.into(settings.home / "mail")
        self._sender, self._database, self._gather = settings.mail_from, database, gather
        self._folder, self.awake = settings.home / "mail", Event()
        self._purged = now() - KEPT
        self.sweeps = True  # in its next round

    def round(self, closed: Event) -> None:
        """Send what is due, until `closed`."""
        self._gather()
        while not closed.is_set() and (mail := self._next()):
            if self._taken(mail) and not self._sent(mail):
                break  # the server is likely to refuse the next one, too: that waits for a while
        if now() - self._purged > timedelta(days=1):
            self._purge()
        if self.sweeps:
            self._sweep()

    def _next(self) -> Mail | None:
        """The one that is due for longest."""
        with self._database.read() as session:
            due = select(Mail).where(Mail.due <= now()).order_by(Mail.due).limit(1)
            return session.scalar(due)

    def _taken(self, mail: Mail) -> bool:
        """Whether it is ours to send; False where another process was faster."""
        until = now() + TAKEN
        with self._database.write() as session:
            attempts = session.scalar(
                update(Mail)
                .where(Mail.id == mail.id, Mail.due == mail.due)
                .values(due=until, attempts=Mail.attempts + 1)
                .returning(Mail.attempts)
            )
        if attempts is None:
            return False
        mail.due, mail.attempts = until, attempts
        return True

    def _sent(self, mail: Mail) -> bool:
        """Whether it was sent; note it, or when to try again."""
        try:
            self._deliver(_message(mail, self._sender), mail.id)
        except (OSError, smtplib.SMTPException, ValueError) as error:
            self._failed(mail, error)
            return False
        self._note(mail, due=None, sent=now(), body="", error=None)
        return True

    def _failed(self, mail: Mail, error: Exception) -> None:
        why = _why(error)
        if now() - mail.created > GIVEN_UP or _forever(error):
            LOG.error("mail %s: given up at attempt %d: %s", mail.id, mail.attempts, why)
            self._note(mail, due=None, body="", error=why)
            return
        LOG.warning("mail %s: not sent at attempt %d: %s", mail.id, mail.attempts, why)
        pause = min(timedelta(minutes=2 ** min(mail.attempts - 1, 10)), LONGEST)
        self._note(mail, due=now() + pause, error=why)

    def _note(self, mail: Mail, **values: object) -> None:
        ours = (Mail.id == mail.id) & (Mail.due == mail.due)
        with self._database.write() as session:
            session.execute(update(Mail).where(ours).values(**values))

    def _purge(self) -> None:
        self._purged, self.sweeps = now(), True
        with self._database.write() as session:
            session.execute(
                delete(Mail).where(Mail.due.is_(None), Mail.created < now() - KEPT - GIVEN_UP)
            )

    def _sweep(self) -> None:
        """Remove the files whose mails are forgotten."""
        self.sweeps = False
        files = list(self._folder.glob("*.eml"))  # before the rows: each file's row was there first
        with self._database.read() as session:
            known = set(session.scalars(select(Mail.id)))
        for path in files:
            if path.stem not in known:
                path.unlink(missing_ok=True)


@contextmanager
def sending(
    settings: Settings, database: Database, gather: Callable[[], None] = lambda: None
) -> Iterator[None]:
    """Send what is queued, see `Outbox`, for as long as this lasts. Whom the mail server keeps
    waiting at the end is not waited for: that mail is sent by the next process."""
    outbox, closed = Outbox(settings, database, gather), Event()

    def run() -> None:
        failing = False
        while not closed.is_set():
            outbox.awake.clear()
            try:
                outbox.round(closed)
                failing = False
            except Exception as error:  # of whatever kind: the mails wait, and are tried again
                if not failing:
                    LOG.warning("mail: cannot be looked after: %s", type(error).__name__)
                failing = True
            outbox.awake.wait(EVERY)

    thread = Thread(target=run, name="mail", daemon=True)
    _listening.add(outbox)
    thread.start()
    try:
        yield
    finally:
        _listening.discard(outbox)
        closed.set()
        outbox.awake.set()
        thread.join(3)


def _wake(session: Session) -> None:
    for outbox in list(_listening):
        outbox.awake.set()


def _sweep(session: Session) -> None:
    for outbox in list(_listening):
        outbox.sweeps = True
    _wake(session)


def _check(address: str) -> None:
    """Raise ValueError unless this is one address, as it may stand in the head of a mail."""
    if address.count("@") != 1 or not address.isprintable() or set(address) & set(' ,;:<>()"'):
        raise ValueError("not an address")


def _check_settings(settings: Settings) -> None:
    for name, given in (
        ("MAIL_FROM", [parseaddr(settings.mail_from)[1]]),
        ("ALERT_MAIL", addresses(settings.alert_mail)),
    ):
        try:
            for address in given:
                _check(address)
            if not settings.mail_from.isprintable():  # its display name
                raise ValueError
        except ValueError:
            raise InputError(
                f"RETRACE_{name}: no address of mail: write it like staff@example.org, several "
                "joined by commas"
            ) from None


def _message(mail: Mail, sender: str) -> EmailMessage:
    message = EmailMessage(POLICY)
    message["From"], message["To"], message["Subject"] = sender, mail.to, mail.subject
    message["Date"] = format_datetime(mail.created)
    message["Message-ID"] = f"<{mail.id}@{parseaddr(sender)[1].rpartition('@')[2]}>"
    message["Auto-Submitted"] = "auto-generated"  # no mailbox is to answer it by itself
    message.set_content(mail.body)
    return message


def _why(error: Exception) -> str:
    """Kind and code alone: what a server says may quote the address."""
    code = getattr(error, "smtp_code", None) or getattr(error, "errno", None)
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        code = next(iter(error.recipients.values()))[0]
    return f"{type(error).__name__} {code or ''}".strip()


def _forever(error: Exception) -> bool:
    """Whether the server said that it will never take a mail to this address."""
    return isinstance(error, smtplib.SMTPRecipientsRefused) and all(
        code >= 500 for code, _ in error.recipients.values()
    )
