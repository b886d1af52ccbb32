"""What a sweep shows while it runs and when it is over: of invented trials, as ASHA leaves them."""

import io
import json
import math
import random
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from retrace.files import read_csv
from retrace.learning.sweep import cells
from retrace.learning.sweep.axis import axis
from retrace.learning.sweep.board import Board, drawn
from retrace.learning.sweep.importance import importances
from retrace.learning.sweep.page import write
from retrace.learning.sweep.repeat import command
from retrace.learning.sweep.results import Sweep, Trial
from retrace.learning.sweep.summary import summary
from tests.invented_trials import LOG, Values, sweep, trials


def board(of: Sweep, width: int, height: int) -> list[str]:
    """The live table as a terminal of that size shows it."""
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(drawn(of, width, height))
    return said(console)


def said(console: Console) -> list[str]:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def test_the_live_table_of_150_trials_fits_a_small_terminal_and_a_large_one() -> None:
    ended = trials(144)
    running = [replace(trial, state="running") for trial in trials(150)[144:]]
    whole = sweep([*ended, *(replace(trial, rows=trial.rows[:2]) for trial in running)])
    first = cells.winner(whole)
    assert first is not None

    for width, height in ((80, 24), (160, 45)):
        lines = board(whole, width, height)
        assert len(lines) < height
        assert max(map(len, lines)) <= width
        body = lines[3:]
        assert body[0].split()[:2] == [str(first.number), first.state]
        assert sum("running" in line for line in body) == 6

    assert "model.features" not in board(whole, 80, 24)[2]
    assert "model.features" in board(whole, 160, 45)[2]


def test_the_live_table_shows_lists_and_why_a_trial_failed() -> None:
    one, two = trials(2)
    failed = replace(two, number=2, state="failed", rows=(), why="no memory: lower batch_size")
    shown = "\n".join(
        board(sweep([replace(one, values={"model.features": [32, 64]}), failed]), 120, 24)
    )

    assert "[32, 64]" in shown
    assert "trial 2 failed: no memory: lower batch_size" in shown


def test_the_table_of_a_sweep_that_was_broken_off_stays_in_the_terminal() -> None:
    def left(error: type[BaseException] | None) -> str:
        console = Console(file=io.StringIO(), width=80, height=24, force_terminal=True)
        with suppress(KeyboardInterrupt), Board(console) as live:
            live.show(sweep(trials(3)))
            if error is not None:
                raise error
        # A terminal is told to go up and erase what is to vanish.
        return "\n".join(said(console)).rpartition("best score")[2]

    erase = "\x1b[2K"
    assert left(None).count(erase) >= 5
    assert erase not in left(KeyboardInterrupt)


def test_without_a_terminal_each_ended_trial_is_one_line() -> None:
    console = Console(file=io.StringIO(), width=40)
    whole = sweep(trials(6))
    with Board(console) as plain:
        plain.show(sweep([*whole.trials[:3], replace(whole.trials[3], state="running")]))
        plain.show(whole)
    lines = said(console)

    assert [line.split()[1] for line in lines] == ["1", "2", "3", "4", "5", "6"]
    assert f"lr {whole.trials[0].values['lr']:.3g}" in lines[0]


def test_an_option_that_two_models_share_is_one_column() -> None:
    found = trials(40)
    labels = [column.label for column in cells.varied(found)]
    hidden = cells.varied(found)[labels.index("hidden")]
    both = replace(found[0], values={"models.gru.hidden": 8, "models.lstm.hidden": 16})

    assert all(hidden.known(trial) for trial in found)
    apart = [column.label for column in cells.varied([both, found[1]])]
    assert {"models.gru.hidden", "models.lstm.hidden"} <= set(apart)


def test_a_list_of_many_forms_is_drawn_by_its_length_and_parts() -> None:
    def channels(rng: random.Random) -> Values:
        drawn = [rng.choice([16, 32, 64]) for _ in range(rng.randrange(2, 5))]
        return {"lr": 10 ** rng.uniform(-4, -2), "models.cnn4.channels": drawn}

    found = trials(60, channels)
    axes = {column.label: column for column in cells.axes(found)}

    assert list(axes) == ["lr", "channels length", *(f"channels {n}" for n in range(1, 5))]
    for trial in found:
        drawn = trial.values["models.cnn4.channels"]
        assert axes["channels length"].value(trial) == len(drawn)
        assert axes["channels 4"].known(trial) == (len(drawn) == 4)
        assert axes["channels 2"].value(trial) == drawn[1]


def test_an_axis_is_logarithmic_linear_or_in_steps() -> None:
    rates = [1e-4, 3e-4, 2e-3, 1e-2]

    assert axis(rates, log=True).place(1e-3) == pytest.approx(0.5)
    assert axis(rates).place(0.00505) == pytest.approx(0.5)
    steps = axis([250, None, 125, 125, None, 250])
    assert [text for _, text in steps.ticks] == ["null", "125", "250"]
    assert steps.place(125) == pytest.approx(0.5)
    assert abs(steps.place(125, number=77) - 0.5) < 0.1  # beside the others of its step


