"""Where a published file is found (mirror, cache, its own address, an archive), and its check."""

import hashlib
import os
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path, PurePosixPath
from typing import IO
from urllib.parse import unquote, urlsplit

from retrace.downloads import (
    CHUNK,
    Missing,
    Patience,
    Unreachable,
    cache_folder,
    download,
    new_session,
    progress_bar,
)
from retrace.errors import InputError

LARGEST_MEMBER = 2 << 30  # bytes; a member that unpacks to more is taken for a bomb


class _Damaged(Exception):
    """The bytes at hand are not the published ones."""


@dataclass(frozen=True)
class Place:
    """Where a file is published: at `url`, or as `member` of the .zip at `url`.

    `account` says how to get it by hand where nobody may download it without an account.
    """

    url: str
    member: str = ""
    account: str = ""

    @property
    def canonical(self) -> str:
        """The name of the file that is the same whichever way it came."""
        return f"{self.url}#{self.member}" if self.member else self.url

    @property
    def container(self) -> PurePosixPath:
        """`host/path` of what lies at the URL, as `wget -r` would lay it out."""
        parts = urlsplit(self.url)
        path = PurePosixPath(parts.netloc.rpartition("@")[2] + unquote(parts.path))
        if parts.scheme not in ("http", "https") or not parts.hostname or ".." in path.parts:
            raise InputError(f"{self.url}: not an http or https address: give the published one")
        return path

    @property
    def address(self) -> PurePosixPath:
        """`host/path` at which a mirror holds the file: a member as if unpacked in place.

        A first folder of the archive's own name is not repeated: `a/b.zip#b/c` is `a/b/c`.
        """
        if not self.member:
            return self.container
        folder = self.container
        folder = folder.with_suffix("") if folder.suffix == ".zip" else folder
        return folder / PurePosixPath(self.member.removeprefix(f"{folder.name}/"))


def copy(stream: IO[bytes], target: Path) -> tuple[str, int]:
    """Write `stream` to `target`, and give its SHA-256 and its bytes: one pass over the data."""
    digest, size = hashlib.sha256(), 0
    with target.open("wb") as output:
        while chunk := stream.read(CHUNK):
            digest.update(chunk)
            size += output.write(chunk)
    return digest.hexdigest(), size


def open_file(path: Path) -> BufferedReader:
    """Open a file that should be there, or say in one sentence why it cannot be read."""
    try:
        return path.open("rb")
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror}): put the file there and let it be read"
        ) from None


