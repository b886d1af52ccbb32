"""What a model file says of itself: the JSON in its metadata, checked before anything runs."""

import json
import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from retrace.errors import InputError
from retrace.scoring.scores import RULES
from retrace.signals.apply import domain_from
from retrace.signals.domain import SignalDomain
from retrace.signals.plan import BEAT_FEATURES

FORMAT = 1
# Bounds of what params.yaml lets a model be trained on: a file from elsewhere fills no memory.
HIGHEST_FS, LONGEST, LARGEST = 5_000, 1_000_000, 16_000_000  # Hz, samples, numbers in a segment
OVERLAP = 100  # windows at most that hold a sample


@dataclass(frozen=True)
class Card:
    """A model's name, its origin, and what it takes and answers.

    model, dataset, split: as params.yaml named them. classes: in the order of the logits. domain:
    of its segments. hop: s between windows. short: what becomes of a recording shorter than one,
    "pad" or "drop". aggregate: how a recording's windows are joined, "none" where each stands for
    itself. features: what it gets beside a segment, of `plan.BEAT_FEATURES`. temperature,
    thresholds: fitted on the validation part. int8: whether its weights are quantised. hashes:
    SHA-256 of what it was made from.
    """

    model: str
    dataset: str
    split: str
    classes: tuple[str, ...]
    domain: SignalDomain
    hop: float
    short: str
    aggregate: str
    features: tuple[str, ...]
    temperature: float
    thresholds: tuple[float, ...]
    int8: bool
    hashes: dict[str, str]

    @property
    def unit(self) -> Literal["beat", "window"]:
        """What a segment is."""
        return "beat" if self.domain.anchor == "beat" else "window"

    @cached_property
    def cut(self) -> bool:
        """Whether it knows beats only as Kaggle cut them: scaled to 0 ... 1, from no filter.

        Their publisher scaled them, not the stages: of normalisation the domain says "none".
        """
        domain = self.domain
        return (domain.name, domain.order, domain.normalise) == ("kaggle125", 0, "none")

    @property
    def note(self) -> str:
        """What has to be known of the model beside its answers; often nothing."""
        if self.dataset == "synthetic":
            return "it knows virtual patients alone: what it says of a real one means nothing"
        if self.split == "intra_patient":
            return (
                "INTRA-PATIENT: its published scores are of patients that it may know, and flatter"
            )
        return ""

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """The shape of a segment: (leads, samples) or (leads, scales, frames)."""
        leads, form = max(1, len(self.domain.leads)), self.domain.representation
        return (leads, form.scales, form.frames) if form else (leads, self.domain.samples)


def read_card(name: str, text: str | None, remedy: str) -> Card:
    """The card in a model's metadata `text`; InputError where it is none, or of another format."""
    if text is None:
        raise InputError(
            f"{name}: no model of Retrace, for it does not say what signal it takes; {remedy}"
        )
    try:
        found = json.loads(text)
        version = found.pop("format")
        if type(version) is int and version > FORMAT:
            raise InputError(
                f"{name}: written by a newer Retrace (format {version}, this one reads {FORMAT}): "
                "update Retrace, or export the model again"
            )
        if version != FORMAT:
            raise ValueError(f"format {version!r}")
        return _checked(found)
    except (
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        OverflowError,
        RecursionError,
    ) as error:
        what = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise InputError(f"{name}: damaged metadata ({what}); {remedy}") from None


def _checked(found: dict[str, Any]) -> Card:
    """The card, if what it says can be true; ValueError for what cannot."""
    card = Card(
        **found
        | {name: tuple(found[name]) for name in ("classes", "features", "thresholds")}
        | {"domain": domain_from(found["domain"])}
    )
    _check_domain(card.domain)
    for name in ("model", "dataset", "split"):
        _need(isinstance(getattr(card, name), str), name)
    _need(len(card.classes) >= 2 and all(isinstance(one, str) for one in card.classes), "classes")
    _need(_positive(card.hop) and _positive(card.temperature), "hop or temperature")
    _need(card.hop * OVERLAP >= card.domain.window, "hop")
    _need(card.short in ("pad", "drop"), "short")
    _need(card.aggregate in RULES, "aggregate")
    _need(set(card.features) <= set(BEAT_FEATURES), "features")
    _need(not card.features or card.unit == "beat", "features of windows")
    _need(isinstance(card.hashes, dict), "hashes")
    _need(math.prod(card.shape) <= LARGEST, "shape")
    return card


def _check_domain(domain: SignalDomain) -> None:
    numbers = (domain.fs, domain.window, *((domain.low, domain.high) if domain.order else ()))
    _need(all(_positive(number) for number in numbers), "domain: a number that is not above 0")
    _need(type(domain.order) is int and 0 <= domain.order <= 10, "domain: order")
    _need(not domain.order or domain.low < domain.high, "domain: low and high")
    _need(domain.fs <= HIGHEST_FS and domain.window * domain.fs <= LONGEST, "domain: fs, window")
    _need(all(isinstance(lead, str) for lead in domain.leads), "domain: leads")
    _need(domain.anchor in ("start", "beat"), "domain: anchor")
    _need((domain.anchor == "beat") == (domain.beat is not None), "domain: beat")
    _need(domain.normalise in ("none", "window", "range", "record"), "domain: normalise")
    if beat := domain.beat:
        _need(isinstance(beat.peak, int | float) and 0 <= beat.peak < 1, "domain: peak")
        _need(beat.rr_length is None or _positive(beat.rr_length), "domain: rr_length")
    if form := domain.representation:
        _need(_positive(form.low) and _positive(form.high), "domain: representation")
        _need(type(form.scales) is int and type(form.frames) is int, "domain: representation")
        _need(form.scales > 0 and form.frames > 0, "domain: representation")


def _positive(number: object) -> bool:
    """Whether it is a finite number above 0, which is neither true nor false."""
    return type(number) in (int, float) and 0 < number < math.inf  # type: ignore[operator]


def _need(holds: bool, what: str) -> None:
    if not holds:
        raise ValueError(what)
