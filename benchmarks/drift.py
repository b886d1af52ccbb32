"""Is planted drift found, and is there quiet without it? With how many persons?

    RETRACE_MIRROR=FOLDER python -m benchmarks.drift [--model FILE.onnx] [--json FILE]

The 47 persons of MIT-BIH are divided at random: 22 are the reference, as many as a model of the
split DS1 / DS2 is tested on, and 5, 10, 15 or 20 of the others are new. Without drift both sides
are alike, so that whatever is found is a false alarm, and no more than 5 % of the divisions may
have one. Then the recordings of the new ones are answered with drift in them: the second lead in
place of the model's, another gain, noise of 6 dB (see `retrace.signals.noise`), upside down.
Patient mix: the new ones are such of whose beats a tenth or more is ectopic. The share of the
divisions in which drift is found is the power. A person is a recording of half an hour (of two in
one case), and all are of one hospital: between two hospitals there is more to find.

The same is asked of the generator's virtual patients, who have five short recordings each: what is
quiet there, and would it be if recordings were permuted instead of persons?
"""

import argparse
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks.rpeaks import mitdb
from retrace.datasets.mitdb import PATIENTS
from retrace.deploy.inputs import Recording
from retrace.deploy.predictor import Predictor
from retrace.errors import InputError, reported
from retrace.files import read_csv, write_json
from retrace.scoring.drift import Sample, compare
from retrace.service import observations
from retrace.service.feed_recordings import Drift
from retrace.service.samples import Samples
from retrace.signals.apply import choose_leads
from retrace.signals.noise import noise_for, strength
from retrace.signals.records import BEATS, Record, read_wfdb
from retrace.synthesis import synthesise

MODEL = Path("recipes/mitdb_ds1_ds2/model.onnx")
REFERENCE, NEW = 22, (5, 10, 15, 20)
QUIET, LOUD, PERMUTATIONS = 400, 100, 999  # divisions without and with drift
ECTOPIC, SYMBOLS = 0.1, "AaJSnVrEF"  # of the beats, the share of these symbols
VIRTUAL, EACH = 120, 5  # virtual patients and their recordings
SIDES = 30  # of them on each side


@dataclass(frozen=True)
class Observed:
    """What is observed of a recording, and whose it is."""

    person: str
    features: dict[str, Any]


def in_memory(record: Record) -> Samples:
    """A recording as it would be read from a file."""
    return Samples(
        name=record.record_id,
        path=Path(record.record_id),
        fs=record.fs,
        leads=record.leads,
        samples=record.signal.shape[1],
        signal=record.signal,
    )


def muscle(record: Record) -> Record:
    """The same under muscle noise of 6 dB."""
    noise = strength(record, 6) * noise_for(record, "muscle", 0)
    return record.with_signal((record.signal + noise).astype(np.float32))


PLANTED: dict[str, Callable[[Record], Record]] = {
    "none": lambda record: record,
    "twice the gain": Drift(gain=2).planted,
    "1.25 times the gain": Drift(gain=1.25).planted,
    "electrode motion, 6 dB": Drift(noise=6).planted,
    "muscle noise, 6 dB": muscle,
    "upside down": Drift(invert=True).planted,
}
LEAD, MIX = "another lead", "patient mix"


def observe(predictor: Predictor, recording: Recording, lead: str | None = None) -> dict[str, Any]:
    """What the service would observe of it."""
    card = predictor.card
    row = choose_leads(recording.name, recording.leads, card.domain, lead)[0]
    answer = predictor.answer(recording, lead=lead, detect=True)
    answered = [card.classes[best] for best in answer.best.tolist()]
    return observations.observed(recording, row, answered, answer.confidence.tolist())


def observe_mitdb(predictor: Predictor) -> tuple[dict[str, list[Observed]], set[str]]:
    """Every recording under every kind of drift, and the persons with many ectopic beats."""
    found: dict[str, list[Observed]] = {name: [] for name in (*PLANTED, LEAD)}
    ectopic: dict[str, list[str]] = {}
    for path in sorted(mitdb().glob("*.hea")):
        record = read_wfdb(path.with_suffix(""))
        person = PATIENTS.get(record.record_id, record.record_id)
        ectopic.setdefault(person, []).extend(s for s in record.symbols if s in BEATS)
        for name, plant in PLANTED.items():
            try:
                features = observe(predictor, in_memory(plant(record)))
            except InputError as error:  # as the service refuses it: nothing is kept
                print(f"{name}: {error}")
                continue
            found[name].append(Observed(person, features))
        own = choose_leads(record.record_id, record.leads, predictor.card.domain)[0]
        other = record.leads[1 - own]
        found[LEAD].append(Observed(person, observe(predictor, in_memory(record), other)))
    often = {
        person
        for person, symbols in ectopic.items()
        if np.mean([symbol in SYMBOLS for symbol in symbols]) >= ECTOPIC
    }
    return found, often


