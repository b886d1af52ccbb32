"""`retrace report`: what a run is and what it scored, for people."""

from pathlib import Path

from retrace.errors import InputError
from retrace.files import new_file, new_folder
from retrace.runs import experiments, recipes, run
from retrace.runs.cache import Cache
from retrace.runs.report import division, making, material, pictures, scores
from retrace.runs.report.as_html import html
from retrace.runs.report.as_markdown import card
from retrace.runs.report.document import Document, Picture
from retrace.runs.report.files import Files
from retrace.runs.report.opening import lead, opening, use
from retrace.runs.report.tripod import tripod
from retrace.runs.run import WORKSPACE, Run

FOLDER = Path("runs/reports")  # below the repository; Git ignores runs/


def report(root: Path, name: str, folder: Path | None = None) -> list[Path]:
    """Write NAME.html, NAME.md and the figures of the latter, NAME/, into a folder.

    name: "workspace", a recipe whose run is published, or one of DVC's experiments. Returns the two
    pages. Raises InputError where there is no such run.
    """
    document = compose(Files(root, _find(root, name)))
    folder = folder if folder is not None else root / FOLDER
    pages = folder / f"{name}.html", folder / f"{name}.md"
    with new_folder(folder / name) as beside:
        for picture in figures(document):
            (beside / Path(picture.name).name).write_bytes(picture.content)
    for path, content in zip(pages, (html(document), card(document, name)), strict=True):
        with new_file(path) as part:
            part.write_text(content, encoding="utf-8")
    return list(pages)


def compose(files: Files) -> Document:
    """The report of a run."""
    sections = [
        use(files),
        material.data(files),
        division.split(files),
        scores.scores(files),
        pictures.confusion(files),
        pictures.calibration(files),
        pictures.robustness(files),
        pictures.examples(files),
        making.model(files),
        making.training(files),
        making.cost(files),
        making.rebuild(files),
        tripod(files),
    ]
    first, blocks = lead(files), opening(files)
    foot = ("Made by retrace report from the files of the run. It makes no diagnosis.",)
    # The list of files comes last, when all have been read.
    return Document((files.title,), first, blocks, [*sections, making.sources(files)], foot)


def figures(document: Document) -> list[Picture]:
    """Its figures, in order."""
    blocks = (block for section in document.sections for block in section.blocks)
    return [block for block in blocks if isinstance(block, Picture)]


def _find(root: Path, name: str) -> Run:
    if name == WORKSPACE:
        return run.workspace(root)
    if name in recipes.names(root):
        return run.published(root, name)
    found = experiments.commits(root)
    if name in found:
        return experiments.at(root, name, found[name], Cache(root))
    raise InputError(
        f"{name}: neither a recipe nor an experiment of DVC; a report is of a run: retrace recipe "
        "and dvc exp list --all show them, or leave the name away for the workspace"
    )
