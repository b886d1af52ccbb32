"""Data sets as published: what they are, where they come from, and the SHA-256 of every file."""

import hashlib
import os
import re
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from retrace.depot import Depot, Place, copy, open_file
from retrace.downloads import Patience
from retrace.errors import InputError
from retrace.files import new_file, new_folder, write_csv

MANIFEST = "manifest.csv"
PATIENCE = Patience()


class Source(BaseModel):
    """One entry of sources.yaml; a user's own recordings have no `url`.

    files: which of the listed ones belong to it. sums: the publisher's own list of SHA-256, beside
    the files, for those that ours does not have. forms: other values of these keys for each form
    in which the same data set is published.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str
    licence: str
    citation: str
    url: str = ""
    archives: Mapping[str, str] = {}
    account: str = ""
    files: str = "*"
    sums: str = ""
    forms: Mapping[str, Mapping[str, str]] = {}

    def form(self, name: str | None) -> "Source":
        """The data set in the form `name`, or where that is None in its first or only one."""
        if not name and not self.forms:
            return self
        name = name or next(iter(self.forms))
        if name not in self.forms:
            known = ", ".join(self.forms) or "null, since this data set has but one"
            raise InputError(f"fetch.form: expected {known}; got {name!r}: correct params.yaml")
        return Source(**{**self.model_dump(exclude={"forms"}), **self.forms[name]})

    def place(self, path: str) -> Place:
        """Where the file at `path` below the raw folder is published."""
        for start, archive in self.archives.items():
            if path.startswith(start):
                return Place(archive, path, self.account)
        return Place(f"{self.url.rstrip('/')}/{path}", account=self.account)


def describe(name: str, sources: Path) -> Source:
    """The entry of the data set `name` in the file sources.yaml of the folder `sources`."""
    path = sources / "sources.yaml"
    with open_file(path) as stream:
        try:
            entries = yaml.safe_load(stream)
            if name not in entries:
                raise InputError(f"{path}: expected {', '.join(entries)}; got {name!r}")
            return Source.model_validate(entries[name])
        except ValidationError as error:
            where = "; ".join(
                f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}"
                for problem in error.errors()
            )
            raise InputError(f"{path}: {name}: {where}: mend the entry") from None
        except (yaml.YAMLError, TypeError) as error:
            raise InputError(f"{path}: not a table of data sets ({error}): mend it") from None


def read_sums(path: Path) -> dict[str, str]:
    """The SHA-256 by file path, from a file in the format of `sha256sum`; `#` starts a comment."""
    sums: dict[str, str] = {}
    with open_file(path) as stream:
        lines = stream.read().decode("utf-8-sig", errors="replace").splitlines()
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.startswith("#"):
            continue
        match = re.fullmatch(r"([0-9a-f]{64}) [ *]?(\S.*)", line)
        if match is None:
            raise InputError(
                f"{path}, line {number}: expected 64 hexadecimal digits, two spaces and a file; "
                f"got {line!r}: write the file with `retrace pin`"
            )
        digest, name = match.groups()
        if not _inside(name) or name == MANIFEST or name in sums:
            raise InputError(
                f"{path}, line {number}: {name!r} must name a file below the folder, once, and "
                f"not {MANIFEST}: write the file with `retrace pin`"
            )
        sums[name] = digest
    return sums


def fetch(
    name: str,
    destination: Path,
    *,
    sources: Path,
    form: str | None = None,
    patience: Patience = PATIENCE,
) -> None:
    """Fill the folder `destination` with the data set `name` as published, every file checked.

    The files are those of `sources`/sources/<name>.sha256, or of the publisher's own list where the
    source names one; that list is not pinned, which is printed, and comes along. form: which, of a
    data set with several. Beside the files comes manifest.csv with columns path, url, sha256,
    bytes, the same whichever way they came. `destination` appears whole, or stays what it was and
    InputError says why.
    """
    source = describe(name, sources).form(form)
    sums = read_sums(sources / "sources" / f"{name}.sha256")
    if not (source.url or source.archives):
        raise InputError(f"{name}: nothing to download: {source.title}")
    rows: list[tuple[str, str, str, int]] = []
    with Depot(patience) as depot, new_folder(destination) as part:

        def take(path: str, expected: str) -> None:
            place = source.place(path)
            digest, size = depot.take(place, expected, _below(part, path))
            rows.append((path, place.canonical, digest, size))
            if not expected:
                print(f"{place.canonical}: not pinned; its SHA-256 is {digest}")

        if source.sums:
            take(source.sums, "")
            try:
                sums = read_sums(part / source.sums)
            except InputError:
                raise InputError(
                    f"{source.place(source.sums).canonical}: what has arrived is no list of "
                    "SHA-256: remove the copy in the mirror or the cache and try again"
                ) from None
        wanted = {path: sha for path, sha in sums.items() if fnmatchcase(path, source.files)}
        if not wanted:
            raise InputError(f"{name}: no files to obtain: list them with their SHA-256")
        for path, expected in depot.progress.track(wanted.items(), description=name):
            take(path, expected)
        write_csv(part / MANIFEST, ("path", "url", "sha256", "bytes"), rows)


def obtain(
    url: str,
    destination: Path,
    *,
    sha256: str | None = None,
    sha256_prefix: str | None = None,
    patience: Patience = PATIENCE,
) -> str:
    """Obtain the file at `url` as `destination` and give its SHA-256.

    Without the full `sha256` the file is not pinned: that is printed, with the hash it has, and
    no more than `sha256_prefix`, its first hexadecimal digits as some publishers give them, is
    checked. Raises InputError where the file cannot be had or is another one.
    """
    with Depot(patience) as depot, new_file(destination) as part:
        digest, _ = depot.take(Place(url), sha256 or sha256_prefix or "", part)
    if not sha256:
        print(f"{url}: not pinned; its SHA-256 is {digest}")
    return digest


def pin(folder: Path) -> str:
    """The SHA-256 of every file below `folder`, in the format of `sha256sum`, sorted by path.

    Hidden files, and the manifest.csv of an earlier fetch, are left out.
    """
    lines = []
    for name in _files(folder):
        if not name.isprintable() or name != name.strip() or not _inside(name):
            raise InputError(
                f"{folder}: the file name {name!r} cannot stand in a list of files: rename it"
            )
        with open_file(folder / name) as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        lines.append(f"{digest}  {name}\n")
    if not lines:
        raise InputError(f"{folder}: no files to pin: name the folder that holds the recordings")
    return "".join(lines)


def copy_folder(folder: Path, manifest: Path, destination: Path) -> None:
    """Copy the user's own files listed in `manifest` from `folder`, every one checked.

    `destination` gets manifest.csv as from `fetch` (with no url) and appears whole or not at
    all. Files that are not listed stay behind, and their number is printed.
    """
    again = f"`retrace pin {folder}` writes the list anew"
    sums = read_sums(manifest)
    if not sums:
        raise InputError(f"{manifest}: lists no files: {again}")
    if extra := [name for name in _files(folder) if name not in sums]:
        print(f"{folder}: {len(extra)} files are not in {manifest}, {extra[0]} first: {again}")
    rows = []
    with new_folder(destination) as part:
        for path, expected in sums.items():
            with open_file(folder / path) as stream:
                digest, size = copy(stream, _below(part, path))
            if digest != expected:
                raise InputError(
                    f"{folder / path}: its SHA-256 is {digest}, but {manifest} says {expected}: "
                    f"restore the file, or if you meant to change it, {again}"
                )
            rows.append((path, None, digest, size))
        write_csv(part / MANIFEST, ("path", "url", "sha256", "bytes"), rows)


def _files(folder: Path) -> list[str]:
    """The paths of all files below `folder` that are not hidden, sorted, with forward slashes."""
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder: name the folder that holds the recordings")
    names = []
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        below = Path(parent).relative_to(folder)
        names += [(below / name).as_posix() for name in files if not name.startswith(".")]
    return sorted(name for name in names if name != MANIFEST)


def _inside(name: str) -> bool:
    """Whether `name` stays below the folder it is joined to, on any system."""
    path = PurePosixPath(name)
    return not (path.is_absolute() or ".." in path.parts or "\\" in name or ":" in name)


def _below(folder: Path, path: str) -> Path:
    """`folder`/`path`, with the folders between."""
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    return folder / path
