"""What the scores look like: confusion, calibration, noise, and single answers."""

from retrace.runs.report.document import Block, Bullets, Facts, Grid, Paragraph, Picture, Section
from retrace.runs.report.files import Files
from retrace.runs.report.opening import NAMES
from retrace.runs.report.values import Text, cell, text


def confusion(files: Files) -> Section:
    """What was taken for what."""
    table = files.answers
    blocks = _picture(files, "plots/test/confusion.png", "Confusion matrix")
    if table is not None:
        own = files.scores["classes"]
        names = [name for name, _ in own.items()]
        header = [text("answered {}", own.name(name)) for name in names]
        rows: list[list[Text]] = [[("actual",), *header]]
        for actual in names:
            cells = [(table.sum("answers", actual=actual, predicted=name),) for name in names]
            rows.append([(own.name(actual),), *cells])
        blocks.append(Grid(rows))
    blocks += _picture(files, "plots/test/roc.png", "ROC curve of each class")
    blocks += _picture(files, "plots/test/pr.png", "PPV over sensitivity of each class")
    return Section("Confusion", blocks or [_not_at_hand("It")])


def calibration(files: Files) -> Section:
    """Whether a probability means what it says."""
    overall = files.scores["overall"]
    facts: list[tuple[Text, Text]] = []
    if files.card is not None:
        temperature = files.card["temperature"].decimal()
        facts.append((("Temperature, fitted on validation",), (temperature,)))
    facts += [
        (("ECE on the test part, before",), cell(overall["ece_uncalibrated"])),
        (("ECE on the test part, after",), cell(overall["ece"])),
    ]
    alt = "Share of right answers against confidence, before and after temperature scaling"
    picture = _picture(files, "plots/test/calibration.png", alt)
    return Section(
        "Calibration",
        [
            Paragraph(
                (
                    "ECE is the mean distance between how sure the model is and how often it is "
                    "right: none at all would be perfect. The logits are divided by one "
                    "temperature, which changes no answer.",
                )
            ),
            Facts(facts),
            *(picture or [_not_at_hand("The reliability diagram")]),
        ],
    )


def robustness(files: Files) -> Section:
    """What is left under noise, and where the signal is not what it should be."""
    tree = files.robustness
    if tree is None:
        return Section(
            "Robustness", [Paragraph(("Not measured: the run is older than its stage.",))]
        )
    more = "f1_macro_nsv" in tree["rows"][0]
    rows: list[list[Text]] = [[("condition",), ("SNR in dB",), ("Macro F1",), ("against clean",)]]
    if more:
        rows[0].append((NAMES["f1_macro_nsv"],))
    for row in tree["rows"]:
        snr = row["snr_db"]
        rows.append(
            [
                (row["condition"].text(),),
                () if snr.value is None else (snr.number(),),
                cell(row["f1_macro"]),
                cell(row["difference"]),
                *([cell(row["f1_macro_nsv"])] if more else []),
            ]
        )
    alt = "Macro F1 by kind and strength of noise"
    picture = _picture(files, "plots/robustness/robustness.png", alt)
    return Section(
        "Robustness", [*picture, Grid(rows), Bullets([(note.text(),) for note in tree["notes"]])]
    )


def examples(files: Files) -> Section:
    """Right and wrong answers, as signals and scalograms."""
    found = _picture(
        files,
        "plots/test/examples.png",
        "Right answers on the left, wrong ones on the right: the signal above, its scalogram below",
    )
    words = (
        "Of each class a typical right answer, that of median probability, and the wrong answer "
        "of which the model was surest.",
    )
    return Section(
        "Examples of right and wrong",
        [Paragraph(words), *found] if found else [_not_at_hand("The figure with examples")],
    )


def _picture(files: Files, path: str, alt: str) -> list[Block]:
    found = files.read(path)
    return [] if found is None else [Picture(found[0], found[1], alt)]


def _not_at_hand(what: str) -> Block:
    return Paragraph(
        (
            f"{what} is no part of the published run and not in DVC's cache here: rebuild the run "
            "as said under Rebuild it, and make this report again.",
        )
    )
