"""How a model was made: its params, its training, what that took, and how to have it again."""

from shlex import quote

from retrace.runs import recipes
from retrace.runs.report.document import (
    Block,
    Commands,
    Facts,
    Grid,
    Heading,
    Paragraph,
    Picture,
    Section,
)
from retrace.runs.report.files import Files
from retrace.runs.report.values import Text, Value, text
from retrace.runs.run import WORKSPACE

TREES = ("random_forest", "xgboost")  # they know no optimiser and no epochs in the usual sense
UNKNOWN = Paragraph(("Not known here: the training was elsewhere, and a pull does not bring it.",))
OUTS = (
    "data/raw",
    "data/filtered",
    "data/waveforms",
    "data/scalograms",
    "data/split.csv",
    "models/checkpoint",
    "models/model.onnx",
    "plots/test",
)


def model(files: Files) -> Section:
    """What kind of model it is, and every knob of it and of its training."""
    params, name = files.params, files.run.params["model.name"]
    facts: list[tuple[Text, Text]] = [
        (("Model",), (params["model.name"].text(),)),
        (("Takes",), (params["model.input"].text(),)),
        (("Beside the segment",), (params["model.features"].text(),)),
        (("Windows to one answer",), (params["model.aggregate"].text(),)),
    ]
    if files.cost is not None:
        facts.append((("Parameters",), (files.cost["parameters"].count(),)))
    knobs = {key: params[key] for key in (*_root_keys(name), "seed", "threads")}
    sections = (f"models.{name}.", "train.imbalance" if name in TREES else "train.")
    knobs |= {key: node for key, node in params.items() if key.startswith(sections)}
    rows: list[list[Text]] = [[("param",), ("value",)]]
    for key, node in knobs.items():
        rows.append([(Value(key, node.source, "param"),), (node.text(),)])
    return Section(
        "Model",
        [
            Facts(facts),
            Heading(("Params of the model and of its training",)),
            Grid(rows),
            Paragraph(
                (
                    "All others stand in dvc.lock. Its files do not say how these values were "
                    "found, nor what was tried before.",
                ),
                "note",
            ),
        ],
    )


def _root_keys(model: str) -> tuple[str, ...]:
    """The keys at the root of params.yaml that mean something to a model."""
    if model not in TREES:
        return ("lr", "weight_decay", "batch_size", "epochs")
    return ("lr", "epochs") if model == "xgboost" else ()


def training(files: Files) -> Section:
    """How the training went."""
    facts: list[tuple[Text, Text]] = []
    if (end := files.training) is not None:
        facts += [
            (("Epochs",), (end["epochs"].count(),)),
            (("Best epoch, which was kept",), (end["best_epoch"].count(),)),
        ]
        for key, node in end.items():
            if key.startswith("val_") and node.value is not None:
                facts.append((text("{} at that epoch", end.name(key)), (node.decimal(),)))
    if (curves := files.read("plots/train/curves.png")) is not None:
        alt = "Learning curves: loss and validation score by epoch, the kept epoch marked"
        picture: list[Block] = [Picture(*curves, alt)]
    else:
        picture = [Paragraph(("The figure is not at hand: dvc pull, or dvc repro, brings it.",))]
    return Section("Learning curves", [Facts(facts), *picture])


def cost(files: Files) -> Section:
    """What the training took, and where it was."""
    if files.cost is None or files.environment is None:
        return Section("Cost", [UNKNOWN])
    own = files.cost
    facts: list[tuple[Text, Text]] = [
        (("Training",), (own["training_seconds"].duration(),)),
        (("Segments in it",), (own["train_segments"].count(),)),
        (
            ("Prediction",),
            text("{} ms a segment, one at a time", own["prediction_ms_per_segment"].decimal(1)),
        ),
    ]
    if (out := files.out("models/model.onnx")) is not None:
        facts.append((("As ONNX",), (out["size"].megabytes(),)))
    facts += [((key.replace("_", " "),), (node.text(),)) for key, node in files.environment.items()]
    words = ("Energy was not measured.",)
    return Section("Cost", [Facts(facts), Paragraph(words, "note")])


def rebuild(files: Files) -> Section:
    """The commands and the hashes by which it can be had again."""
    outs = [(path, files.out(path)) for path in OUTS]
    rows: list[list[Text]] = [[("output",), ("size",), ("MD5 in dvc.lock",)]]
    rows += [
        [(path,), (out["size"].megabytes(),), (out["md5"].text("hash"),)]
        for path, out in outs
        if out is not None
    ]
    facts: list[tuple[Text, Text]] = []
    if files.cost is not None:
        facts.append((("SHA-256 of the weights",), (files.cost["weights_sha256"].text("hash"),)))
    return Section(
        "Rebuild it",
        [
            Commands(_commands(files)),
            Paragraph(
                (
                    "The data stages write the same bytes on every machine of this architecture. "
                    "Training does so on one machine with the same number of threads; elsewhere "
                    "the scores agree within their intervals, and retrace verify says whether they "
                    "do.",
                )
            ),
            *([Facts(facts)] if facts else []),
            Grid(rows),
        ],
    )


def _commands(files: Files) -> list[Text]:
    name = files.title
    if files.published:
        lines = [text("retrace recipe {}", name), ("dvc repro",), text("retrace verify {}", name)]
        trained = text("retrace recipe {} --trained    # with its trained model", name)
        return lines if files.name == recipes.DEFAULT else [*lines, trained]
    first: Text = ("git checkout COMMIT    # the one with this dvc.lock",)
    if files.name != WORKSPACE:
        # Whoever made an experiment chose its name, and this line is pasted into a shell.
        first = text("dvc exp apply {}", Value(quote(name.shown), name.source, name.kind))
    return [first, ("dvc repro",), ("git diff dvc.lock",)]


def sources(files: Files) -> Section:
    """Every file that a value of the report was read from."""
    rows: list[list[Text]] = [[("file",), ("SHA-256",)]]
    for name, digest in sorted(files.used.items()):
        rows.append([(Value(name, name, "path"),), (Value(digest, name, "sha256"),)])
    return Section(
        "Files behind this report",
        [
            Paragraph(
                (
                    "Every number above was read from one of these; in the HTML each carries its "
                    "file and its place there. Nothing was typed in.",
                )
            ),
            Grid(rows),
        ],
    )
