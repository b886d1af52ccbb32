"""The Lightning module: any network, its loss, its optimiser and its validation score."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from retrace.errors import InputError
from retrace.learning.balance import Loss
from retrace.learning.data import Segments
from retrace.learning.engine import LightningModule
from retrace.padding import real_samples
from retrace.params import Train
from retrace.scoring.calibration import softmax
from retrace.scoring.scores import aggregate, score


class InputScaling(nn.Module):
    """Standardise what enters the network, with statistics of the training part.

    Scalograms are taken as log10(magnitude + 10 uV), an ECG amplifier's noise floor, since
    their values span decades. The padding of waveforms (`retrace.padding`) stays at zero, by
    which a network knows it. The statistics are buffers: they travel with the weights.
    """

    _FLOOR = 0.01  # mV
    mean: Tensor
    deviation: Tensor

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self._log = len(shape) == 3  # (leads, scales, frames), not (leads, samples)
        kept = (1, *shape[:-1], 1)
        self.register_buffer("mean", torch.zeros(kept))
        self.register_buffer("deviation", torch.ones(kept))

    def _logarithm(self, segments: Tensor) -> Tensor:
        return torch.log10(segments + self._FLOOR) if self._log else segments

    def fit(self, X: NDArray[Any], rows: NDArray[np.int64]) -> None:
        """Mean and deviation of each lead (and scale) over the rows, the training part; padding
        does not count."""
        total = torch.zeros(self.mean.shape, dtype=torch.float64)
        square = torch.zeros_like(total)
        for start in range(0, len(rows), 256):
            block = torch.from_numpy(X[rows[start : start + 256]].astype(np.float32))
            values = self._logarithm(block).double()
            real = torch.ones_like(values) if self._log else real_samples(block)[:, None].double()
            length = real.sum(dim=-1, keepdim=True)
            values = values * real
            total += (values.sum(dim=-1, keepdim=True) / length).sum(dim=0, keepdim=True)
            square += ((values**2).sum(dim=-1, keepdim=True) / length).sum(dim=0, keepdim=True)
        mean = total / len(rows)
        self.mean.copy_(mean)
        self.deviation.copy_((square / len(rows) - mean**2).clamp(min=1e-12).sqrt())

    def forward(self, segments: Tensor) -> Tensor:
        scaled = (self._logarithm(segments) - self.mean) / self.deviation
        if self._log:
            return scaled
        return scaled.where(real_samples(segments)[:, None], 0.0)  # padding stays at zero


class FeatureLogits(nn.Module):
    """What features beside the segment say of the classes: a small network of their own.

    Its logits are added to those of the segment's network, whichever that is: the evidence of the
    rhythm and that of the shape.
    """

    _HIDDEN = 32
    mean: Tensor
    deviation: Tensor

    def __init__(self, n_features: int, n_classes: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(n_features))
        self.register_buffer("deviation", torch.ones(n_features))
        self.layers = nn.Sequential(
            nn.Linear(n_features, self._HIDDEN), nn.ReLU(), nn.Linear(self._HIDDEN, n_classes)
        )

    def fit(self, features: NDArray[np.float32]) -> None:
        """Mean and deviation of each feature over (n, k), the training part."""
        values = torch.from_numpy(features).double()
        self.mean.copy_(values.mean(dim=0))
        self.deviation.copy_(values.std(dim=0, unbiased=False).clamp(min=1e-6))

    def forward(self, features: Tensor) -> Tensor:
        logits: Tensor = self.layers((features - self.mean) / self.deviation)
        return logits


class Network(nn.Sequential):
    """The network as it is trained, kept and exported: input in mV, output logits.

    Its parts are the scaling, the model and, where features stand beside the segment, theirs.
    """

    def __init__(
        self, model: nn.Module, shape: tuple[int, ...], n_features: int, n_classes: int
    ) -> None:
        super().__init__(InputScaling(shape), model)
        if n_features:
            self.append(FeatureLogits(n_features, n_classes))

    def fit(self, segments: Segments) -> None:
        """Fit what is standardised before training, on the training part alone."""
        rows = segments.rows("train")
        scaling, *_, last = self
        assert isinstance(scaling, InputScaling)
        scaling.fit(segments.X, rows)
        if isinstance(last, FeatureLogits):
            last.fit(segments.features[rows])

    def forward(self, segments: Tensor, features: Tensor) -> Tensor:  # type: ignore[override]
        logits: Tensor = self[1](self[0](segments))
        return logits + self[2](features) if len(self) > 2 else logits


class Classifier(LightningModule):
    """Trains a network; its validation score is computed as the test score is, per record."""

    def __init__(
        self,
        network: nn.Module,
        loss: Loss,
        settings: Train,
        *,
        lr: float,
        weight_decay: float,
        epochs: int,
        seed: int,
        record_ids: list[str],
        classes: list[str],
        rule: str,
    ) -> None:
        super().__init__()
        self.network = network
        self._loss, self._settings = loss, settings
        self._lr, self._weight_decay, self._epochs, self._seed = lr, weight_decay, epochs, seed
        self._record_ids, self._classes, self._rule = record_ids, classes, rule
        self._seen: list[tuple[Tensor, Tensor, Tensor]] = []
        self._train_losses: list[Tensor] = []
        self.plateau = Plateau(settings.plateau_factor, settings.plateau_patience)
        self.epoch_scores: dict[str, float] = {}

    def forward(self, segments: Tensor, features: Tensor) -> Tensor:
        if segments.ndim == 4:
            segments = segments.contiguous(memory_format=torch.channels_last)
        logits: Tensor = self.network(segments, features)
        return logits

    def on_train_epoch_start(self) -> None:
        # Dropout and stochastic depth depend on (seed, epoch, device) alone, so that a resumed
        # training draws what an unbroken one would have drawn.
        torch.manual_seed(
            int(
                np.random.SeedSequence(
                    [self._seed, self.current_epoch, self.global_rank]
                ).generate_state(1, np.uint64)[0]
                >> 1
            )
        )
        self._train_losses.clear()

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        segments, features, labels, _ = batch
        loss = self._loss(self(segments, features), labels)
        self._train_losses.append(loss.detach())
        return loss

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        segments, features, labels, rows = batch
        self._seen.append((self(segments, features).float(), labels, rows))

    def on_validation_epoch_end(self) -> None:
        logits, labels, rows = (torch.cat(parts).cpu() for parts in zip(*self._seen, strict=True))
        self._seen.clear()
        if self.trainer.world_size > 1:  # each device saw its share, of unequal length
            shares: list[Any] = [None] * self.trainer.world_size
            torch.distributed.all_gather_object(shares, (logits, labels, rows))
            logits, labels, rows = (torch.cat(parts) for parts in zip(*shares, strict=True))
        loss = float(functional.cross_entropy(logits, labels))
        if not math.isfinite(loss):
            raise InputError(
                f"training diverged in epoch {self.current_epoch + 1}: validation loss {loss}; it "
                f"must stay finite: lower lr (now {self._lr:g}) or set train.clip in params.yaml"
            )
        y, probabilities = per_record(
            [self._record_ids[row] for row in rows.tolist()],
            labels.numpy(),
            softmax(logits.double().numpy(), 1.0),
            self._rule,
        )
        name = self._settings.score
        value = score(name, y, probabilities, self._classes)
        self.plateau.step(value)
        self.epoch_scores = {"val_loss": loss, f"val_{name}": value}

    def train_loss(self) -> float:
        """The mean training loss of the epoch."""
        return float(torch.stack(self._train_losses).mean())

    def configure_optimizers(self) -> Any:
        kinds: dict[str, Callable[..., torch.optim.Optimizer]] = {
            "adamw": torch.optim.AdamW,
            "adam": torch.optim.Adam,
            "sgd": partial(torch.optim.SGD, momentum=0.9, nesterov=True),
        }
        optimiser = kinds[self._settings.optimiser](
            self.network.parameters(), lr=self._lr, weight_decay=self._weight_decay
        )
        steps = int(self.trainer.estimated_stepping_batches) // self._epochs

        def factor(step: int) -> float:
            epoch = step / max(steps, 1)
            warm = min(1.0, (epoch + 1 / max(steps, 1)) / max(self._settings.warmup, 1e-9))
            if self._settings.schedule == "cosine":
                return warm * 0.5 * (1 + math.cos(math.pi * min(1.0, epoch / self._epochs)))
            if self._settings.schedule == "plateau":
                return warm * self.plateau.factor
            if self._settings.schedule == "step":
                decays = int(epoch) // self._settings.step_epochs
                return warm * float(self._settings.step_factor**decays)
            return warm

        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, factor)
        # By step: its state is whole at every epoch's end, when the resume point is written.
        return {
            "optimizer": optimiser,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["plateau"] = self.plateau.state()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.plateau.restore(checkpoint["plateau"])


class Plateau:
    """Multiply the learning rate by `factor` whenever `patience` epochs bring no better score.

    Lightning steps torch's ReduceLROnPlateau after the resume point of an epoch is written, so
    that a resumed training would miss a reduction; this state is whole before.
    """

    def __init__(self, reduction: float, patience: int) -> None:
        self._reduction, self._patience = reduction, patience
        self.factor, self._best, self._waited = 1.0, -math.inf, 0

    def step(self, value: float) -> None:
        """Take note of an epoch's score, higher is better."""
        if value > self._best:
            self._best, self._waited = value, 0
            return
        self._waited += 1
        if self._waited > self._patience:
            self.factor, self._waited = self.factor * self._reduction, 0

    def state(self) -> list[float]:
        """For the resume point."""
        return [self.factor, self._best, self._waited]

    def restore(self, state: list[float]) -> None:
        """From the resume point."""
        self.factor, self._best, self._waited = state[0], state[1], int(state[2])


def per_record(
    record_ids: list[str],
    labels: NDArray[np.int64],
    probabilities: NDArray[np.float64],
    rule: str,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Labels (r,) and probabilities (r, n_classes) of records from those of their windows.

    With the rule "none" each segment, a beat, stands for itself.
    """
    if rule == "none":
        return labels, probabilities
    records, pooled = aggregate(record_ids, probabilities, rule)
    pairs = dict.fromkeys(zip(record_ids, labels.tolist(), strict=True))
    of_record = dict(pairs.keys())
    if len(of_record) < len(pairs):
        raise InputError(
            f"model.aggregate: {rule}; the segments of a record have several classes here, so that "
            "it has none of its own: set it to none in params.yaml"
        )
    return np.array([of_record[record] for record in records]), pooled
