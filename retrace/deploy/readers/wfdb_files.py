"""The signal files of a WFDB segment, a piece at a time.

What nearly all ECG records are, one file in format 16 or 212, is decoded here: five times as fast
as the library wfdb does it, which also takes half a second to be imported. The rest is left to
wfdb, after our own look at the header and at the sizes of the files: it trusts both.
Format: https://physionet.org/physiotools/wag/signal-5.htm
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrace.deploy.readers.common import (
    MILLIVOLTS,
    PIECE,
    FileRecording,
    check_size,
    numbers,
    quoted,
    rate,
    refusal,
    size_of,
    voltages,
)
from retrace.deploy.readers.wfdb_header import Channel, Header

INVALID = {"16": -(1 << 15), "212": -(1 << 11)}  # stands for a sample that is missing
# Thirds of a bit in a sample, of which a file must hold all: 310 and 311 put three into 32 bits.
_THIRDS = {"16": 48, "24": 72, "32": 96, "61": 48, "80": 24, "160": 48, "212": 36}
_THIRDS |= {"310": 32, "311": 32}
_PACKED = ("508", "516", "524")  # FLAC: the length of the file tells nothing
_SPARE = 16  # bytes that may follow the last sample: writers fill up their last block


@dataclass(kw_only=True)
class Decoded(FileRecording):
    """Signals in one file of format 16 or 212. kept: the numbers of `leads` in the file."""

    file: Path
    channels: tuple[Channel, ...]
    kept: tuple[int, ...]

    def piece(self, start: int, stop: int, rows: tuple[int, ...]) -> NDArray[Any]:
        stored = self.stored(start, stop)
        signal = np.empty((len(rows), stop - start))
        for values, row in zip(signal, rows, strict=True):
            channel, digital = self.channels[self.kept[row]], stored[self.kept[row]]
            # In this order, as wfdb computes: the same bits as in training.
            np.subtract(digital, channel.baseline, out=values, dtype=np.float64)
            values /= channel.gain
            values *= MILLIVOLTS[channel.unit]
            values[digital == INVALID[channel.fmt]] = np.nan
        return signal

    def stored(self, start: int, stop: int) -> NDArray[np.int16]:
        """The numbers in the file: (channels, stop - start)."""
        count, offset = len(self.channels), self.channels[0].offset
        first, wanted = start * count, (stop - start) * count
        if self.channels[0].fmt == "16":
            flat = numbers(self.file, "<i2", wanted, offset + 2 * first)
        else:
            odd = first % 2  # two samples share three bytes
            length = (3 * (odd + wanted) + 1) // 2
            raw = numbers(self.file, np.uint8, length, offset + first // 2 * 3)
            flat = _unpacked(raw)[odd : odd + wanted]
        return flat.reshape(-1, count).T


@dataclass(kw_only=True)
class Delegated(FileRecording):
    """Signals that wfdb reads.

    kept: the numbers of `leads` among the signals, factors: from their units to mV. per_frame: the
    samples of each in a frame, which is what wfdb counts.
    """

    kept: tuple[int, ...]
    factors: tuple[float, ...]
    per_frame: int

    def piece(self, start: int, stop: int, rows: tuple[int, ...]) -> NDArray[Any]:
        import wfdb  # only here: pandas comes with it, and takes half a second

        first, last = start // self.per_frame, -(-stop // self.per_frame)
        wanted = sorted({self.kept[row] for row in rows})
        inside = slice(start - first * self.per_frame, stop - first * self.per_frame)
        try:
            record = wfdb.rdrecord(
                str(self.path.absolute()),
                sampfrom=first,
                sampto=last,
                channels=wanted,
                smooth_frames=False,
            )
            found = dict(zip(wanted, record.e_p_signal, strict=True))
            signal = [found[self.kept[row]][inside] * self.factors[row] for row in rows]
            return np.stack(signal).reshape(len(rows), stop - start)
        except Exception as error:  # whatever wfdb makes of a damaged file
            raise refusal(
                self.path,
                f"cannot be read ({quoted(str(error))}); header and signal files must be whole "
                "and fit each other: obtain both again",
            ) from None


def open_segment(record: Path, header: Header, fs: float | None) -> FileRecording:
    """The signals of a header without segments; see `wfdb.open_wfdb`."""
    channels = header.channels
    if not channels:
        raise refusal(record, "no signal; a recording has at least one lead: name another record")
    kept = voltages(record, [channel.unit for channel in channels])
    per_frame = max(channels[row].per_frame for row in kept)
    kept = [row for row in kept if channels[row].per_frame == per_frame]
    found = rate(record, header.fs * per_frame, fs)
    frames = header.frames or _frames(record, channels)
    check_size(record, len(channels), frames * per_frame, found)
    spare = _check_files(record, channels, frames)
    fields: dict[str, Any] = {
        "name": record.name,
        "path": record,
        "fs": found,
        "leads": tuple(channels[row].name for row in kept),
        "samples": frames * per_frame,
        "kept": tuple(kept),
    }
    if not _decodable(channels):
        return _delegated(record, channels, per_frame, fields)
    file = record.with_name(channels[0].file)
    decoded = Decoded(**fields, file=file, channels=channels)
    if not (header.frames and _summed(decoded)) and spare > _SPARE:
        raise refusal(
            file,
            f"{spare} bytes more than its header describes; they must fit each other: obtain both "
            "again",
        )
    return decoded


def _delegated(
    record: Path, channels: Sequence[Channel], per_frame: int, fields: dict[str, Any]
) -> Delegated:
    if "::" in str(record.absolute()):
        raise refusal(record, "'::' in its path; wfdb would take it for an address: rename it")
    factors = tuple(MILLIVOLTS[channels[row].unit] for row in fields["kept"])
    opened = Delegated(**fields, factors=factors, per_frame=per_frame)
    opened.read(opened.samples - 1, opened.samples, tuple(range(len(factors))))
    return opened


def _decodable(channels: Sequence[Channel]) -> bool:
    """Whether `Decoded` reads these."""
    return (
        len({(channel.file, channel.fmt, channel.offset) for channel in channels}) == 1
        and channels[0].fmt in INVALID
        and all(channel.per_frame == 1 and channel.skew == 0 for channel in channels)
    )


def _unpacked(raw: NDArray[np.uint8]) -> NDArray[np.int16]:
    """The samples of format 212: two in three bytes, the four high bits of both in the second."""
    if len(raw) % 3:
        raw = np.append(raw, np.zeros(3 - len(raw) % 3, np.uint8))
    first, high, second = raw.reshape(-1, 3).T
    signed = high.view(np.int8).astype(np.int16)
    samples = np.empty((len(first), 2), np.int16)
    samples[:, 0] = signed << 12 >> 4  # shifts keep the sign
    samples[:, 0] |= first
    samples[:, 1] = signed >> 4 << 8
    samples[:, 1] |= second
    return samples.reshape(-1)


def _summed(record: Decoded) -> bool:
    """Whether the header has checksums; InputError where the samples do not add up to them.

    Swapped signal files may be of one length: a sum tells them apart, and costs a day .2 s.
    """
    # 0 also stands where nobody has computed the sum.
    promised = [channel.checksum or None for channel in record.channels]
    if not any(promised):
        return False
    sums = np.zeros(len(promised), np.int64)
    for start in range(0, record.samples, PIECE):
        stored = record.stored(start, min(start + PIECE, record.samples))
        sums += [values.sum(dtype=np.int64) for values in stored]
    for channel, found, wanted in zip(record.channels, sums.tolist(), promised, strict=True):
        if wanted is not None and (found - wanted) % (1 << 16):
            raise refusal(
                record.file,
                f"the samples of {quoted(channel.name)} do not add up to the checksum in the "
                "header; one of both is damaged or another recording's: obtain both again",
            )
    return True


def _check_files(record: Path, channels: Sequence[Channel], frames: int) -> int:
    """Refuse files too short, and what cannot be read from the middle; the bytes left over."""
    spare = 0
    for name, within in _files(channels).items():
        formats, known = sorted({channel.fmt for channel in within}), (*_THIRDS, *_PACKED)
        if len(formats) > 1 or formats[0] not in known:
            raise refusal(
                record,
                f"format {', '.join(formats)}; each file must be in one of {', '.join(known)}: "
                "convert it with xform",
            )
        if not all(channel.per_frame for channel in within):
            raise refusal(record, "a frame without a sample; it has at least one: correct it")
        spare = _check_file(record.with_name(name), within, frames)
    return spare


def _check_file(file: Path, channels: Sequence[Channel], frames: int) -> int:
    if not file.exists():
        raise refusal(file, "missing; the header beside it names this file: obtain it again")
    size, fmt = size_of(file), channels[0].fmt
    if fmt in _PACKED:
        return 0
    samples = frames * sum(channel.per_frame for channel in channels)
    needed = channels[0].offset - (-samples * _THIRDS[fmt] // 24)
    if size < needed:
        raise refusal(
            file,
            f"{size} bytes; by its header it has {needed}, and both must be whole and fit each "
            "other: obtain both again",
        )
    return size - needed


def _files(channels: Sequence[Channel]) -> dict[str, list[Channel]]:
    """The channels in each file."""
    files: dict[str, list[Channel]] = {}
    for channel in channels:
        files.setdefault(channel.file, []).append(channel)
    return files


def _frames(record: Path, channels: Sequence[Channel]) -> int:
    """How many frames the first file holds, where the header does not say."""
    name, within = next(iter(_files(channels).items()))
    width = _THIRDS.get(within[0].fmt, 0) * sum(channel.per_frame for channel in within)
    if not width:
        raise refusal(
            record, "its header gives no number of samples; this format needs one: correct it"
        )
    return max(0, size_of(record.with_name(name)) - within[0].offset) * 24 // width
