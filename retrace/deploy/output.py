"""Where answers go: a stream of text, or a folder of annotation files; and how far they are."""

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TextIO

from retrace.deploy import annotations
from retrace.deploy.answers import STATEMENT
from retrace.deploy.formats import as_csv, as_json
from retrace.deploy.judged import Judged
from retrace.deploy.readers.common import printable
from retrace.deploy.report import as_text
from retrace.errors import InputError
from retrace.files import new_file

_FORMATS = {"text": as_text, "json": as_json, "csv": as_csv}
_BAR = 30  # characters
_PATIENCE = 1.0  # s; what takes less needs no bar


def check_output(form: str, output: Path | None) -> None:
    """Refuse a folder where a file is written, a file where a folder is, and any file that is there
    already: it may be the recording itself, or a device."""
    if output is None:
        return
    if form == "wfdb":
        if output.exists() and not output.is_dir():
            raise InputError(f"--output {output}: a file, but wfdb writes to a folder: name one")
    elif output.is_dir():
        raise InputError(f"--output {output}: a folder, but {form} is one file: name it")
    elif output.exists() or output.is_symlink():
        raise InputError(f"--output {output}: there already; nothing is replaced: name a new file")
    above = next(folder for folder in output.absolute().parents if folder.exists())
    if not above.is_dir():
        raise InputError(f"--output {output}: {above} is a file, not a folder: choose another")


@contextmanager
def writer(
    form: str, output: Path | None, model: Mapping[str, str]
) -> Iterator[Callable[[Judged], None]]:
    """What writes one recording after the other; `output` is whole afterwards, or not there.

    It is begun with the first answer: where there is none, none is written. model: see `formats`.
    """
    if form == "wfdb":
        with _folder(output or Path()) as add:
            yield add
        return
    stream: TextIO | None = None
    with ExitStack() as stack:

        def write(judged: Judged) -> None:
            nonlocal stream
            first = stream is None
            if stream is None:
                stream = sys.stdout
                if output:
                    part = stack.enter_context(new_file(output))
                    stream = stack.enter_context(part.open("w", encoding="utf-8", newline=""))
            stream.writelines(_FORMATS[form](judged, model, first))

        yield write
    if stream and form == "csv":
        print(STATEMENT, file=sys.stderr)  # a comment would break the table


@contextmanager
def _folder(path: Path) -> Iterator[Callable[[Judged], None]]:
    """WFDB annotation files, one for each recording, by its name."""
    names: set[str] = set()

    def write(judged: Judged) -> None:
        if judged.name in names:
            raise InputError(
                f"{judged.name}: two recordings have this name, and the second file would replace "
                "the first: write them to folders of their own"
            )
        print(printable(str(annotations.write(judged, path))))
        names.add(judged.name)

    yield write
    if names:
        print(STATEMENT, file=sys.stderr)


@contextmanager
def progress(name: str) -> Iterator[Callable[[float], None]]:
    """A bar on stderr where somebody watches; what is yielded takes the share done, 0 to 1."""
    begun, watched, shown = time.monotonic(), sys.stderr.isatty(), False

    def show(share: float) -> None:
        nonlocal shown
        if watched and time.monotonic() - begun > _PATIENCE:
            done = round(_BAR * share)
            bar = f"{'#' * done}{'.' * (_BAR - done)} {share:4.0%}"
            print(f"\r{printable(name)} {bar}", end="", file=sys.stderr, flush=True)
            shown = True

    try:
        yield show
    finally:
        if shown:
            print("\r\033[K", end="", file=sys.stderr, flush=True)
