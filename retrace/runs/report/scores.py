"""What a model scored, with intervals: by class, by group, by standard, by patient."""

from retrace.runs.report.document import (
    Block,
    Bullets,
    Grid,
    Heading,
    Paragraph,
    Section,
)
from retrace.runs.report.files import Files
from retrace.runs.report.opening import NAMES, stamps
from retrace.runs.report.values import NONE, Node, Text, Value, cell, score, span, text
from retrace.scoring.beats import HEADLINE
from retrace.scoring.tables import SHORT

MOST_PATIENTS = 100  # in a table; of more the interval has to speak
OF_CLASSES = {"sensitivity": "Sensitivity", "ppv": "PPV", "f1": "F1", "auroc": "AUROC"}
BASELINES = {
    "majority": "the most frequent class for all",
    "patient_oracle": "each patient's most frequent class, from the test labels",
}
OF_RECORDS = ("veb_sensitivity", "veb_ppv", "sveb_sensitivity", "sveb_ppv")


def scores(files: Files) -> Section:
    """All scores with their intervals."""
    bootstrap = files.scores["bootstrap"]
    return Section(
        "Scores",
        [
            *(Paragraph(words, "stamp") for words in stamps(files)),
            Paragraph(
                text(
                    "Behind each value stands its 95 % interval: percentile bootstrap over {} {}, "
                    "{} resamples. k/n is written where examples are few, with the wider of that "
                    "and the exact binomial interval.",
                    bootstrap["groups"].count(),
                    bootstrap["unit"].text(),
                    bootstrap["resamples"].count(),
                ),
                "note",
            ),
            *_overall(files),
            *_classes(files),
            *_thresholds(files),
            *_subgroups(files),
            *_ec57(files),
            *_patients(files),
        ],
    )


def _overall(files: Files) -> list[Block]:
    tree = files.scores
    rivals = dict(tree["baselines"].items())
    rows: list[list[Text]] = [
        [
            ("score",),
            ("value",),
            ("95 % interval",),
            *((name.replace("_", " "),) for name in rivals),
        ]
    ]
    bars: list[Node | None] = []
    for name, entry in tree["overall"].items():
        beside = [score(rival.get(name)) if rival.get(name) else () for rival in rivals.values()]
        rows.append([(NAMES.get(name, name),), score(entry), span(entry), *beside])
        bars.append(None if name.startswith("ece") else entry)  # there 0 is best
    if (noise := tree.get("false_af_on_noise")) is not None:
        rows.append([("Noise answered as AF",), score(noise), span(noise), *((),) * len(rivals)])
        bars.append(noise)
    gains = [
        text(
            "{}: macro F1 is higher by {} ({}) than that of answering {}.",
            (name.replace("_", " ").capitalize(),),
            own["f1_macro_gain"]["value"].decimal(),
            span(own["f1_macro_gain"]),
            (BASELINES[name],),
        )
        for name, own in rivals.items()
        if name in BASELINES
    ]
    return [Grid(rows, bars=bars), Bullets(gains)]


def _classes(files: Files) -> list[Block]:
    own = files.scores["classes"]
    rows: list[list[Text]] = [
        [("class",), ("examples",), ("patients",), *((name,) for name in OF_CLASSES.values())]
    ]
    for name, entry in own.items():
        rows.append(
            [
                (own.name(name),),
                (entry["support"].count(),),
                (entry["patients"].count(),),
                *(cell(entry[key]) for key in OF_CLASSES),
            ]
        )
    bars = [entry["sensitivity"] for _, entry in own.items()]
    return [Heading(("By class",)), Grid(rows, ("The bars show sensitivity.",), bars)]


def _thresholds(files: Files) -> list[Block]:
    own = files.scores["at_thresholds"]
    rows: list[list[Text]] = [[("class",), ("threshold",), ("Sensitivity",), ("PPV",)]]
    for name, entry in own.items():
        rows.append(
            [
                (own.name(name),),
                (entry["threshold"].decimal(),),
                cell(entry["sensitivity"]),
                cell(entry["ppv"]),
            ]
        )
    words = (
        "Each class on its own, from the probability on at which F1 was best on the validation "
        "part. A clinic sets its own.",
    )
    return [Heading(("At thresholds",)), Paragraph(words), Grid(rows)]


