"""How the data were divided, and whether the model may know the test part."""

from dataclasses import dataclass

from retrace.runs.report.document import Block, Facts, Paragraph, Section
from retrace.runs.report.files import Files
from retrace.runs.report.values import Text, text

# Of a split; DS1 and DS2 know no folds.
KNOBS = {
    "val": "Share of validation",
    "folds": "Equal parts",
    "fold": "Of which the test part is number",
    "seed": "Seed",
}


@dataclass(frozen=True)
class Split:
    """A way to divide: its short name, and what it is."""

    name: str
    meaning: str


SPLITS = {
    "stratified": Split(
        "tested on patients that it has not seen",
        "Patients were dealt out so that classes keep their shares; a patient stands on one side. "
        "Where patients are unknown, a recording does, and identical recordings stand together.",
    ),
    "published": Split(
        "tested on the publisher's own test part",
        "The test part is the publisher's; the rest was dealt to training and validation.",
    ),
    "ds1_ds2": Split(
        "tested on the patients of DS2 (de Chazal)",
        "The division of de Chazal, as most honest work on these data has it: the recordings of "
        "DS1 are for training and validation, those of DS2 for the test. Recordings with a "
        "pacemaker are left out. Validation has whole patients of DS1.",
    ),
    "intra_patient": Split(
        "tested on other beats of patients that it knows",
        "Beats were dealt out at random, so that nearly every patient stands on all sides. This "
        "is for comparison with published work only.",
    ),
}


def tested(files: Files) -> str:
    """On whom a run was tested, in a few words."""
    if files.run.split == "stratified" and files.scores["counts"]["patients"].value is None:
        return "tested on recordings that it has not seen, of people who are not known"
    return SPLITS[files.run.split].name


def split(files: Files) -> Section:
    """How the data were divided, and whether the test part may be known to the model."""
    own = SPLITS[files.run.split]
    blocks: list[Block] = [Paragraph((own.meaning,))]
    stands = files.scores.get("split", "note")
    if stands is not None:
        blocks.append(Paragraph(text("Measured on the parts themselves: {}", stands.text())))
    elif files.scores["counts"]["patients"].value is None:
        blocks.append(
            Paragraph(
                (
                    "Patients are unknown: recordings of one person may stand in training and "
                    "test, and nobody can tell. The intervals treat recordings as independent, "
                    "and may be too narrow.",
                )
            )
        )
    elif files.segments is not None:
        blocks.append(_shared(files))
    facts: list[tuple[Text, Text]] = [(("Method",), (files.params["split.method"].text(),))]
    facts += [
        ((name,), (files.params[f"split.{key}"].number(),))
        for key, name in KNOBS.items()
        if f"split.{key}" in files.params and not (files.run.split == "ds1_ds2" and "fold" in key)
    ]
    if files.readings is not None:
        facts.append(
            (
                ("Published models scored on this very test part",),
                text("{}: the more there are, the more the best of them flatters", files.readings),
            )
        )
    return Section(
        "Split and leakage",
        [
            *blocks,
            Facts(facts),
            Paragraph(
                (
                    "Normalisation, class weights, oversampling, the choice of the epoch, "
                    "temperature and thresholds were fitted on training or validation alone. The "
                    "test part is opened by the stages evaluate and robustness, for no choice.",
                )
            ),
        ],
    )


def _shared(files: Files) -> Block:
    """Whether a patient stands on both sides, counted from the split itself."""
    table = files.segments
    assert table is not None
    tested, learnt = (
        {row["patient_id"] for row in table.rows if row["subset"] in subsets}
        for subsets in (("test",), ("train", "val"))
    )
    if (tested & learnt) - {""}:
        words = "validation too; these scores flatter."
        return Paragraph(
            (f"Counted: patients of the test part stand in training or {words}",), "stamp"
        )
    if "" in tested | learnt:
        words = "Some recordings name no patient: whether those are of the same people is not known"
        return Paragraph(
            (
                "Counted: no known patient of the test part stands in training or validation. "
                f"{words}.",
            )
        )
    return Paragraph(("Counted: no patient of the test part stands in training or validation.",))
