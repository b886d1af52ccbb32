"""The parts of a sweep, each without Ray's processes: plan, journal, ASHA, searchers, data."""

import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import yaml

from retrace import cli, params
from retrace.errors import InputError
from retrace.learning.sweep import checks
from retrace.learning.sweep.halving import Halving
from retrace.learning.sweep.journal import Journal
from retrace.learning.sweep.plan import JOURNAL, Plan, alone
from retrace.learning.sweep.prepared import Prepared, own
from retrace.learning.sweep.searchers import SEARCHERS, Proposals
from retrace.learning.sweep.session import session
from tests.scratch import SMALL
from tests.sources import ROOT
from tests.sweeps import SPACE, begun, planned, repository


@pytest.fixture
def small(tmp_path: Path) -> Plan:
    return planned(repository(tmp_path), SPACE)


def test_a_sweep_of_a_name_that_is_there_is_refused(small: Plan) -> None:
    begun(small)
    (small.folder / JOURNAL).touch()

    with pytest.raises(InputError, match=r"add --resume to go on with it, or --name for another"):
        begun(small)
    begun(small, resume=True)


def test_going_on_with_what_never_began_is_refused(small: Plan) -> None:
    with pytest.raises(InputError, match="there is no sweep small to go on with"):
        begun(small, resume=True)


def test_a_start_that_tried_nothing_is_no_sweep(small: Plan) -> None:
    begun(small)

    begun(planned(small.root, SPACE, max_epochs=7))
    assert (small.folder / "params.yaml").read_bytes() == (small.root / "params.yaml").read_bytes()


def test_two_processes_do_not_share_a_sweep(small: Plan) -> None:
    refused = pytest.raises(InputError, match="another process works on this sweep")
    with alone(small), refused, alone(small):
        pass
    with alone(small):  # it was given back
        pass


