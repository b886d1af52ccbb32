"""Import torchvision where its compiled operators cannot be loaded.

torchvision ships compiled operators (non-maximum suppression for object detection) that are
linked against one build of PyTorch. The package index carries the CUDA build alone; beside a
CPU build of PyTorch its library cannot be loaded, and then `import torchvision` fails: it
attaches shape rules to `torchvision::nms` and `torchvision::qnms`, which nobody has declared.
Lightning imports torchvision through torchmetrics and fails with it.

Nothing here detects objects. Declaring the two schemas is enough for the import; calling either
operator still raises. Where the operators load, nothing is done.
"""

import importlib
import sys
from types import ModuleType

import torch

_SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
_declared: list[torch.library.Library] = []  # PyTorch forgets a schema with its Library


def import_torchvision() -> ModuleType:
    """Import torchvision, declaring the operators that a CPU build of PyTorch lacks.

    Call it before `import lightning` or `import torchmetrics`. Calling it again costs nothing.

    Returns:
        The `torchvision` package.

    Raises:
        ImportError: torchvision is not installed.
        RuntimeError: any other failure of the import, unchanged.
    """
    try:
        return importlib.import_module("torchvision")
    except RuntimeError as error:
        if "operator torchvision::nms does not exist" not in str(error):
            raise
    _purge("torchvision")  # what the failed import left behind would be taken for a whole one
    if not _declared:
        library = torch.library.Library("torchvision", "FRAGMENT")
        for name in ("nms", "qnms"):
            library.define(name + _SCHEMA)
        _declared.append(library)
    return importlib.import_module("torchvision")


def _purge(package: str) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == package]:
        del sys.modules[name]
