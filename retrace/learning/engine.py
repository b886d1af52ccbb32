"""PyTorch Lightning, imported once torchvision is ready for it: take it from here.

Lightning imports torchvision, which needs help beside a CPU build of PyTorch (`retrace.vision`).
"""

import logging
import warnings

from retrace.vision import import_torchvision

import_torchvision()

from lightning import LightningDataModule, LightningModule, Trainer  # noqa: E402
from lightning import __version__ as lightning_version  # noqa: E402
from lightning.fabric.utilities.exceptions import MisconfigurationException  # noqa: E402
from lightning.pytorch.callbacks import Callback, Checkpoint  # noqa: E402

# Lightning advertises a service, and says on every run what nobody can act on.
for _name in ("lightning.pytorch", "lightning.fabric"):
    logging.getLogger(_name).setLevel(logging.WARNING)
for _message in (".*many workers.*", ".*LeafSpec.*", ".*litlogger.*", ".*log_every_n_steps.*"):
    warnings.filterwarnings("ignore", message=_message)

__all__ = [
    "Callback",
    "Checkpoint",
    "LightningDataModule",
    "LightningModule",
    "MisconfigurationException",
    "Trainer",
    "lightning_version",
]
