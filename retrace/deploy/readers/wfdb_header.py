"""The header of a WFDB record, read without trust: it may name any file and promise any length.

Format: https://physionet.org/physiotools/wag/header-5.htm
"""

import re
from dataclasses import dataclass
from pathlib import Path

from retrace.deploy.readers.common import LEADS, MILLIVOLTS, opened, quoted, refusal
from retrace.errors import InputError

LARGEST = 1 << 20  # bytes; a day in a thousand segments takes a tenth of it
NO_FILE = "~"  # stands for a segment that is a gap, or a signal that only a layout names
_FORMAT = re.compile(r"(\d{1,4})(?:x(\d{1,6}))?(?::(\d{1,9}))?(?:\+(\d{1,15}))?")
_GAIN = re.compile(r"([-+.\deE]{1,30})(?:\((-?\d{1,12})\))?(?:/(\S+))?")


@dataclass(frozen=True)
class Channel:
    """A signal line. per_frame: samples in each frame. checksum: None where there is none."""

    file: str
    fmt: str
    per_frame: int
    skew: int
    offset: int
    gain: float
    baseline: int
    unit: str
    checksum: int | None
    name: str


@dataclass(frozen=True)
class Header:
    """A whole header. fs: frames a second. frames: 0 where the header does not say.

    segments: name and frames of each, where the record is made of several; it then has no channels.
    """

    fs: float
    frames: int
    channels: tuple[Channel, ...]
    segments: tuple[tuple[str, int], ...]
    age: float | None
    sex: str | None

    @property
    def has_voltage(self) -> bool:
        """Whether one of its signals may be an ECG."""
        return any(channel.unit in MILLIVOLTS for channel in self.channels)


def beside(record: Path, suffix: str) -> Path:
    """The record's file of that kind; `with_suffix` would cut a name that has a dot."""
    return record.with_name(record.name + suffix)


def read_header(record: Path) -> Header:
    """The header of the record (a path without a suffix); InputError where it is none."""
    path = beside(record, ".hea")
    with opened(path) as stream:
        content = stream.read(LARGEST + 1)
    if len(content) > LARGEST or b"\0" in content:
        raise _no_header(path, f"{len(content)} bytes, or no text")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        text = content.decode("latin-1")
    lines = [line.strip() for line in text.split("\n")]
    comments = [line.lstrip("# \t") for line in lines if line.startswith("#")]
    lines = [line for line in lines if line and not line.startswith("#")]
    try:
        return _parsed(lines, comments)
    except (ValueError, IndexError, OverflowError) as error:
        raise _no_header(path, str(error)) from None


def plain(name: str) -> str:
    """The name of a file in the record's own folder; ValueError for any other.

    A header that came from elsewhere must not make us read what it was not shipped with.
    """
    if name in (".", "..", "-") or any(char in r"/\:" or not char.isprintable() for char in name):
        raise ValueError(f"it names {quoted(name)}, which is not a file beside it")
    return name


def _no_header(path: Path, reason: str) -> InputError:
    return refusal(
        path, f"no header that can be read ({reason}); it must be whole: obtain the file again"
    )


def _parsed(lines: list[str], comments: list[str]) -> Header:
    if not lines:
        raise ValueError("it has no record line")
    words = lines[0].split()
    if len(words) < 2:
        raise ValueError(f"record line {quoted(lines[0])}")
    _, several, count = words[0].partition("/")
    signals = _whole(words[1])
    # The rate may carry that of a counter: 360/24.5(0).
    fs = float(re.split(r"[/(]", words[2])[0]) if len(words) > 2 else 250.0
    frames = _whole(words[3]) if len(words) > 3 else 0
    age, sex = _person(comments)
    body = lines[1:]
    if several:
        if len(body) != _whole(count):
            raise ValueError(f"{_whole(count)} segments promised, {len(body)} named")
        segments = [line.split() for line in body]
        named = tuple((plain(words[0]), _whole(words[1])) for words in segments)
        if sum(length for _, length in named) != frames:
            raise ValueError(f"segments of {sum(length for _, length in named)} in {frames} frames")
        return Header(fs, frames, (), named, age, sex)
    if len(body) != signals or signals > LEADS:
        raise ValueError(f"{signals} signals promised, {len(body)} described, {LEADS} at most")
    channels = tuple(_channel(line, number) for number, line in enumerate(body, start=1))
    return Header(fs, frames, channels, (), age, sex)


def _channel(line: str, number: int) -> Channel:
    words = line.split(maxsplit=8)
    form = _FORMAT.fullmatch(words[1]) if len(words) > 1 else None
    gain = _GAIN.fullmatch(words[2] if len(words) > 2 else "200")
    if not form or not gain:
        raise ValueError(f"signal line {quoted(line)}")
    fmt, per_frame, skew, offset = form.groups()
    middle = _integer(words[4]) if len(words) > 4 else 0
    scale = float(gain[1]) or 200.0  # 0: not calibrated, for which the format lets 200 be taken
    if not 1e-6 < abs(scale) < 1e15:
        raise ValueError(f"gain {scale:g}")
    return Channel(
        file=plain(words[0]),
        fmt=str(int(fmt)),
        per_frame=int(per_frame or 1),
        skew=int(skew or 0),
        offset=int(offset or 0),
        gain=scale,
        baseline=int(gain[2]) if gain[2] else middle,
        unit=gain[3] or "mV",
        checksum=_integer(words[6]) if len(words) > 6 else None,
        name=words[8].strip() if len(words) > 8 else str(number),
    )


def _whole(word: str) -> int:
    value = _integer(word)
    if value < 0:
        raise ValueError(f"{value} where a count stands")
    return value


def _integer(word: str) -> int:
    if not re.fullmatch(r"[-+]?\d{1,15}", word, re.ASCII):
        raise ValueError(f"{quoted(word)} is not an integer")
    return int(word)


def _person(comments: list[str]) -> tuple[float | None, str | None]:
    """Age in years and sex, as PhysioNet writes them: "69 M 1085 ..." or "age: 69", "sex: M"."""
    age: float | None = None
    sex: str | None = None
    for comment in comments:
        words = comment.split()
        key, _, value = comment.partition(":")
        if key.strip().lower() == "age":
            age = _years(value)
        elif key.strip().lower() == "sex":
            sex = {"F": "F", "M": "M"}.get(value.strip()[:1].upper())
        elif len(words) > 1 and words[0].isdigit() and words[1] in ("F", "M"):
            age, sex = _years(words[0]), words[1]
    return age, sex


def _years(text: str) -> float | None:
    try:
        years = float(text)
    except ValueError:
        return None
    return years if 0 <= years < 130 else None
