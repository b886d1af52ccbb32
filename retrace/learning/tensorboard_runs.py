"""A training in TensorBoard: a folder of event files."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from retrace.learning.tracking import Row

if TYPE_CHECKING:
    from torch.utils.tensorboard.writer import SummaryWriter


# Sections whose params the page HPARAMS leaves to the page TEXT: all before training, and after.
UNSWEPT = (
    *("synthetic", "datasets", "fetch", "bandpass", "segment", "cwt", "split"),
    *("evaluate", "robustness"),
)


class TensorBoardRun:
    """One `trackers.Run`; `folder` is its own, and what it held of an earlier training is removed:
    the epochs before a break are told once more."""

    id: str | None = None
    variable = "RETRACE_TENSORBOARD"
    remedy = "name a folder that is yours to write"

    def __init__(self, folder: Path, params: Mapping[str, object]) -> None:
        self.where = f"TensorBoard's folder {folder}"
        self._folder, self._params = folder, params
        self._writer: SummaryWriter

    def begin(self) -> None:
        from torch.utils.tensorboard.writer import SummaryWriter

        for old in self._folder.glob("events.out.tfevents.*"):
            old.unlink()
        self._writer = SummaryWriter(str(self._folder))
        rows = [f"| {key} | {value} |" for key, value in self._params.items()]
        self._writer.add_text("params", "\n".join(["| param | value |", "|---|---|", *rows]))

    def epoch(self, number: int, row: Row) -> None:
        for name, value in row.items():
            self._writer.add_scalar(f"epoch/{name}", value, number)
        self._writer.flush()

    def result(self, values: Mapping[str, float], tags: Mapping[str, str]) -> None:
        """Beside the params on the page HPARAMS: a table of all runs."""
        from torch.utils.tensorboard.summary import hparams

        found = {f"result/{name}": value for name, value in values.items()}
        swept = {
            key: value if isinstance(value, (bool, int, float)) else str(value)
            for key, value in self._params.items()
            if key.split(".")[0] not in UNSWEPT
        }
        for summary in hparams(swept, found):
            self._writer._get_file_writer().add_summary(summary)
        for name, value in found.items():
            self._writer.add_scalar(name, value, 0)

    def artifact(self, path: Path, folder: str) -> None:
        from matplotlib.image import imread

        for image in sorted(path.rglob("*.png")) if path.is_dir() else [path]:
            if image.suffix == ".png":
                name = f"{folder or 'result'}/{image.stem}"
                self._writer.add_image(name, imread(image)[:, :, :3], dataformats="HWC")

    def model(self, onnx: Path, example: Mapping[str, NDArray[np.float32]]) -> None:
        """TensorBoard shows no ONNX."""

    def end(self, status: Literal["FINISHED", "FAILED", "KILLED"], why: str) -> None:
        if why:
            self._writer.add_text("failed", why)
        self._writer.close()
