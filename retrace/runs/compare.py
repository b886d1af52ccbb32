"""Runs side by side: what they scored, which is better, and whether that can be said at all."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from retrace.errors import InputError
from retrace.runs import comparison, forms, ledger, paired, run
from retrace.runs.answers import Answers
from retrace.runs.comparison import Comparison
from retrace.runs.found import Runs
from retrace.runs.paired import Pair
from retrace.runs.run import Run
from retrace.runs.words import some

# What is compared in pairs, unless runs are sorted by another score that can be.
USUAL = "f1_macro"


def compare(
    root: Path,
    names: Sequence[str] = (),
    *,
    form: str = "text",
    sort: str = "",
    published: bool = False,
) -> str:
    """The named runs side by side: recipes (their published runs), experiments of DVC, Git
    revisions, or "workspace" for the present run; without names all of them, or all `published`.

    form: one of `forms.NAMES`. sort: a score; the best come first within each test part. Each run
    is held against the best of its test part, in that score or else in macro-F1.
    Raises InputError for a run that is not there, and for a score that no run has.
    """
    there = Runs(root)
    if names:
        runs, left_out = [there.named(name) for name in dict.fromkeys(names)], list[str]()
    else:
        runs, left_out = there.all(published=published)
    scores = sorted({name for one in runs for name in one.scores["overall"]})
    if sort and sort not in scores:
        raise InputError(f"--sort {sort}: no run has this score; there are {some(scores)}")
    if sort or not names:
        runs = comparison.sort(runs, sort)
    pairs, unpaired = _pairs(there, runs, sort)
    notes = [*_reading(root, runs, pairs, sort), *unpaired, *left_out]
    shown = Comparison(runs, comparison.letters(runs), pairs, run.all_published(root), notes, sort)
    return forms.write(shown, form, few=bool(names))


def _pairs(there: Runs, runs: Sequence[Run], sort: str) -> tuple[list[Pair], list[str]]:
    """Each run against the best of its test part, and a sentence for those that cannot be."""
    parts: dict[tuple[str, ...], list[Run]] = {}
    for one in runs:
        parts.setdefault(one.test_part, []).append(one)
    pairs: list[Pair] = []
    left_out: dict[str, list[str]] = {}
    for together in parts.values():
        if len(together) < 2:
            continue
        known: dict[str, Answers] = {}
        for one in together:
            try:
                known[one.name] = _comparable(there.answers(one), known)
            except InputError as error:
                left_out.setdefault(str(error), []).append(one.name)
        if len(known) > 1:
            score = sort if sort in paired.known(next(iter(known.values()))) else USUAL
            pairs += paired.against_best(
                known, score, seed=min(int(one.params["seed"]) for one in together)
            )
    return pairs, [f"Not paired: {', '.join(names)}: {why}" for why, names in left_out.items()]


def _comparable(own: Answers, known: Mapping[str, Answers]) -> Answers:
    """`own`, if it answers for what the known ones answer for; else InputError."""
    for name, other in known.items():
        if not own.same_test_part(other):
            raise InputError(f"answered for other examples than {name}: rebuild both")
    return own


def _reading(root: Path, runs: Sequence[Run], pairs: Sequence[Pair], sort: str) -> list[str]:
    """How the table and the pairs are to be read."""
    said = ["95 % intervals. Scores can be compared where the test part has the same letter."]
    if any(one.stamp for one in runs):
        said.append(
            "INTRA-PATIENT: tested on patients that the model may know from its training; such "
            "scores flatter, as the line of the same model on another split shows."
        )
    if not pairs:
        return said
    said.append(
        f"In pairs: all runs answer for the same draws of whole patients ({paired.RESAMPLES:,} at "
        "least; records where patients are unknown); p is corrected by Holm for every pair of a "
        "test part, not only those with its best run. With 20 patients or fewer p is too small "
        "rather than too large."
    )
    if sort and sort not in {pair.score for pair in pairs}:
        said.append(f"{sort} does not follow from counted answers: the pairs are in {USUAL}.")
    best = {pair.best for pair in pairs}
    most = max(ledger.readings(root, one) for one in runs if one.name in best)
    said.append(
        "The best run was found on the very test part that judges it"
        + (f", which up to {most} published models have read" if most > 1 else "")
        + ": on new patients expect less."
    )
    return said
