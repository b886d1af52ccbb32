"""A drawn heart, and the signal domains that tests take its recordings for."""

from dataclasses import replace
from typing import Any

import numpy as np

from retrace.signals.domain import NAMED, Representation, SignalDomain
from retrace.signals.records import Record

WINDOWS = SignalDomain(128, ("II",), 0.5, 50, 3, 10.0, "start", "none")

SCALOGRAMS = replace(WINDOWS, representation=Representation("cmor1.5-1.0", 0.5, 32, 32, 160))

MITBIH = SignalDomain(
    360, ("MLII|V5",), 0.5, 50, 3, 0.52, "beat", "record", beat=NAMED["mitbih360"][2]
)

KAGGLE = SignalDomain(
    125, ("MLII|V5",), 0.5, 50, 3, 1.496, "beat", "range", beat=NAMED["kaggle125"][2]
)


def heartbeat(seconds: float, fs: float, leads: tuple[str, ...] = ("II",), **more: Any) -> Record:
    """A heart of 75 beats a minute, now and then an early and wide one, under wander and noise."""
    rng, t = np.random.default_rng(0), np.arange(round(seconds * fs)) / fs
    marks, symbols, second = [], [], 0.3
    signal = 0.3 * np.sin(2 * np.pi * 0.2 * t) + rng.normal(0, 0.02, (len(leads), len(t)))
    while second < seconds - 0.1:
        wide = rng.random() < 0.1
        marks.append(round(second * fs))
        symbols.append("V" if wide else "N")
        wave = np.exp(-(((t - second) / (0.05 if wide else 0.015)) ** 2))
        signal += np.outer(np.linspace(1, 0.6, len(leads)), wave)
        second += rng.uniform(0.45, 0.6) if rng.random() < 0.1 else rng.uniform(0.75, 0.85)
    given: dict[str, Any] = {"beats": np.array(marks), "symbols": tuple(symbols)} | more
    return Record("a", fs, leads, signal.astype(np.float32), **given)
