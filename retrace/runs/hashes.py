"""The hashes by which DVC knows what it keeps."""

import hashlib
import json
from pathlib import Path


def md5(path: Path) -> str:
    """The MD5 that DVC gives a file, or the listing of a folder; "" where there is neither.

    It reads every byte: DVC's own status trusts size and time of a file that it has seen before.
    """
    if path.is_file():
        with path.open("rb") as stream:
            made = hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False))
        return made.hexdigest()
    if not path.is_dir():
        return ""
    files = {each.relative_to(path).as_posix(): each for each in path.rglob("*") if each.is_file()}
    listing = [{"md5": md5(files[name]), "relpath": name} for name in sorted(files)]
    text = json.dumps(listing, sort_keys=True).encode()
    return f"{hashlib.md5(text, usedforsecurity=False).hexdigest()}.dir"
