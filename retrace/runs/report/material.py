"""What a model was made and tested on: where it comes from, how much it is, what was done to it."""

from retrace.runs.report.document import Block, Bullets, Facts, Grid, Paragraph, Section
from retrace.runs.report.files import POPULATIONS, SOURCES, Files
from retrace.runs.report.values import NONE, Node, Table, Text, Value, listed, text

SUBSETS = {"train": "training", "val": "validation", "test": "test"}
UNKNOWN: Text = ("not known",)


def population(files: Files) -> Node:
    """What the publisher says of those who were recorded."""
    return files.repository(POPULATIONS)[files.run.dataset]


def data(files: Files) -> Section:
    """Where the data come from, how many they are, and what was done to them."""
    source = files.repository(SOURCES)[files.run.dataset]
    who = population(files)
    facts: list[tuple[Text, Text]] = [(("Data set",), (source["title"].text(),))]
    if "url" in source:
        facts.append((("Published at",), (source["url"].text(),)))
    facts += [
        (("Licence",), (source["licence"].text(),)),
        (("Cite",), (source["citation"].text(),)),
    ]
    names = {
        "setting": "Setting",
        "dates": "Recorded",
        "eligibility": "Chosen",
        "participants": "People",
        "treatments": "Treatments",
        "outcome": "Labels by",
        "blinding": "Blinding",
    }
    facts += [((name,), said(who[key])) for key, name in names.items()]
    facts.append((("Labels to classes",), _labels(files)))
    return Section("Data", [Facts(facts), *_counts(files), *_preparation(files)])


def said(node: Node) -> Text:
    """What a file says, or that it is not known."""
    return UNKNOWN if node.value is None else (node.text(),)


def _labels(files: Files) -> Text:
    """The source's labels by the class that they became."""
    stage = files.lock["bandpass"]["params"]["params.yaml"]
    labels = stage[f"datasets.{files.run.dataset}"]["labels"]
    found: dict[str, list[Value]] = {}
    for source, own in labels.items():
        found.setdefault(own.value or "left out", []).append(labels.name(source))
    parts = [text("{}: {}", (name,), listed(values)) for name, values in found.items()]
    return text("; ".join("{}" for _ in parts), *parts)


def _counts(files: Files) -> list[Block]:
    """Segments of each class, and patients, in each part; of the test part alone where the rest is
    not at hand."""
    known = files.scores["classes"]
    table = files.segments
    if table is None:
        total = files.cost["train_segments"].count() if files.cost else None
        rows: list[list[Text]] = [[("test part",), (f"{_unit(files)}s",), ("patients",)]]
        for name, own in known.items():
            rows.append(
                [(known.name(name),), (own["support"].count(),), (own["patients"].count(),)]
            )
        counts = files.scores["counts"]
        rows.append([("all",), (counts["answers"].count(),), (counts["patients"].count(),)])
        more = text(" Training had {} segments.", total) if total else ()
        return [
            Grid(rows),
            Paragraph(
                text(
                    "Counts by class of training and validation stand in data/split.csv, which is "
                    "not at hand here: dvc repro rebuilds it.{}",
                    more,
                ),
                "note",
            ),
        ]
    header: list[Text] = [("part",), *((known.name(name),) for name, _ in known.items())]
    rows = [[*header, ("segments",), ("recordings",), ("patients",)]]
    for subset, words in SUBSETS.items():
        rows.append(
            [
                (words,),
                *((table.sum("segments", subset=subset, label=name),) for name, _ in known.items()),
                (table.sum("segments", subset=subset),),
                (table.different("record_id", subset=subset),),
                _patients(table, subset=subset),
            ]
        )
    return [Grid(rows, caption=("Segments by part and class",)), *_people(files)]


def _patients(table: Table, **where: str) -> Text:
    """How many are known; a dash where nobody is, which is not none."""
    found = table.different("patient_id", **where)
    return (NONE,) if found.shown == "0" else (found,)


def _people(files: Files) -> list[Block]:
    if files.records is None or not files.records.rows:
        return []
    table = files.records
    read, known = table.different("record_id"), _patients(table)
    if known == (NONE,):
        return [Paragraph(text("{} recordings were read; whose they are is not known.", read))]
    women, men = (table.different("patient_id", sex=sex) for sex in ("F", "M"))
    if women.shown == men.shown == "0":
        sexes: Text = ("their sex is not known.",)
    else:
        words = "{} women, {} men; sex is empty where the source does not give it."
        sexes = text(words, women, men)
    return [Paragraph(text("{} recordings of {} known patients were read: {}", read, known, sexes))]


def _unit(files: Files) -> str:
    return "beat" if files.run.beats else "recording"


def _preparation(files: Files) -> list[Block]:
    params = files.params
    steps: list[Text] = []
    if params["bandpass.order"].value:
        steps.append(
            text(
                "Filter: zero-phase Butterworth, {} to {} Hz, order {}, over the whole recording.",
                params["bandpass.low"].number(),
                params["bandpass.high"].number(),
                params["bandpass.order"].number(),
            )
        )
    else:
        steps.append(("Filter: none.",))
    window = params["segment.window"].number()
    if params["segment.anchor"].value == "beat":
        steps.append(
            text(
                "Segments: {} s around each annotated R peak, one for each beat. Beats have to be "
                "found first where nobody annotated them.",
                window,
            )
        )
    else:
        steps.append(
            text(
                "Segments: windows of {} s, a new one every {} s; shorter recordings: {}.",
                window,
                params["segment.hop"].number(),
                params["segment.short"].text(),
            )
        )
    steps.append(text("Normalisation: {}.", params["segment.normalise"].text()))
    if params["model.input"].value == "scalograms":
        steps.append(
            text(
                "Scalogram: wavelet {}, {} scales from {} to {} Hz, {} frames.",
                params["cwt.wavelet"].text(),
                *(params[f"cwt.{key}"].number() for key in ("scales", "low", "high", "frames")),
            )
        )
    steps.append(
        text(
            "Recordings with missing values or a flat lead: {}. Flat segments: {}.",
            params["bandpass.unusable"].text(),
            params["segment.flat"].text(),
        )
    )
    return [Bullets(steps)]
