"""The runs that can be compared, by name: published, in the workspace, or in Git alone."""

import csv
import io
from functools import cached_property
from pathlib import Path

from retrace.errors import InputError
from retrace.files import read_csv
from retrace.runs import answers, experiments, recipes, run
from retrace.runs.answers import PREDICTIONS, RECORDS, Answers
from retrace.runs.cache import Cache
from retrace.runs.run import WORKSPACE, Run
from retrace.runs.words import meant


class Runs:
    """What a repository has of them."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._cache = Cache(root)

    @cached_property
    def experiments(self) -> dict[str, str]:
        """DVC's finished experiments, each with its commit."""
        return experiments.commits(self._root)

    def named(self, name: str) -> Run:
        """A recipe's published run, the workspace's, an experiment's, or that of a Git revision.

        Raises InputError where there is none of this name, or it is not finished.
        """
        if name == WORKSPACE:
            return run.workspace(self._root)
        if name in (known := recipes.names(self._root)):
            return run.published(self._root, name)
        if name in self.experiments:
            return self.experiment(name)
        if commit := experiments.commit(self._root, name):
            return experiments.at(self._root, name, commit, self._cache)
        for task in experiments.unfinished(self._root):
            if task.name == name:
                raise InputError(f"experiment {name}: {task.state}; only a finished one has scores")
        raise InputError(
            f"run {name!r}: unknown; {meant(name, [*known, *self.experiments, WORKSPACE])}"
        )

    def experiment(self, name: str) -> Run:
        """The run of an experiment; InputError where it cannot be told from others by its name."""
        if name in (*recipes.names(self._root), WORKSPACE):
            raise InputError(
                f"experiment {name}: has a recipe's name: dvc exp rename gives another"
            )
        return experiments.at(self._root, name, self.experiments[name], self._cache)

    def all(self, *, published: bool) -> tuple[list[Run], list[str]]:
        """Every published run and, unless those are all that is wanted, the workspace and the
        experiments; and a sentence for each that has no figures."""
        runs = [run.published(self._root, name) for name in run.all_published(self._root)]
        if published:
            return runs, []
        notes = []
        try:
            runs.append(run.workspace(self._root))
        except InputError as error:
            if not runs and not self.experiments:
                raise
            notes.append(f"The workspace is left out: {error}")
        for name in sorted(self.experiments):
            try:
                runs.append(self.experiment(name))
            except InputError as error:
                notes.append(f"Left out: {error}")
        waiting = experiments.unfinished(self._root)
        return runs, notes + [
            f"Experiment {task.name}: {task.state}, no figures" for task in waiting
        ]

    def answers(self, one: Run) -> Answers:
        """What a run answered; InputError, which does not name it, where that is not at hand."""
        if not (classes := list(one.scores["classes"])):
            raise InputError(
                "DVC's cache has no scores.json of it, so that metrics/test.json is all there is: "
                "dvc exp apply and dvc repro make it again"
            )
        if run.is_published(self._root, one.name):
            path = self._root / "recipes" / one.name / answers.FILE
            if not path.is_file():
                raise InputError(
                    f"published without {answers.FILE}: rebuild it and publish it again"
                )
            return answers.read((list(row.values()) for row in read_csv(path)), classes)
        tables = [self._table(one, path) for path in (PREDICTIONS, RECORDS)]
        return answers.read(answers.count(*tables), classes)

    def _table(self, one: Run, path: str) -> list[dict[str, str]]:
        if one.name == WORKSPACE:
            return read_csv(self._root / path)
        if (content := self._cache.read(one.lock, path)) is None:
            raise InputError(
                f"DVC's cache has no {path} of it: dvc exp apply and dvc repro make it again"
            )
        return list(csv.DictReader(io.StringIO(content.decode("utf-8"))))
