"""What happened in a sweep, a line for each event: what a sweep that was broken off goes on from.

Lines are only ever added, so that a process killed at any moment leaves all but the last of them
whole.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from retrace.learning.sweep.results import State, Trial
from retrace.learning.sweep.spaces import Point
from retrace.learning.tracking import Row

Event = dict[str, Any]
ENDED: tuple[State, ...] = ("stopped", "finished", "failed")


class Journal:
    """The trials of a sweep so far, on disk and in memory.

    events: all of them in order. points: what was drawn for each trial, by its number.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._trials: dict[int, Trial] = {}
        self.events: list[Event] = []
        self.points: dict[int, Point] = {}
        if path.is_file():
            self._read()

    @property
    def trials(self) -> list[Trial]:
        """In the order of their numbers."""
        return list(self._trials.values())

    def trial(self, number: int) -> Trial:
        return self._trials[number]

    def proposed(self, number: int, point: Point, values: Mapping[str, Any]) -> None:
        """A new trial."""
        self._tell({"trial": number, "point": point, "values": dict(values)})

    def trained(self, number: int, rows: list[Row], kept: int, seconds: float) -> None:
        """Further epochs of a trial; kept: the one, from 1, whose weights are the best so far."""
        self._tell({"trial": number, "rows": rows, "kept": kept, "seconds": seconds})

    def running(self, number: int) -> None:
        """It is being trained; not written down, since it does not outlast the process."""
        self._trials[number] = replace(self._trials[number], state="running")

    def ended(self, number: int, state: State, why: str = "") -> None:
        """It was stopped, finished or failed."""
        self._tell({"trial": number, "state": state, "why": why})

    def _tell(self, event: Event) -> None:
        with self._path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(event, ensure_ascii=False) + "\n")
        self._take(event)

    def _take(self, event: Event) -> None:
        number = int(event["trial"])
        self.events.append(event)
        if "point" in event:
            self.points[number] = event["point"]
            self._trials[number] = Trial(number, "waiting", event["values"])
            return
        trial = self._trials[number]
        if "rows" in event:
            rows = (*trial.rows, *event["rows"])
            trial = replace(trial, rows=rows, kept=event["kept"], seconds=event["seconds"])
        else:
            trial = replace(trial, state=event["state"], why=event["why"])
        self._trials[number] = trial

    def _read(self) -> None:
        text = self._path.read_text(encoding="utf-8")
        whole = text[: text.rfind("\n") + 1]
        for line in whole.splitlines():
            self._take(json.loads(line))
        if whole != text:  # by a process that was killed
            with self._path.open("r+b") as stream:
                stream.truncate(len(whole.encode()))