def _subgroups(files: Files) -> list[Block]:
    found = dict(files.scores["subgroups"].items())
    if not any(own["groups"].value for own in found.values()):
        return [
            Heading(("By sex and age",)),
            Paragraph(("Not possible: the data set tells nobody's sex or age.",)),
        ]
    unit = "beats" if files.run.beats else "records"
    rows: list[list[Text]] = [
        [("group",), ("patients",), (unit,), ("Accuracy",), ("Macro F1",), ("Mean sensitivity",)]
    ]
    notes: list[Text] = []
    for own in found.values():
        for name, group in own["groups"].items():
            rows.append(
                [
                    (own["groups"].name(name),),
                    (group["patients"].count(),),
                    (group[unit].count(),),
                    *(cell(group[key]) for key in ("accuracy", "f1_macro", "sensitivity_macro")),
                ]
            )
        if (note := own.get("note")) is not None:
            notes.append((note.text(),))
    return [Heading(("By sex and age",)), Grid(rows), Bullets(notes)]


def _ec57(files: Files) -> list[Block]:
    own = files.scores.get("ec57", HEADLINE)
    if own is None:
        return []
    rows: list[list[Text]] = [[("EC57",), ("gross",), ("mean over records",)]]
    for name, entry in own["gross"].items():
        mean = own.get("average", name)
        title = SHORT.get(name, NAMES.get(name, name))
        rows.append([(title,), cell(entry), cell(mean) if mean else ()])
    notes: list[Text] = [(note.text(),) for note in own["notes"]]
    if (worst := own.get("calibration", "worst_record")) is not None:
        notes.append(
            text(
                "Calibration error of the worst record, {}: {}.",
                worst["record_id"].text(),
                worst["ece"].decimal(),
            )
        )
    each: list[list[Text]] = [[("record",), *((SHORT[name],) for name in OF_RECORDS)]]
    for name, record in own["records"].items():
        each.append(
            [(own["records"].name(name),), *((record[key].decimal(),) for key in OF_RECORDS)]
        )
    return [
        Heading(("By EC57, beat by beat",)),
        Grid(rows),
        Bullets(notes),
        Grid(each, caption=("By record, same protocol",)),
    ]


def _patients(files: Files) -> list[Block]:
    title = Heading(("By patient",))
    if files.scores["counts"]["patients"].value is None:
        return [
            title,
            Paragraph(("Not possible: the data set does not tell whose a recording is.",)),
        ]
    table = files.answers
    if table is None:
        return [title, Paragraph(("The answers of this run are not at hand: rebuild it.",))]
    patients = table.values("patient_id")
    if len(patients) > MOST_PATIENTS:
        return [
            title,
            Paragraph(("There are too many for a page: see plots/test/predictions.csv.",)),
        ]
    classes = [name for name, _ in files.scores["classes"].items()]
    unit = "beats" if files.run.beats else "recordings"
    rows: list[list[Text]] = [
        [("patient",), ("all",), *((files.scores["classes"].name(name),) for name in classes)]
    ]
    for patient in patients:
        own = {"patient_id": patient}
        cells = [_right(table.sum("answers", **own), table.sum("answers", **own, right="yes"))]
        for name in classes:
            of_class = own | {"actual": name}
            cells.append(
                _right(
                    table.sum("answers", **of_class), table.sum("answers", **of_class, right="yes")
                )
            )
        rows.append([(Value(patient, f"{table.file}#different(patient_id)", "among"),), *cells])
    return [title, Grid(rows, (f"Right answers out of all {unit} of a class",))]


def _right(of: Value, right: Value) -> Text:
    return (NONE,) if of.shown == "0" else text("{}/{}", right, of)
