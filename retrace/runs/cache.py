"""What DVC keeps of a run that is not in the workspace: its outs, found by their hashes."""

import hashlib
import json
from functools import cached_property
from pathlib import Path

from retrace.runs import locks
from retrace.runs.commands import dvc


class Cache:
    """DVC's cache, and the store that comes with the repository; nothing is fetched."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def read(self, lock: locks.Lock, path: str) -> bytes | None:
        """A file of an out, or within an out that is a folder; None where it is not kept."""
        written = locks.outs(lock)
        if path in written:
            return self._object(written[path])
        out = next((out for out in written if path.startswith(f"{out}/")), None)
        if out is None or (listing := self._object(written[out])) is None:
            return None
        files = {each["relpath"]: each["md5"] for each in json.loads(listing)}
        return self._object(files.get(path.removeprefix(f"{out}/"), ""))

    @cached_property
    def _folders(self) -> list[Path]:
        own = Path(dvc(self._root, "cache", "dir").strip())
        return [folder / "files/md5" for folder in (own, self._root / "store")]

    def _object(self, md5: str) -> bytes | None:
        """The bytes of this hash; those that are damaged count as not kept."""
        for folder in self._folders:
            path = folder / md5[:2] / md5[2:]
            if not path.is_file():
                continue
            content = path.read_bytes()
            found = hashlib.md5(content, usedforsecurity=False).hexdigest()
            if found == md5.removesuffix(".dir"):
                return content
        return None