def observe_virtual(predictor: Predictor) -> list[Observed]:
    """The recordings of virtual patients, without drift."""
    found = []
    with TemporaryDirectory() as folder:
        synthesise(
            Path(folder),
            seed=1,
            patients=VIRTUAL,
            records_per_patient=EACH,
            fs=128,
            duration=30,
            noise=1,
        )
        for row in read_csv(Path(folder) / "labels.csv"):
            record = read_wfdb(Path(folder) / row["record_id"])
            with suppress(InputError):  # some are of the class Noise, and refused
                features = observe(predictor, in_memory(record), record.leads[0])
                found.append(Observed(row["patient_id"], features))
    return found


def sample(rows: Sequence[Observed], persons: set[str], classes: Sequence[str]) -> Sample:
    """The recordings of these persons."""
    chosen = [row for row in rows if row.person in persons]
    return observations.sample(
        [row.features for row in chosen], classes, [r.person for r in chosen]
    )


@dataclass
class Tally:
    """In how many divisions drift was found, and in which numbers."""

    divisions: int = 0
    found: int = 0
    names: Counter[str] = field(default_factory=Counter)

    def add(self, reference: Sample, current: Sample) -> None:
        rows = compare(reference, current, seed=self.divisions, permutations=PERMUTATIONS)
        names = [row.name for row in rows if row.drifted]
        self.divisions += 1
        self.found += bool(names)
        self.names.update(names)

    @property
    def rate(self) -> float:
        return 100 * self.found / self.divisions

    def __str__(self) -> str:
        # Without an interval: the divisions are of the same persons, no independent ones.
        return f"{self.rate:.1f} % of {self.divisions}"


def divisions(
    before: Sequence[Observed],
    after: Sequence[Observed],
    classes: Sequence[str],
    count: int,
    new: int,
    among: set[str] | None = None,
) -> Tally:
    """Divide the persons at random so often: the reference from `before`, `new` ones from `after`.

    among: the persons of whom the new ones are drawn.
    """
    rng, tally = np.random.default_rng(new), Tally()
    everybody = sorted({row.person for row in before})
    pool = sorted({row.person for row in after} & (among or set(everybody)))
    for _ in range(count):
        chosen = set(rng.choice(pool, new, replace=False))
        others = [person for person in everybody if person not in chosen]
        reference = set(rng.choice(others, min(REFERENCE, len(others)), replace=False))
        tally.add(sample(before, reference, classes), sample(after, chosen, classes))
    return tally


def virtual(rows: Sequence[Observed], classes: Sequence[str]) -> dict[str, Tally]:
    """False alarms of random divisions, if persons are permuted and if recordings are."""
    rng = np.random.default_rng(0)
    everybody = sorted({row.person for row in rows})
    found = {"persons": Tally(), "recordings": Tally()}
    for _ in range(QUIET):
        order = rng.permutation(everybody)
        sides = [
            sample(rows, set(part), classes) for part in (order[:SIDES], order[SIDES : 2 * SIDES])
        ]
        found["persons"].add(*sides)
        alone = [
            replace(side, groups=[(place, row) for row in range(len(side.groups))])
            for place, side in enumerate(sides)
        ]
        found["recordings"].add(*alone)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", type=Path, default=MODEL, help=f"default: {MODEL}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    options = parser.parse_args()
    predictor = Predictor(options.model)
    classes = predictor.card.classes
    found, often = observe_mitdb(predictor)
    before = found["none"]
    print(f"{len({row.person for row in before})} persons, {len(often)} with many ectopic beats\n")
    print(f"divisions with drift found, %; {REFERENCE} persons in the reference, and new ones:")
    print(f"{'':26}" + "".join(f"{new:6}" for new in NEW) + "  found in, with the most persons")
    figures = []
    for name, rows in [*found.items(), (MIX, before)]:
        among = often if name == MIX else None
        tallies = [
            divisions(before, rows, classes, QUIET if name == "none" else LOUD, new, among)
            for new in NEW
            if among is None or new <= len(among)
        ]
        rates = "".join(f"{tally.rate:6.1f}" for tally in tallies)
        most = ", ".join(
            f"{one} {100 * k / tallies[-1].divisions:.0f}"
            for one, k in tallies[-1].names.most_common(4)
        )
        print(f"{name:26}{rates:{6 * len(NEW)}}  {most}")
        found_in = [tally.rate for tally in tallies]
        figures.append({"drift": name, "persons": NEW[: len(tallies)], "found": found_in})
    quiet = virtual(observe_virtual(predictor), classes)
    print(f"\nvirtual patients, {SIDES} and {SIDES}, {EACH} recordings each: false alarms")
    for name, tally in quiet.items():
        print(f"  {name} permuted: {tally}")
        figures.append({"drift": f"none, virtual, {name} permuted", "found": [tally.rate]})
    if options.json:
        write_json(options.json, figures)


if __name__ == "__main__":
    with reported():
        main()
