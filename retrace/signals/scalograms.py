"""Scalograms of all segments on disk: one array and its frequencies (data/scalograms)."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrace.files import NpyReader, NpyWriter, write_csv
from retrace.signals.domain import Representation, read_domain
from retrace.signals.wavelets import Scalogram

_BATCH = 64  # segments in memory at a time; the result is the same for any number


Mapped = Callable[
    [Callable[[NDArray[np.float32]], NDArray[np.float16]], Iterable[NDArray[np.float32]]],
    Iterator[NDArray[np.float16]],
]


@cache  # a worker gets many batches, and its design takes longer than some
def _scalogram(**form: Any) -> Scalogram:
    return Scalogram(**form)


def _transformed(windows: NDArray[np.float32], form: dict[str, Any]) -> NDArray[np.float16]:
    return _scalogram(**form)(windows)


def write_scalograms(
    waveforms: Path,
    folder: Path,
    *,
    wavelet: str,
    low: float,
    high: float,
    scales: int,
    frames: int,
    mapped: Mapped = map,
) -> str:
    """Transform data/waveforms into X.npy (n, leads, scales, frames) float16, in mV.

    frequencies.csv names the frequency in Hz of each row of a scalogram. mapped: what stands in
    for the built-in `map`, to transform several batches at a time. Returns a line on what was made.
    """
    domain = read_domain(waveforms)
    segments = NpyReader(waveforms / "X.npy")
    form = {
        "wavelet": wavelet,
        "fs": domain.fs,
        "samples": domain.samples,
        "low": low,
        "high": high,
        "scales": scales,
        "frames": frames,
    }
    frequencies = _scalogram(**form).frequencies.tolist()
    batches = (segments.rows(n, n + _BATCH) for n in range(0, len(segments), _BATCH))
    shape = (segments.shape[1], scales, frames)
    with NpyWriter(folder / "X.npy", shape, np.float16) as writer:
        for batch in mapped(partial(_transformed, form=form), batches):
            writer.append(batch)
    shown = Representation(wavelet, low, high, scales, frames)
    replace(domain, representation=shown).write(folder)
    write_csv(folder / "frequencies.csv", ("scale", "frequency"), enumerate(frequencies))
    return (
        f"{len(segments)} scalograms of {shape[0]} leads x {scales} scales x {frames} frames, "
        f"{low:g} to {high:g} Hz, {wavelet}"
    )


def write_nothing(folder: Path) -> None:
    """An empty array and table, for models that take waveforms."""
    with NpyWriter(folder / "X.npy", (), np.float16):
        pass
    write_csv(folder / "frequencies.csv", ("scale", "frequency"), ())
