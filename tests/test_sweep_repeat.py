"""The line that repeats a trial: DVC reads every value as the sweep meant it."""

import os
import shlex
import subprocess
from pathlib import Path
from typing import Any

import yaml
from hypothesis import given
from hypothesis import strategies as st

from retrace.learning.sweep.repeat import command, override
from retrace.learning.sweep.results import Trial
from tests.invented_trials import EPOCHS, sweep
from tests.scratch import ENVIRONMENT

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    st.text().filter(lambda text: "${" not in text),
    st.sampled_from(
        ["null", "True", "1e-4", "it's", "\\", "a\\'", "MLII|V5", "a:b", "choice(1,2)"]
    ),
)


@given(st.one_of(scalars, st.lists(scalars)))
def test_values_come_back_from_the_parser_that_dvc_uses(value: Any) -> None:
    from dvc.utils.cli_parse import to_path_overrides
    from dvc.utils.hydra import to_hydra_overrides

    (word,) = shlex.split(shlex.quote(f"models.gru.hidden={override(value)}"))
    (parsed,) = to_hydra_overrides(to_path_overrides([word])["params.yaml"])

    assert parsed.key_or_group == "models.gru.hidden"
    assert not parsed.is_sweep_override()
    assert repr(parsed.value()) == repr(value)  # 1, 1.0 and True are not the same


def test_dvc_runs_the_line_of_a_trial(tmp_path: Path) -> None:
    chosen = {
        "lr": 4.2853708e-4,
        "segment.fs": None,
        "model.features": ["rr_previous", "it's, [so]: é"],
        "train.compile": True,
    }
    before = {"epochs": 1, "threads": 2, "train": {"score": "f1", "compile": False}}
    before |= {"lr": 0.1, "segment": {"fs": 1}, "model": {"features": []}}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(before))
    stage = {"cmd": "cp params.yaml seen.yaml", "deps": ["params.yaml"], "outs": ["seen.yaml"]}
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"train": stage}}))
    line = command(sweep([]), Trial(17, "finished", chosen))
    start = "git init -q && dvc init -q && git add . && git commit -qm start"
    subprocess.run(
        f"{start} && {line}",
        shell=True,
        check=True,
        cwd=tmp_path,
        env=os.environ | ENVIRONMENT,
        stdout=subprocess.DEVNULL,
    )
    seen = yaml.safe_load((tmp_path / "seen.yaml").read_text())

    assert seen["lr"] == 4.2853708e-4
    assert seen["epochs"] == EPOCHS
    assert seen["train"] == {"score": "f1_macro", "compile": True}
    assert seen["segment"] == {"fs": None}
    assert seen["model"] == {"features": ["rr_previous", "it's, [so]: é"]}
    listed = subprocess.run(["git", "for-each-ref"], cwd=tmp_path, capture_output=True, text=True)
    assert "/gru-1-17" in listed.stdout
