"""What a reader meets first: what the model is, how good it is, what it is for and what not."""

from itertools import takewhile

from retrace.runs import recipes
from retrace.runs.numbered import OWN
from retrace.runs.report.division import tested
from retrace.runs.report.document import Block, Bullets, Heading, Headline, Paragraph, Section
from retrace.runs.report.files import Files
from retrace.runs.report.material import population
from retrace.runs.report.values import Node, Ref, Text, Value, listed, plain, text

# The scores by which a run is read first, where it has them.
FIRST = ("challenge_f1", "f1_macro", "f1_macro_nsv", "sensitivity_macro", "accuracy", "ece")
NAMES = {
    "accuracy": "Accuracy",
    "f1_macro": "Macro F1",
    "f1_macro_nsv": "Macro F1 of N, S and V",
    "f1_macro_nsvf": "Macro F1 of N, S, V and F",
    "challenge_f1": "Challenge F1 (mean of NSR, AF, Other)",
    "sensitivity_minority": "Sensitivity, weighted to rare classes",
    "sensitivity_macro": "Mean sensitivity",
    "auroc_macro": "Mean AUROC",
    "ece": "Calibration error (ECE)",
    "ece_uncalibrated": "Calibration error before scaling",
}


def lead(files: Files) -> Text:
    """What was done, in a line."""
    return text(
        "{} on {}: classes {}, one answer for each {}, {}",
        files.params["model.name"].text(),
        files.params["dataset.name"].text(),
        classes(files),
        unit(files),
        (tested(files),),
    )


def unit(files: Files) -> Text:
    """What is answered."""
    return ("beat" if files.run.beats else "recording",)


def classes(files: Files) -> Text:
    """Their names, in order."""
    return listed(
        [files.scores["classes"].name(name) for name, _ in files.scores["classes"].items()]
    )


def opening(files: Files) -> list[Block]:
    """Stamps, words and the first scores."""
    first = [
        (NAMES[name], files.scores["overall"][name])
        for name in FIRST
        if name in files.scores["overall"]
    ]
    return [
        *(Paragraph(words, "stamp") for words in stamps(files)),
        *([Paragraph(about)] if (about := _about(files)) else []),
        Headline(first[:4]),
        Paragraph(
            text(
                "On the test part, with 95 % intervals: {}. {}",
                _tested(files),
                text("Scores of every class and patient stand under {}.", Ref("Scores")),
            ),
            "note",
        ),
        Paragraph(("It supports decisions; it makes no diagnosis.",)),
    ]


def stamps(files: Files) -> list[Text]:
    """What nobody may overlook."""
    found: list[Text] = []
    if files.run.dataset == recipes.DEFAULT:
        found.append(
            (
                "SYNTHETIC DATA: every recording was computed, no person was ever recorded. "
                "Nothing measured here is clinical performance.",
            )
        )
    if files.run.dataset == OWN and not files.published:  # publishing has numbered them
        found.append(
            (
                "RECORDINGS OF THE USER'S OWN: this report names their records and patients as the "
                "files do. Read it before you pass it on.",
            )
        )
    if files.run.stamp:
        found.append((files.scores["split"]["note"].text(),))
    return found


def _about(files: Files) -> Text:
    if not files.published:
        return ()
    words = " ".join(takewhile(bool, recipes.about(files.root, files.name)))
    source = f"recipes/{files.name}.yaml"
    files.open(source)
    return (Value(words, source, "head"),)


def _tested(files: Files) -> Text:
    counts = files.scores["counts"]
    parts = [text("{} {}s", counts["answers"].count(), unit(files))]
    if files.run.beats:
        parts.append(text("{} recordings", counts["records"].count()))
    patients = counts["patients"]
    known = patients.value is not None
    parts.append(text("{} patients", patients.count()) if known else ("patients unknown",))
    return text(", ".join("{}" for _ in parts), *parts)


def use(files: Files) -> Section:
    """For whom and what it is, and where it must not be relied on."""
    virtual = files.run.dataset == recipes.DEFAULT
    limits = population(files)["limits"]
    weak = [text("{}.", each) for each in _weak(files)]
    return Section(
        "Intended use",
        [
            Paragraph(
                (
                    "To show that the pipeline works, and as a first model to compare others with. "
                    "It answers no question about a person."
                    if virtual
                    else f"To sort the {plain(unit(files))}s of an ECG by class, so that a person "
                    "looks first where something may be wrong. A cardiologist or a trained "
                    "technician reads the tracing itself before anything follows from an answer.",
                )
            ),
            Bullets(
                [
                    text("Users: {}", (_users(virtual),)),
                    text("Input: {} See {}.", _input(files), Ref("Data")),
                    (
                        "Output: a probability for each class. From which one on something is "
                        "flagged is the clinic's to decide: it has no default.",
                    ),
                ]
            ),
            Heading(("Not for",)),
            Bullets(
                [
                    ("A diagnosis, or a treatment, without a person who has read the tracing.",),
                    ("Monitoring with alarms, or any use in which a missed event harms at once.",),
                    (
                        "Recordings of other devices, leads and people than those under Data: how "
                        "it does there was not measured.",
                    ),
                    ("Any use that needs an approved medical device: no authority has seen it.",),
                ]
            ),
            Heading(("Known limits",)),
            Bullets(
                [
                    *([(limits.text(),)] if limits.value else []),
                    *weak,
                    *((note.text(),) for note in files.scores["notes"] if _is_limit(note)),
                ]
            ),
        ],
    )


def _is_limit(note: Node) -> bool:
    """Whether a note says more than how the intervals were made, which stands under Scores."""
    return not note.value.startswith("95 % intervals")


def _users(virtual: bool) -> str:
    if virtual:
        return "developers and researchers."
    return "researchers who compare models; engineers who test one; readers of ECGs who check it."


def _input(files: Files) -> Text:
    """The signal that it takes."""
    window = text("in windows of {} s", files.params["segment.window"].number())
    if files.card is not None:
        window = text("resampled to {} Hz, {}", files.card["domain"]["fs"].number(), window)
    leads = files.params.get(f"datasets.{files.run.dataset}.leads")
    if leads is None or not leads.value:
        return text("one lead, {}.", window)
    return text(
        "lead {}, {}. A recording without it is refused, unless its user names another one.",
        leads.text(),
        window,
    )


def _weak(files: Files) -> list[Text]:
    """The classes whose interval of sensitivity begins below one half."""
    return [
        text(
            "Class {}: sensitivity {} ({}), of {} examples in the test part",
            files.scores["classes"].name(name),
            own["sensitivity"]["value"].decimal(),
            text(
                "{} to {}",
                own["sensitivity"]["low"].decimal(),
                own["sensitivity"]["high"].decimal(),
            ),
            own["support"].count(),
        )
        for name, own in files.scores["classes"].items()
        if own["sensitivity"]["low"].value is not None and own["sensitivity"]["low"].value < 0.5
    ]
