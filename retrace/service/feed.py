"""`retrace feed`: a stream of new data, simulated: drawn, cut into slices, sent on a schedule."""

import io
import ipaddress
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import numpy as np
from numpy.typing import NDArray

from retrace.errors import InputError
from retrace.files import NpyReader, read_csv
from retrace.service.feed_recordings import (
    NO_DRIFT,
    Drift,
    Recordings,
    files_of,
    read_persons,
    rewritten,
)

ATTEMPTS = 8
PAUSE, LONGEST = 1.0, 300.0  # s before another attempt where no Retry-After is said; at most


@dataclass(frozen=True)
class Schedule:
    """every: s from one slice to the next. count: how many, None: until all was sent once. size:
    segments, or recordings, of a slice. seed: of the draw."""

    every: float
    count: int | None
    size: int
    seed: int

    def __post_init__(self) -> None:
        count = 1 if self.count is None else self.count
        if self.size < 1 or not 0 <= self.every < float("inf") or count < 1:
            raise InputError(
                f"--slice {self.size}, --every {self.every:g}, --count {self.count}: a slice has "
                "at least one segment, slices are 0 s or more apart, and there is at least one: "
                "correct them"
            )


@dataclass(frozen=True)
class Segments:
    """Segments as a model takes them. X: (n, *shape); labels: one each, or none at all; domain: the
    text of the domain.json beside them."""

    X: NDArray[Any]
    labels: Sequence[str]
    domain: str


