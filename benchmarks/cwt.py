"""Time Retrace's wavelet transform against other libraries, on one thread.

    python benchmarks/cwt.py [--json FILE] [--windows N] [--rounds N]

Windows of 10,240 samples (10 s at 1,024 Hz), 0.5 to 50 Hz, 64 and 128 scales, 256 frames. Everyone
gets the same windows and frequencies and is asked for magnitudes at those frames; the libraries run
in turn, round after round, and the table has medians. The error is the largest difference from the
float64 definition (tests/wavelet_reference.py) over the peak. ssqueezepy and fCWT define their
wavelets a little otherwise, so only their time is compared; fCWT runs without plans tuned to the
machine beforehand. What could not run is named.

Last, as many windows as CACHET-CADB has are filtered and transformed, from float32 mV to float16.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import pywt
from numpy.typing import NDArray
from scipy.signal import butter, sosfiltfilt

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from retrace.signals.filters import bandpass
from retrace.signals.wavelets import Scalogram
from tests.wavelet_reference import reference_scalogram

FS, SAMPLES, FRAMES, LOW, HIGH = 1024, 10_240, 256, 0.5, 50.0
BANDWIDTH, CENTRE = 1.5, 1.0
WAVELET = f"cmor{BANDWIDTH}-{CENTRE}"
PEER_WINDOWS = 8  # per round: they are slow
CACHET_WINDOWS, SCALES, ORDER, BATCH = 1602, 128, 3, 64

Array = NDArray[np.float32]
Transform = Callable[[Array], object]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    parser.add_argument("--windows", type=int, default=63, help="in our batch (default 63)")
    parser.add_argument("--rounds", type=int, default=7, help="the medians' (default 7)")
    options = parser.parse_args()
    figures = [compare(scales, options.windows, options.rounds) for scales in (64, 128)]
    figures.append(whole_data_set(min(3, options.rounds)))
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


def compare(scales: int, count: int, rounds: int) -> dict[str, object]:
    transform = engine(scales)
    windows = tracings(count)
    peers, missing = available_peers(transform.frequencies)
    times: dict[str, list[float]] = {name: [] for name in ("retrace", *peers)}
    for turn in range(rounds + 1):  # the first warms caches and compilers up
        for name, seconds in {
            "retrace": timed(transform, windows) / count,
            **{n: timed(p, windows[:PEER_WINDOWS]) / PEER_WINDOWS for n, p in peers.items()},
        }.items():
            if turn:
                times[name].append(1e3 * seconds)
    milliseconds = {name: median(values) for name, values in times.items()}
    ours = milliseconds.pop("retrace")

    sample = windows[:PEER_WINDOWS]
    truth = reference_scalogram(
        sample, transform.frequencies, fs=FS, bandwidth=BANDWIDTH, centre=CENTRE, hop=transform.hop
    )
    errors = {"retrace": worst(transform.magnitude(sample), truth)}
    for name, precision in (("pywt.cwt", 12), ("pywt.cwt precision=16", 16)):
        errors[name] = worst(by_pywavelets(sample, transform.frequencies, precision), truth)

    print(f"\n{scales} scales, {FRAMES} frames, load {os.getloadavg()[0]:.1f}")
    print(f"{'':24}{'ms per window':>15}{'ratio':>9}{'error':>10}")
    for name, value in {"retrace": ours, **milliseconds}.items():
        error = f"{errors[name]:.1e}" if name in errors else "-"
        print(f"{name:24}{value:15.3f}{value / ours:9.1f}{error:>10}")
    for name, why in missing.items():
        print(f"{name:24}could not run: {why}")
    return {
        "name": f"cwt of 10,240 samples, {scales} scales, {FRAMES} frames, one thread",
        "unit": "ms per window",
        "ours": ours,
        "peers": milliseconds,
        "ratio": min(milliseconds.values()) / ours,  # to the fastest peer
        "error": errors["retrace"],
        "load": os.getloadavg()[0],
    }


def whole_data_set(rounds: int) -> dict[str, object]:
    transform = engine(SCALES)
    windows = np.resize(tracings(BATCH), (CACHET_WINDOWS, 1, SAMPLES))
    sections = butter(ORDER, (LOW, HIGH), btype="bandpass", fs=FS, output="sos")
    scales = CENTRE * FS / transform.frequencies

    def ours(windows: Array) -> None:
        for start in range(0, len(windows), BATCH):
            batch = windows[start : start + BATCH]
            clean = [bandpass(w, fs=FS, low=LOW, high=HIGH, order=ORDER) for w in batch]
            transform(np.stack(clean))

    def theirs(windows: Array) -> None:
        for window in windows:
            clean = sosfiltfilt(sections, window)
            values, _ = pywt.cwt(clean[0], scales, WAVELET, method="fft")
            np.abs(values[:, :: SAMPLES // FRAMES]).astype(np.float16)

    seconds = []
    peer = []
    for _ in range(rounds):
        seconds.append(timed(ours, windows))
        part = windows[:PEER_WINDOWS]
        peer.append(timed(theirs, part) / len(part) * len(windows))
    name, mine, other = "scipy.sosfiltfilt + pywt.cwt", median(seconds), median(peer)
    print(f"\n{CACHET_WINDOWS:,} windows filtered and transformed, {SCALES} scales, one thread")
    print(f"{'':32}{'s':>7}{'ratio':>9}")
    print(f"{'retrace':32}{mine:7.2f}{1:9.1f}")
    print(f"{name:32}{other:7.1f}{other / mine:9.1f}   ({PEER_WINDOWS} windows, scaled up)")
    return {
        "name": f"{CACHET_WINDOWS:,} windows of 10,240 samples, filtered and transformed",
        "unit": "s",
        "ours": mine,
        "peers": {name: other},
        "ratio": other / mine,
        "error": None,  # of the transform: above
        "load": os.getloadavg()[0],
    }


def engine(scales: int) -> Scalogram:
    return Scalogram(
        wavelet=WAVELET,
        fs=FS,
        samples=SAMPLES,
        low=LOW,
        high=HIGH,
        scales=scales,
        frames=FRAMES,
    )


def tracings(count: int) -> Array:
    """(count, 1, SAMPLES) float32 mV: spikes about once a second, wander and noise."""
    generator = np.random.default_rng(1)
    seconds = np.arange(SAMPLES) / FS
    windows = 0.05 * generator.standard_normal((count, 1, SAMPLES))
    windows += 0.3 * np.sin(2 * np.pi * 0.3 * seconds)
    for window in windows[:, 0]:
        for beat in np.arange(0.4, 9.8, generator.uniform(0.5, 1.2)):
            window += np.exp(-(((seconds - beat) / 0.012) ** 2))
            window += 0.2 * np.exp(-(((seconds - beat - 0.25) / 0.06) ** 2))
    return windows.astype(np.float32)


def timed(transform: Transform, windows: Array) -> float:
    start = time.perf_counter()
    transform(windows)
    return time.perf_counter() - start


def worst(ours: NDArray[np.floating], truth: NDArray[np.float64]) -> float:
    return float((np.abs(ours - truth).max(axis=(2, 3)) / truth.max(axis=(2, 3))).max())


def by_pywavelets(
    windows: Array, frequencies: NDArray[np.float64], precision: int
) -> NDArray[np.float64]:
    scales = CENTRE * FS / frequencies
    centred = windows.astype(np.float64) - windows.mean(axis=-1, keepdims=True, dtype=np.float64)
    values, _ = pywt.cwt(centred, scales, WAVELET, method="fft", precision=precision)
    kept = np.moveaxis(values[..., :: SAMPLES // FRAMES], 0, 2)
    return np.asarray(2 * np.abs(kept) / np.sqrt(scales)[:, None])


def reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]


def available_peers(
    frequencies: NDArray[np.float64],
) -> tuple[dict[str, Transform], dict[str, str]]:
    """Name to function of windows, and name to the reason why there is none."""
    scales = CENTRE * FS / frequencies
    hop = SAMPLES // FRAMES
    peers: dict[str, Transform] = {}
    missing: dict[str, str] = {}

    def pywavelets(windows: Array) -> None:
        for window in windows[:, 0]:
            values, _ = pywt.cwt(window, scales, WAVELET, method="fft")
            np.abs(values[:, ::hop])

    def pywavelets_batched(windows: Array) -> None:
        values, _ = pywt.cwt(windows[:, 0], scales, WAVELET, method="fft")
        np.abs(values[..., ::hop])

    peers["pywt.cwt"] = pywavelets
    peers["pywt.cwt, batched"] = pywavelets_batched

    try:
        os.environ["SSQ_PARALLEL"] = "0"  # read when it is imported
        import ssqueezepy

        # Morlet with mu = 2 pi: as narrow as a cmor of centre 1.
        exact = CENTRE * FS / np.geomspace(HIGH, LOW, len(frequencies))  # it refuses 11 digits
        wavelet = ssqueezepy.Wavelet(("morlet", {"mu": 2 * np.pi}))

        def by_ssqueezepy(windows: Array) -> None:
            for window in windows[:, 0]:
                values, _ = ssqueezepy.cwt(window, wavelet, scales=exact, fs=FS)
                np.abs(values[:, ::hop])

        by_ssqueezepy(np.zeros((1, 1, SAMPLES), np.float32))
        peers["ssqueezepy.cwt"] = by_ssqueezepy
    except Exception as error:  # any peer may be absent or broken: the others still run
        missing["ssqueezepy.cwt"] = reason(error)

    try:
        import fcwt

        morlet = fcwt.Morlet(2.0)
        engine = fcwt.FCWT(morlet, 1, False, True)
        range_ = fcwt.Scales(morlet, fcwt.FCWT_LOGSCALES, FS, LOW, HIGH, len(frequencies))
        output = np.empty((len(frequencies), SAMPLES), np.complex64)

        # The engine keeps a bare pointer to the wavelet: the default argument keeps it alive.
        def by_fcwt(windows: Array, _alive: object = morlet) -> None:
            for window in windows[:, 0]:
                engine.cwt(np.ascontiguousarray(window), range_, output)
                np.abs(output[:, ::hop])

        by_fcwt(np.zeros((1, 1, SAMPLES), np.float32))
        peers["fCWT"] = by_fcwt
    except Exception as error:
        missing["fCWT"] = reason(error)
    return peers, missing


if __name__ == "__main__":
    main()
