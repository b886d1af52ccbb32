"""Downloads over a bad line: resumed, retried with patience, and whole or not there."""

import os
import ssl
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path

import platformdirs
import requests
from filelock import FileLock
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from retrace.errors import InputError

CHUNK = 1 << 16  # bytes moved at a time, and at most lost when a line breaks
LARGE = 1 << 20  # bytes from which a file has a bar of its own


@dataclass(frozen=True)
class Patience:
    """How long a download bears with a slow or busy server, in seconds.

    `timeout` is the longest silence; `attempts` counts failures in a row without a new byte;
    `backoff` is the first pause, doubled after each failure; a server that asks (Retry-After)
    for more than `longest` is not waited for.
    """

    timeout: float = 30.0
    attempts: int = 5
    backoff: float = 1.0
    longest: float = 120.0


class Unreachable(Exception):
    """The source gave nothing now; the message says why."""


class Missing(Unreachable):
    """The source answered that it has no such file."""


class _Failure(Exception):
    """One attempt failed in a way that another may not; `pause` is what the server asked for."""

    def __init__(self, reason: str, pause: float | None = None) -> None:
        super().__init__(reason)
        self.pause = pause


def cache_folder() -> Path:
    """Where downloads land first: XDG_CACHE_HOME/retrace, else the system's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if Path(base).is_absolute() else platformdirs.user_cache_path()) / "retrace"


def progress_bar() -> Progress:
    """A display on stderr for everything that is obtained in one go; a context manager."""
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True, soft_wrap=True, highlight=False, markup=False),
        transient=True,
    )


def new_session() -> requests.Session:
    """One connection pool for many files; bytes come as they are stored, so that parts add up."""
    session = requests.Session()
    session.headers.update({"User-Agent": "retrace", "Accept-Encoding": "identity"})
    return session


def download(
    url: str, target: Path, *, session: requests.Session, patience: Patience, progress: Progress
) -> None:
    """Fetch `url` into `target`, going on from `target`.part where an earlier attempt broke off.

    Raises Missing where the server has no such file and Unreachable where it could not be
    reached; what has arrived by then is kept for the next attempt.
    """
    # Two experiments may want the same file at once: the second waits, then finds it there.
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(target.parent / ".lock").acquire()
    except OSError as error:
        raise InputError(
            f"{target.parent}: downloads are kept there, and it cannot be written "
            f"({error.strerror}): set XDG_CACHE_HOME to a folder that you may write to"
        ) from None
    with lock:
        if not target.is_file():
            part = target.with_name(target.name + ".part")
            _persist(url, part, session, patience, progress)
            part.replace(target)
            _tag(part).unlink(missing_ok=True)


def _persist(
    url: str, part: Path, session: requests.Session, patience: Patience, progress: Progress
) -> None:
    """Try until `part` is whole or patience is at its end."""
    failures, furthest = 0, 0
    while True:
        try:
            return _receive(url, part, session, patience, progress)
        except _Failure as failure:
            arrived = part.stat().st_size if part.is_file() else 0
            failures = 1 if arrived > furthest else failures + 1
            furthest = max(arrived, furthest)
            pause = failure.pause
            if pause is None:
                pause = min(patience.backoff * 2 ** (failures - 1), patience.longest)
            if pause > patience.longest:
                raise Unreachable(f"{failure} and asks to wait {pause:.0f} s") from None
            if failures >= patience.attempts:
                raise Unreachable(f"{failure}, {failures} times in a row") from None
            progress.console.print(f"{url}: {failure}; trying again in {pause:g} s")
            time.sleep(pause)


def _tag(part: Path) -> Path:
    """The file that names the version (ETag or date) of which `part` is the beginning."""
    return part.with_name(part.name + ".tag")


def _receive(
    url: str, part: Path, session: requests.Session, patience: Patience, progress: Progress
) -> None:
    """One attempt: append what is missing to `part`, or raise."""
    start = part.stat().st_size if part.is_file() else 0
    headers = {"Range": f"bytes={start}-"} if start else {}
    if start and _tag(part).is_file():
        # A server whose file has changed since then sends the whole of the new one instead.
        headers["If-Range"] = _tag(part).read_text(encoding="utf-8")
    try:
        with session.get(url, headers=headers, stream=True, timeout=patience.timeout) as response:
            _append(response, part, start, progress)
    except requests.exceptions.SSLError as error:
        if isinstance(_cause(error), ssl.SSLCertVerificationError):
            raise Unreachable(f"its TLS certificate is refused ({_cause(error)})") from None
        raise _Failure(f"the connection failed ({_cause(error)})") from None
    except requests.exceptions.ChunkedEncodingError:
        raise _Failure("it broke off before its end") from None
    except requests.ConnectionError as error:
        raise _Failure(f"the connection failed ({_cause(error)})") from None
    except requests.Timeout:
        raise _Failure(f"silent for {patience.timeout:g} s") from None
    except requests.RequestException as error:
        raise InputError(f"{url}: cannot be fetched ({error}); give another address") from None


def _append(response: requests.Response, part: Path, start: int, progress: Progress) -> None:
    """Write the body of `response` behind the first `start` bytes of `part`, or in their place."""
    hops = [*(hop.url for hop in response.history), response.url]
    if hops[0].startswith("https:") and not all(hop.startswith("https:") for hop in hops):
        raise Unreachable("it redirects to an address without TLS")
    _check_status(response, part)
    if response.status_code == 200:
        start = 0
        part.unlink(missing_ok=True)
        tag = response.headers.get("ETag", "")
        if not tag or tag.startswith("W/"):  # a weak tag does not promise equal bytes
            tag = response.headers.get("Last-Modified", "")
        _tag(part).write_text(tag, encoding="utf-8") if tag else _tag(part).unlink(missing_ok=True)
    elif not response.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
        part.unlink(missing_ok=True)
        raise _Failure("it sent another part than was asked for")
    length = response.headers.get("Content-Length", "")
    total = start + int(length) if length.isdecimal() else None
    name = part.name.removesuffix(".part")
    large = total is None or total >= LARGE
    task = progress.add_task(name, total=total, completed=start, visible=large)
    try:
        with part.open("ab") as stream:
            for chunk in response.iter_content(CHUNK):
                stream.write(chunk)
                progress.advance(task, len(chunk))
    finally:
        progress.remove_task(task)
    # A body that was compressed on the way has another length than the header says.
    arrived = part.stat().st_size
    if total is not None and arrived != total and "Content-Encoding" not in response.headers:
        raise _Failure(f"it broke off after {arrived} of {total} bytes")


def _check_status(response: requests.Response, part: Path) -> None:
    """Return where a body follows that is wanted, else raise what can be done about it."""
    status = response.status_code
    if status in (200, 206):
        return
    if status == 416:
        part.unlink(missing_ok=True)
        raise _Failure("it no longer has the part that was asked for")
    if status == 429 or status >= 500:
        raise _Failure(f"it is busy (HTTP {status})", _retry_after(response))
    if status in (404, 410):
        raise Missing(f"there is no such file (HTTP {status})")
    if status in (401, 403):
        raise Unreachable(f"it needs an account or a permission (HTTP {status})")
    raise Unreachable(f"it answers HTTP {status}")


def _retry_after(response: requests.Response) -> float | None:
    """The pause that the server asks for, in seconds or as a date; None where it does not."""
    value = response.headers.get("Retry-After", "").strip()
    if value.isdecimal():
        return float(value)
    try:
        date = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, (date.astimezone(UTC) - datetime.now(UTC)).total_seconds())


def _cause(error: BaseException) -> BaseException:
    """What lies at the bottom: requests and urllib3 wrap it several times."""
    while error.__context__ is not None:
        error = error.__context__
    return error
