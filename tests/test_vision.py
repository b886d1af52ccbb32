"""torchvision and Lightning import beside any build of PyTorch (each case in a fresh process)."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent

# What torchvision meets beside another build of PyTorch than its own.
OPERATORS_DO_NOT_LOAD = """
import torch

def refuse(path):
    raise OSError(f"{path}: undefined symbol")

torch.ops.load_library = refuse
"""

# What the compiled library does when it loads.
OPERATORS_LOAD = """
import torch

library = torch.library.Library("torchvision", "FRAGMENT")
for name in ("nms", "qnms"):
    library.define(name + "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
"""


def run_python(code: str, *, path: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(path)!r})\n{code}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def test_torchvision_and_lightning_import_where_the_operators_do_not_load() -> None:
    plain = run_python(OPERATORS_DO_NOT_LOAD + "import torchvision")
    assert "operator torchvision::nms does not exist" in plain.stderr

    mended = run_python(
        OPERATORS_DO_NOT_LOAD
        + """
from retrace.vision import import_torchvision

torchvision = import_torchvision()
assert import_torchvision() is torchvision

import lightning
from torchvision.models import efficientnet_b0

print(tuple(efficientnet_b0(num_classes=4).eval()(torch.zeros(1, 3, 32, 32)).shape))
"""
    )
    assert mended.stdout.strip() == "(1, 4)", mended.stderr


def test_nothing_is_declared_where_the_operators_load() -> None:
    result = run_python(
        OPERATORS_LOAD
        + """
from retrace import vision

print(vision.import_torchvision().__name__, vision._declared)
"""
    )
    assert result.stdout.strip() == "torchvision []", result.stderr


def test_any_other_failure_is_passed_on(tmp_path: Path) -> None:
    package = tmp_path / "torchvision"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('out of memory')\n")
    result = run_python(
        "from retrace.vision import import_torchvision\nimport_torchvision()", path=tmp_path
    )
    assert result.stderr.rstrip().endswith("RuntimeError: out of memory")