def feed(
    url: str,
    source: Segments | Recordings,
    schedule: Schedule,
    *,
    model: str | None = None,
    client: httpx2.Client | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[str]:
    """Send slices of a source to the service at `url` by the key in RETRACE_API_KEY; yields a line
    for each slice.

    Classes come equally often where labels are known. What is answered 429 or 503 is sent again, as
    Retry-After says. Raises InputError for a refusal, and where nobody answers.
    """
    headers = {"X-API-Key": _key(url)}
    total = len(source.X) if isinstance(source, Segments) else len(source.paths)
    labels = source.labels if isinstance(source, Segments) else ()
    drawn = _drawn(labels or [""] * total, schedule)
    with nullcontext(client) if client else httpx2.Client(base_url=url, timeout=120) as sender:
        begun = time.monotonic()
        for number, chosen in enumerate(drawn):
            sleep(max(0.0, begun + number * schedule.every - time.monotonic()))
            answers, known = [], []
            for part in [chosen] if isinstance(source, Segments) else chosen[:, None]:
                with ExitStack() as files:
                    route, body = _request(source, part, model, files)
                    answers.append(_sent(sender, route, body | {"headers": headers}, sleep))
                known += [labels[n] for n in part] if labels else []
            yield f"{number + 1}: {_line(answers, known)}"


def read_source(
    paths: Sequence[Path],
    root: Callable[[], Path],
    *,
    persons: Path | None = None,
    drift: Drift = NO_DRIFT,
    lead: str | None = None,
) -> Segments | Recordings:
    """What to send: one .npy file of segments with its domain.json beside it (and segments.csv,
    where their labels are known), or recordings; no path: the test part of the repository.

    persons: a table with record_id and patient_id. drift, lead: see `Recordings`.
    Raises InputError for what is neither, and for segments with what is of recordings alone.
    """
    if (not paths or paths[0].suffix == ".npy") and (persons or drift or lead):
        raise InputError(
            "--gain, --noise, --invert, --lead, --persons: for recordings alone; segments are cut "
            "and scaled already: name recordings"
        )
    if not paths:
        return _test_part(root())
    if paths[0].suffix == ".npy":
        if len(paths) > 1:
            raise InputError(f"{paths[1]}: one .npy file is fed at a time: name the first alone")
        return _segments(paths[0], paths[0].with_name("segments.csv"))
    return Recordings(paths, read_persons(persons) if persons else {}, drift, lead)


def _test_part(root: Path) -> Segments:
    split = root / "data/split.csv"
    for name in ("scalograms", "waveforms"):
        path = root / "data" / name / "X.npy"
        if path.is_file() and len(NpyReader(path)):
            found = _segments(path, root / "data/waveforms/segments.csv")
            test = [
                n for n, row in enumerate(read_csv(split, ["subset"])) if row["subset"] == "test"
            ]
            return Segments(found.X[test], [found.labels[n] for n in test], found.domain)
    raise InputError("data: no segments here: run dvc pull, or name a file of segments")


def _segments(path: Path, table: Path) -> Segments:
    domain = path.with_name("domain.json")
    if not domain.is_file():
        raise InputError(
            f"{path}: no domain.json beside it, so nobody knows what it is: copy the one that was "
            "written with it"
        )
    X = NpyReader(path).mapped()
    labels = [row["label"] for row in read_csv(table, ["label"])] if table.is_file() else []
    if not len(X) or (labels and len(labels) != len(X)):
        raise InputError(
            f"{path}: {len(X)} segments, {len(labels)} labels in {table.name}; there is at least "
            "one, and a label for each: write them anew"
        )
    return Segments(X, labels, domain.read_text(encoding="utf-8"))


def _drawn(labels: Sequence[str], schedule: Schedule) -> Iterator[NDArray[np.int64]]:
    """Numbers of what to send, a slice at a time: each class as often as the commonest, in a random
    order, and all of it anew as long as slices are wanted."""
    rng = np.random.default_rng(schedule.seed)
    names, place = np.unique(labels, return_inverse=True)
    most = np.bincount(place).max()
    left = schedule.count
    while left is None or left > 0:
        order = []
        for number in range(len(names)):
            own = np.flatnonzero(place == number)
            order += [own, rng.choice(own, most - len(own))]
        shuffled = rng.permutation(np.concatenate(order))
        slices = [
            shuffled[start : start + schedule.size]
            for start in range(0, len(shuffled), schedule.size)
        ]
        yield from slices[:left]
        left = 0 if left is None else left - len(slices)


def _request(
    source: Segments | Recordings, part: NDArray[np.int64], model: str | None, files: ExitStack
) -> tuple[str, dict[str, Any]]:
    """The route, and the body of a slice of segments or of one recording."""
    fields = {"model": model} if model else {}
    if isinstance(source, Segments):
        array = io.BytesIO()
        np.save(array, source.X[part], allow_pickle=False)
        sent = [("files", ("slice.npy", array.getvalue()))]
        return "/predict/segments", {"files": sent, "data": fields | {"domain": source.domain}}
    path = source.paths[part[0]]
    fields |= source.fields(path)
    if source.drift:
        path = files.enter_context(rewritten(path, source.drift))
    opened = [
        ("files", (path.name, files.enter_context(path.open("rb")))) for path in files_of(path)
    ]
    return "/predict/recording", {"files": opened, "data": fields}


def _sent(
    sender: httpx2.Client, route: str, body: dict[str, Any], sleep: Callable[[float], None]
) -> dict[str, Any]:
    """The answer, after as many attempts as it takes."""
    why, pause = "", 0.0
    for attempt in range(ATTEMPTS):
        if attempt:
            print(f"{why}: again in {pause:g} s", file=sys.stderr)
        sleep(pause)
        pause = min(PAUSE * 2**attempt, LONGEST)
        for _, (_, stream) in body["files"]:
            if not isinstance(stream, bytes):
                stream.seek(0)
        try:
            answer = sender.post(route, **body)
        except httpx2.TransportError as error:
            why = f"no answer ({type(error).__name__})"
            continue
        if answer.status_code in (200, 201, 202):
            found: dict[str, Any] = answer.json()
            return found
        why = f"{answer.status_code}: {_detail(answer)}"
        if answer.status_code not in (429, 503):
            raise InputError(f"{route}: refused with {why}")
        said = answer.headers.get("Retry-After", "")
        pause = min(float(said), LONGEST) if said.isdigit() else pause
    raise InputError(f"{route}: {why}, {ATTEMPTS} times: see whether the service is ready")


def _detail(answer: httpx2.Response) -> str:
    try:
        return str(answer.json()["detail"])
    except (ValueError, TypeError, KeyError):
        return "no Retrace service answers there"


def _line(answers: list[dict[str, Any]], labels: list[str]) -> str:
    """What a slice was answered, in words. labels: of its segments, where they are known."""
    given = [answer for answer in answers if "segments" in answer]
    classes = [segment["class"] for answer in given for segment in answer["segments"]]
    counts = ", ".join(f"{count} {name}" for name, count in Counter(classes).most_common())
    said = [f"{len(classes)} segment{'s' * (len(classes) != 1)}: {counts}"] if classes else []
    if labels:
        said.append(f"{sum(map(str.__eq__, classes, labels))} as labelled")
    flags = [answer["flagging"]["flagged"] for answer in given if answer["flagging"]["set"]]
    if flags:
        said.append(f"{sum(map(bool, flags))} of {len(flags)} flagged")
    return ", ".join(said + [f"job {answer['job']}" for answer in answers if "job" in answer])


def _key(url: str) -> str:
    """The key of the environment; a warning where it would go in the open."""
    split = urlsplit(url)
    if split.scheme not in ("http", "https") or not split.hostname:
        raise InputError(
            f"{url}: no address of a service; one is http://127.0.0.1:8000: correct it"
        )
    if not (key := os.environ.get("RETRACE_API_KEY", "")):
        raise InputError(
            "RETRACE_API_KEY: not set; the service has to know who sends: make a key by POST /keys"
        )
    try:
        near = ipaddress.ip_address(split.hostname).is_loopback
    except ValueError:
        near = split.hostname == "localhost"
    if split.scheme == "http" and not near:
        print(f"warning: {url}: key and signals go unencrypted; use https", file=sys.stderr)
    return key
