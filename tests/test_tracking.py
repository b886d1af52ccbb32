"""Who listens to a training, and what DVCLive leaves of it."""

import os
from pathlib import Path
from typing import Any

import pytest

from retrace.learning.tracking import DvcLiveCurves, History, Row
from retrace.learning.training import fit, history_of
from tests.train_small import load, small_beats, small_params, small_segments

XGBOOST = {
    "model.name": "xgboost",
    "model.input": "waveforms",
    "segment.anchor": "beat",
    "model.aggregate": "none",
}


@pytest.mark.parametrize(
    ("make", "changes"), [(small_segments, {"epochs": 2}), (small_beats, XGBOOST | {"epochs": 3})]
)
def test_a_listener_is_told_of_every_epoch(tmp_path: Path, make: Any, changes: Any) -> None:
    make(tmp_path)
    params, told = small_params(tmp_path, changes), list[tuple[int, Row]]()
    history = history_of(params, tmp_path / "resume")

    fit(params, load(tmp_path), history, lambda number, row: told.append((number, row)))

    assert told == list(enumerate(history.rows, start=1))
    assert len(told) == changes["epochs"]


def test_after_a_break_a_listener_is_told_of_the_epochs_before_it_too(tmp_path: Path) -> None:
    small_segments(tmp_path)
    params, told = small_params(tmp_path, {"epochs": 3}), list[int]()

    def broken(number: int, row: Row) -> None:
        if number == 3:
            raise KeyboardInterrupt

    with pytest.raises(BaseException):  # noqa: B017 - Lightning turns it into SystemExit
        fit(params, load(tmp_path), history_of(params, tmp_path / "resume"), broken)
    fit(
        params,
        load(tmp_path),
        history_of(params, tmp_path / "resume"),
        lambda number, row: told.append(number),
    )

    assert told == [1, 2, 3]


def test_another_worker_may_remove_the_sign_that_all_of_a_queue_share(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The race between two workers: the file is there when DVCLive looks, and gone when it acts."""
    (tmp_path / ".dvc").mkdir()
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    history = History(tmp_path / "resume", "val_f1_macro", 1, 0)
    history.take([{"val_f1_macro": 0.5}], 0, 1.0)
    exists, raced = os.path.exists, list[str]()

    def gone(path: Any) -> bool:
        found = exists(path)
        if found and str(path).endswith("DVCLIVE_STEP_COMPLETED"):
            Path(path).unlink()
            raced.append(str(path))
        return found

    monkeypatch.setattr(os.path, "exists", gone)
    DvcLiveCurves(tmp_path / "curves", history).close()

    assert raced and (tmp_path / "curves/metrics.json").is_file()
