"""The line that repeats a trial as a DVC experiment: search proposes, DVC disposes."""

import re
import shlex
from typing import Any

from retrace.learning.sweep.results import Sweep, Trial

# What Hydra's grammar reads as the text it is; all other text is quoted.
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_MEANT_OTHERWISE = {"null", "true", "false", "inf", "nan"}


def command(sweep: Sweep, trial: Trial) -> str:
    """`dvc exp run` with every value that the sweep set, for a shell."""
    # What Git takes in a name, and no shell reads otherwise.
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", f"{sweep.name}-{trial.number}")
    words = ["dvc", "exp", "run", "-n", name]
    for key, value in {**sweep.fixed, **trial.values}.items():
        words += ["-S", f"{key}={override(value)}"]
    return shlex.join(words)


def override(value: Any) -> str:
    """A value of params.yaml in the grammar of Hydra's overrides, by which DVC reads -S.

    value: None, a bool, a number, text, or a list of such. Floats keep every digit. Text that
    holds ${ is an interpolation to Hydra: no param has it.
    https://hydra.cc/docs/advanced/override_grammar/basic/
    """
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, tuple)):
        return f"[{','.join(map(override, value))}]"
    if isinstance(value, str):
        return _text(value)
    return repr(value)


def _text(value: str) -> str:
    if _PLAIN.fullmatch(value) and value.lower() not in _MEANT_OTHERWISE:
        return value
    # Backslashes count only before a quote, the closing one too.
    quoted = re.sub(r"(\\*)('|\Z)", lambda found: 2 * found[1] + ("\\'" if found[2] else ""), value)
    return f"'{quoted}'"