class Depot:
    """Finds published files and copies them out, each checked; a context manager.

    Order: the mirror (RETRACE_MIRROR), what an earlier download left in the user's cache, the
    file's own address. A member of an archive is looked for as a file first.
    """

    def __init__(self, patience: Patience) -> None:
        self.progress = progress_bar()
        self._patience = patience
        self._mirror = _mirror()
        self._cache = cache_folder()
        self._session = new_session()
        self._fresh: set[Path] = set()
        self._archives: dict[Path, zipfile.ZipFile] = {}
        self._containers: dict[str, Path] = {}
        self._open = ExitStack()

    def __enter__(self) -> "Depot":
        self._open.enter_context(self._session)
        self._open.enter_context(self.progress)
        return self

    def __exit__(self, *error: object) -> None:
        for archive in self._archives.values():
            archive.close()
        self._open.close()

    def take(self, place: Place, expected: str, target: Path) -> tuple[str, int]:
        """Copy the file at `place` to `target`; give its SHA-256 and its bytes.

        `expected` is the SHA-256 in hexadecimal or its beginning; "" accepts any file. Raises
        InputError where the file cannot be had or is another one.
        """
        path = self._find(place)
        try:
            with self._stream(path, place) as stream:
                found, size = copy(stream, target)
            if not found.startswith(expected):
                raise _Damaged(f"its SHA-256 is {found}, but {expected} is pinned")
            return found, size
        except _Damaged as damage:
            if self._cache not in path.parents:
                raise InputError(
                    f"{place.canonical}: {damage}; the copy in {path} is not the published file: "
                    "put that one in its place"
                ) from None
            if path in self._archives:
                self._archives.pop(path).close()
            self._containers.pop(place.url, None)
            path.unlink()
            if path in self._fresh:
                raise InputError(
                    f"{place.canonical}: {damage}; it was downloaded a moment ago and is thrown "
                    "away: run the command again, and if that does not help, the publisher has "
                    "changed the file: get the pinned one from a colleague's mirror"
                ) from None
            return self.take(place, expected, target)  # the cache was damaged: obtain it anew

    def _find(self, place: Place) -> Path:
        """A local copy of the file, or of the archive that holds it."""
        if path := self._containers.get(place.url):
            return path
        if place.member and (path := self._local(place, place.address, "")):
            return path
        if path := self._local(place, place.container, "" if place.account else place.url):
            if place.member:
                self._containers[place.url] = path
            return path
        raise self._unobtainable(place, "there is no such file")

    def _local(self, place: Place, address: PurePosixPath, url: str) -> Path | None:
        """The file `host/path` on this machine, downloaded if need be; None if nobody has it."""
        if isinstance(self._mirror, Path) and (self._mirror / address).is_file():
            return self._mirror / address
        cached = self._cache / address
        if place.member and address == place.container and address.suffix != ".zip":
            cached = cached.with_name(f"{cached.name}.zip")  # its members stand below its own name
        if cached.is_file():
            return cached
        mirrored = f"{self._mirror}/{address}" if isinstance(self._mirror, str) else ""
        for source in filter(None, (mirrored, url)):
            try:
                download(
                    source,
                    cached,
                    session=self._session,
                    patience=self._patience,
                    progress=self.progress,
                )
            except Missing:
                continue
            except Unreachable as reason:
                where = "" if source == place.url else f"{source}: "
                raise self._unobtainable(place, f"{where}{reason}") from None
            self._fresh.add(cached)
            return cached
        return None

    def _unobtainable(self, place: Place, reason: str) -> InputError:
        where = f"{self._mirror}/{place.address}"
        if self._mirror is None:
            where = f"{place.address} in a folder that RETRACE_MIRROR names"
        if place.account:
            return InputError(f"{place.canonical}: {place.account}; put the file at {where}")
        return InputError(
            f"{place.canonical}: {reason}; try again later (what has arrived is kept), or put "
            f"the file at {where}"
        )

    @contextmanager
    def _stream(self, path: Path, place: Place) -> Iterator[IO[bytes]]:
        """The published bytes: of the file, or of the member in the archive."""
        if self._containers.get(place.url) != path:
            with open_file(path) as stream:
                yield stream
            return
        try:
            if path not in self._archives:
                self._archives[path] = zipfile.ZipFile(path)
            archive = self._archives[path]
            with archive.open(_member(archive, place.member)) as stream:
                yield stream
        except (zipfile.BadZipFile, zlib.error, EOFError) as error:
            raise _Damaged(f"the archive is damaged ({error})") from None
        except RuntimeError as error:  # encrypted, or packed by a method unknown here
            raise _Damaged(f"the archive cannot be unpacked ({error})") from None


def _member(archive: zipfile.ZipFile, name: str) -> zipfile.ZipInfo:
    """The member `name`, in whichever folder the archive was packed; nothing else is unpacked."""
    try:
        info = archive.getinfo(name)
    except KeyError:
        packed = [info for info in archive.infolist() if info.filename.endswith(f"/{name}")]
        if not packed:
            raise _Damaged("the archive has no such member") from None
        info = packed[0]
    path = PurePosixPath(info.filename.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts:
        raise _Damaged(f"the archive's member {info.filename!r} points out of the archive")
    if info.file_size > LARGEST_MEMBER:
        raise _Damaged(
            f"the archive says it unpacks to {info.file_size} bytes, more than {LARGEST_MEMBER}"
        )
    return info


def _mirror() -> Path | str | None:
    """RETRACE_MIRROR: a folder, or the beginning of a URL; None where it is not set."""
    value = os.environ.get("RETRACE_MIRROR", "").strip()
    if not value:
        return None
    if value.startswith(("http://", "https://")):
        return value.rstrip("/")
    # DVC runs queued experiments in a copy elsewhere; DVC_ROOT is where the user stands.
    folder = Path(os.environ.get("DVC_ROOT") or ".") / Path(value).expanduser()
    if not folder.is_dir():
        raise InputError(
            f"RETRACE_MIRROR={value}: {folder.resolve()} is no folder: name the folder that "
            "holds files as host/path, or unset it to download from the publishers"
        )
    return folder