def test_what_decides_the_score_is_rated_most_important() -> None:
    rated = importances(sweep(trials(80)), LOG)

    assert isinstance(rated, dict)
    assert next(iter(rated)) == "lr"
    assert rated["lr"] > 0.5
    assert sum(rated.values()) == pytest.approx(1)


def test_what_cannot_be_rated_is_said_in_a_sentence() -> None:
    equal = [replace(trial, rows=[{"val_f1_macro": 0.5}]) for trial in trials(30)]
    alone = trials(30, lambda rng: {"lr": 10 ** rng.uniform(-4, -2)})

    assert "5 trials with a score, too few" in importances(sweep(trials(5)))
    assert "score alike" in importances(sweep(equal))
    assert "fewer than two params" in importances(sweep(alone))


def test_the_best_trial_is_none_that_failed() -> None:
    found = trials(9)
    best = cells.winner(sweep(found))
    assert best is not None
    found[best.number - 1] = replace(best, state="failed", why="the loss is not a number")

    assert cells.winner(sweep(found)) is sweep(found).ranked()[1]


def test_the_summary_counts_what_was_stopped_when_and_what_that_saved() -> None:
    stopped = [t for t in trials(60) if t.state == "stopped" and len(t.rows) == 3][:4]
    finished = next(t for t in trials(60) if t.state == "finished")
    failed = [
        Trial(number, "failed", {"lr": 1.0}, why="the loss is not a number") for number in (98, 99)
    ]
    text = summary(sweep([*stopped, finished, *failed, Trial(100, "waiting", {"lr": 1.0})]))

    assert "4 stopped early (4 after epoch 3); 1 finished; 2 failed; 1 waiting" in text
    assert "trials 98, 99 failed: the loss is not a number" in text
    assert "42 epochs of at most 210 (20 %)" in text
    assert text.splitlines()[-1] == command(sweep([]), finished)


def test_the_folder_holds_tables_figures_and_a_page_and_what_lay_there(tmp_path: Path) -> None:
    found = trials(30)
    rows = [
        *found[4].rows,
        {"train_loss": math.nan, "val_loss": math.inf, "val_f1_macro": math.nan},
    ]
    found[4] = replace(found[4], rows=rows)
    whole = sweep(found)
    (tmp_path / "data").mkdir()
    write(tmp_path, whole, log=LOG)
    first = {path.name: path.read_bytes() for path in tmp_path.glob("*.*")}
    page = (tmp_path / "README.md").read_text()

    assert (tmp_path / "data").is_dir()
    assert sorted(first) == sorted(
        ["README.md", "importance.png", "learning_curves.png", "parallel.png", "scatter.png",
         "sweep.json", "trials.csv"]
    )  # fmt: skip
    assert all(f"({name})" in page for name in first if name.endswith(".png"))
    best = cells.winner(whole)
    assert best is not None
    assert command(whole, best) in page

    tree = json.loads(first["sweep.json"])
    assert tree["best"] == best.number
    assert tree["trials"][4]["rows"][-1]["val_loss"] is None
    assert [trial["values"] for trial in tree["trials"]] == [trial.values for trial in found]
    table = read_csv(tmp_path / "trials.csv")
    assert [float(row["lr"]) for row in table] == [trial.values["lr"] for trial in found]
    other = "lstm" if "models.gru.hidden" in found[0].values else "gru"
    assert table[0][f"models.{other}.hidden"] == ""

    write(tmp_path, whole, log=LOG)
    assert {path.name: path.read_bytes() for path in tmp_path.glob("*.*")} == first


def test_a_figure_for_which_there_are_too_few_trials_does_not_stay(tmp_path: Path) -> None:
    write(tmp_path, sweep(trials(25)), log=LOG)
    write(tmp_path, sweep(trials(5)), log=LOG)

    assert not (tmp_path / "importance.png").exists()
    assert "No importances: 5 trials with a score, too few" in (tmp_path / "README.md").read_text()


@pytest.mark.parametrize(
    "found",
    [
        pytest.param([], id="none"),
        pytest.param([Trial(1, "waiting", {"lr": 1e-3})], id="waiting"),
        pytest.param([Trial(1, "failed", {"lr": 1.0}, why="no memory")], id="failed"),
        pytest.param(trials(1), id="one"),
        pytest.param(trials(2), id="two"),
        pytest.param([replace(t, rows=t.rows[:1]) for t in trials(4)], id="one epoch"),
        pytest.param(
            [replace(t, rows=[{"val_f1_macro": 0.5}]) for t in trials(12)], id="equal scores"
        ),
    ],
)
def test_few_trials_are_shown_as_well(found: list[Trial], tmp_path: Path) -> None:
    write(tmp_path, sweep(found), log=LOG)

    assert (tmp_path / "learning_curves.png").exists() == any(trial.rows for trial in found)
    assert ("dvc exp run" in summary(sweep(found))) == any(trial.rows for trial in found)
    assert board(sweep(found), 80, 24)