def test_a_sweep_goes_on_as_it_began_or_not_at_all(small: Plan) -> None:
    begun(small)
    (small.folder / JOURNAL).touch()
    begun(planned(small.root, SPACE, samples=9), resume=True)  # more trials are as good

    with pytest.raises(InputError, match="max_epochs is 7, and was 6"):
        begun(planned(small.root, SPACE, max_epochs=7), resume=True)
    wider = SPACE | {"lr": {"loguniform": [1e-6, 1e-1]}}
    with pytest.raises(InputError, match=r"lr is .*, and was "):
        begun(planned(small.root, wider), resume=True)
    array = small.root / "data/waveforms/X.npy"
    np.save(array, np.load(array) * 2)
    with pytest.raises(InputError, match="the data or the code have changed"):
        begun(planned(small.root, SPACE), resume=True)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"samples": 0}, "--samples 0: expected 1 to"),
        ({"grace": 7}, "--grace 7: expected 1 to 6"),
        ({"reduction": 1.0}, "--reduction 1: expected more than 1"),
        ({"gpus": 2}, "--gpus 2: expected 0 to 1"),
        ({"score": "f2"}, "train.score: expected"),
        ({"name": "../mine"}, "--name ../mine: expected letters"),
    ],
)
def test_a_wrong_option_is_one_sentence(
    tmp_path: Path, options: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(InputError) as raised:
        planned(repository(tmp_path), SPACE, **{"name": "small"} | options)

    assert sentence in str(raised.value)


def test_data_that_are_not_there_are_one_sentence(tmp_path: Path) -> None:
    repository(tmp_path)
    (tmp_path / "data/split.csv").unlink()

    with pytest.raises(InputError, match=r"data/split\.csv: no such file; .* dvc repro cwt split"):
        planned(tmp_path, SPACE)


def test_an_address_that_does_not_answer_is_one_sentence_in_seconds() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{closed.getsockname()[1]}"
        refused = f"--address {address}: no cluster can be joined there"
        with pytest.raises(InputError, match=refused), session(address, False):
            pass
    with pytest.raises(InputError, match="must be HOST:PORT"), session("ray://here:1", False):
        pass


def test_the_command_says_what_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (repository(tmp_path) / "dvc.yaml").touch()
    monkeypatch.chdir(tmp_path)

    with pytest.raises(SystemExit) as ended:
        cli.main(["sweep", "rnn"])

    assert ended.value.code == 2
    assert "space 'rnn': there is no rnn.yaml" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_a_journal_that_was_cut_off_loses_its_last_line_alone(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    journal = Journal(path)
    journal.proposed(1, {"lr": 0.1}, {"lr": 0.1})
    journal.trained(1, [{"val_loss": 1.0}], 1, 2.0)
    with path.open("a", encoding="utf-8") as stream:
        stream.write('{"trial": 1, "rows": [{"val_lo')

    again = Journal(path)
    again.trained(1, [{"val_loss": 0.5}], 2, 4.0)

    (trial,) = Journal(path).trials
    assert trial.rows == ({"val_loss": 1.0}, {"val_loss": 0.5})
    assert (trial.kept, trial.seconds, trial.values) == (2, 4.0, {"lr": 0.1})


def _trained(path: Path, scores: dict[int, list[float]]) -> Journal:
    """Trials that were told epoch by epoch, one after the other."""
    journal = Journal(path)
    for number, values in scores.items():
        journal.proposed(number, {}, {})
        for epoch, value in enumerate(values, start=1):
            journal.trained(number, [{"val_f1_macro": value}], epoch, epoch)
    return journal


def _tell(halving: Halving, number: int, epoch: int, score: float) -> str:
    trial = SimpleNamespace(config={"number": number})
    halving.on_trial_add(None, trial)
    return halving.on_trial_result(None, trial, {"epoch": epoch, "score": score})


def test_bad_trials_are_stopped_also_after_a_break(tmp_path: Path) -> None:
    rising = [0.1, 0.2, 0.3, 0.4]
    journal = _trained(tmp_path / "a", {1: rising, 2: [0.5, 0.6, 0.7, 0.8], 3: rising})
    halving = Halving(journal, "f1_macro", max_epochs=9, grace=1, reduction=3)

    assert _tell(halving, 4, 1, 0.05) == "STOP"
    assert _tell(halving, 5, 1, 0.9) == "CONTINUE"
    assert _tell(halving, 5, 2, 0.9) == "CONTINUE"
    # Trial 2 had passed epoch 3 before the break; its next rung is at 9, its last epoch.
    assert _tell(halving, 2, 5, 0.8) == "CONTINUE"
    assert _tell(halving, 2, 9, 0.8) == "STOP"
    assert halving.stopped >= {4} and 2 not in halving.stopped


def test_a_trial_killed_as_it_was_stopped_is_stopped(tmp_path: Path) -> None:
    journal = _trained(tmp_path / "a", {1: [0.5], 2: [0.6], 3: [0.1]})
    Halving(journal, "f1_macro", max_epochs=9, grace=1, reduction=3)

    assert journal.trial(3).state == "stopped"
    assert journal.trial(2).state == "waiting"


def _proposals(plan: Plan, name: str, journal: Journal, count: int) -> list[dict[str, Any]]:
    """Values that a searcher proposes where a high rate is worth most."""
    searcher = Proposals(name, plan.space, journal, "f1_macro", seed=3)
    found = []
    for place in range(count):
        asked = searcher.suggest(str(place))
        assert asked is not None
        worth = 1 + float(np.log10(asked["values"]["lr"])) / 6
        journal.trained(asked["number"], [{"val_f1_macro": worth}], 1, 1.0)
        journal.ended(asked["number"], "finished")
        searcher.on_trial_complete(str(place), {"score": worth, "training_iteration": 1})
        found.append(asked)
    return found


@pytest.mark.parametrize("name", SEARCHERS)
def test_a_searcher_draws_the_same_from_the_same_seed(
    small: Plan, tmp_path: Path, name: str
) -> None:
    first, second = (
        _proposals(small, name, Journal(tmp_path / run), 8) for run in ("first", "second")
    )

    assert first == second
    assert len({asked["values"]["lr"] for asked in first}) == 8
    assert first[0]["values"].keys() >= {"epochs", "threads", "train.score", "lr"}


@pytest.mark.parametrize("name", ["optuna", "hyperopt"])
def test_a_searcher_learns_also_from_trials_before_a_break(
    small: Plan, tmp_path: Path, name: str
) -> None:
    path = tmp_path / "journal"
    _proposals(small, name, Journal(path), 30)
    later = _proposals(small, name, Journal(path), 10)  # as after a break

    rates = np.log10([asked["values"]["lr"] for asked in later])
    assert [asked["number"] for asked in later] == list(range(31, 41))
    assert np.mean(rates) > -3.0  # chance: -3.8


@pytest.mark.parametrize("name", SEARCHERS)
def test_what_was_not_finished_comes_first_and_is_the_same(
    small: Plan, tmp_path: Path, name: str
) -> None:
    path = tmp_path / "journal"
    journal = Journal(path)
    done = _proposals(small, name, journal, 2)
    begun_trial = Proposals(name, small.space, journal, "f1_macro", 3).suggest("a")
    number = journal.trials[-1].number
    journal.trained(number, [{"val_f1_macro": 0.1}], 1, 1.0)

    again = Proposals(name, small.space, Journal(path), "f1_macro", 3)
    asked = [again.suggest(str(place)) for place in range(2)]

    assert begun_trial and asked[0] == begun_trial | {"known": 1}
    assert [a["number"] for a in asked if a] == [number, number + 1]
    assert len(done) == 2


def _stages(root: Path, changes: dict[str, Any]) -> dict[str, Any]:
    """The data stages on small synthetic recordings, in `root`; returns the tree of params."""
    tree = checks.lay(yaml.safe_load((ROOT / "params.yaml").read_text()), SMALL | changes)
    root.mkdir()
    for name in ("retrace", "stages"):
        (root / name).symlink_to(ROOT / name)
    (root / "params.yaml").write_text(yaml.safe_dump(tree))
    for stage in ("fetch", "bandpass", "segment", "cwt", "split"):
        command = [sys.executable, "-m", f"stages.{stage}"]
        subprocess.run(command, cwd=root, check=True, capture_output=True)
    return tree


def _files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_other_signals_are_made_once_by_the_stages_and_elsewhere(tmp_path: Path) -> None:
    changes = {"bandpass.low": 1.0, "cwt.high": 24}
    root, theirs = tmp_path / "root", tmp_path / "theirs"
    tree, other = _stages(root, {}), _stages(theirs, changes)
    before = _files(root / "data")
    prepared = Prepared(root, tmp_path / "made", tree)

    found = prepared.files(other)
    made = _files(tmp_path / "made")
    expected = own(theirs, "scalograms")

    assert [path.read_bytes() for path in found] == [path.read_bytes() for path in expected]
    assert found.array.read_bytes() != own(root, "scalograms").array.read_bytes()
    assert prepared.files(tree) == own(root, "scalograms")
    # A model that takes waveforms shares what needs no scalogram.
    waveforms = prepared.files(checks.lay(other, {"model.input": "waveforms", "cwt.high": 30}))
    assert waveforms.table == found.table
    assert _files(tmp_path / "made") == made
    assert _files(root / "data") == before

    with pytest.raises(InputError, match=r"^cwt: "):
        prepared.files(checks.lay(tree, {"cwt.high": 1000}))
    split = root / "data/split.csv"
    split.write_text(
        split.read_text().replace("train", "?").replace("val", "train").replace("?", "val")
    )
    with pytest.raises(InputError, match="other recordings would be in train, val and test"):
        prepared.files(other)


def test_the_test_part_has_no_name_in_a_trial(small: Plan) -> None:
    segments = own(small.root, "waveforms").load(params.load(small.root / "params.yaml"))

    assert set(segments.subsets) == {"train", "val", ""}
    assert not len(segments.rows("test"))
