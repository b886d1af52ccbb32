"""Scalograms of all segments on disk: one array and its frequencies (data/scalograms)."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from retrace.files import NpyReader, NpyWriter, write_csv
from retrace.signals.domain import Representation, read_domain
from retrace.signals.wavelets import Scalogram

_BATCH = 64  # segments in memory at a time; the result is the same for any number


def write_scalograms(
    waveforms: Path,
    folder: Path,
    *,
    wavelet: str,
    low: float,
    high: float,
    scales: int,
    frames: int,
) -> str:
    """Transform data/waveforms into X.npy (n, leads, scales, frames) float16, in mV.

    frequencies.csv names the frequency in Hz of each row of a scalogram. Returns a line on
    what was made.
    """
    domain = read_domain(waveforms)
    segments = NpyReader(waveforms / "X.npy")
    transform = Scalogram(
        wavelet=wavelet,
        fs=domain.fs,
        samples=domain.samples,
        low=low,
        high=high,
        scales=scales,
        frames=frames,
    )
    shape = (segments.shape[1], scales, frames)
    with NpyWriter(folder / "X.npy", shape, np.float16) as writer:
        for start in range(0, len(segments), _BATCH):
            writer.append(transform(segments.rows(start, start + _BATCH)))
    shown = Representation(wavelet, low, high, scales, frames)
    replace(domain, representation=shown).write(folder)
    frequencies = enumerate(transform.frequencies.tolist())
    write_csv(folder / "frequencies.csv", ("scale", "frequency"), frequencies)
    return (
        f"{len(segments)} scalograms of {shape[0]} leads x {scales} scales x {frames} frames, "
        f"{low:g} to {high:g} Hz, {wavelet}"
    )


def write_nothing(folder: Path) -> None:
    """An empty array and table, for models that take waveforms."""
    with NpyWriter(folder / "X.npy", (), np.float16):
        pass
    write_csv(folder / "frequencies.csv", ("scale", "frequency"), ())
