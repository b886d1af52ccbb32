"""Segments on disk as batches: the Lightning data module."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset, Sampler

from retrace.errors import InputError
from retrace.files import NpyReader, read_csv
from retrace.learning.augmentation import Augmentation
from retrace.learning.balance import epoch_order
from retrace.learning.engine import LightningDataModule

Key = tuple[int, int]  # epoch and segment
# Segments, features, class numbers and rows.
Batch = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64], NDArray[np.int64]]


@dataclass(frozen=True)
class Segments:
    """The input array (memory-mapped) and what the tables say of each of its rows.

    features: (n, k) float32, what a model gets beside a segment; k may be 0. samples, symbols: of
    a beat's R peak and annotation, None for windows.
    """

    X: NDArray[Any]
    features: NDArray[np.float32]
    segment_ids: list[str]
    record_ids: list[str]
    patient_ids: list[str | None]
    starts: list[float]
    samples: list[int | None]
    symbols: list[str | None]
    labels: NDArray[np.int64]
    subsets: NDArray[np.str_]
    classes: list[str]

    def rows(self, subset: str) -> NDArray[np.int64]:
        """The row numbers of "train", "val" or "test"."""
        return np.flatnonzero(self.subsets == subset)


def load_segments(
    array: Path, table: Path, split: Path, classes: list[str], features: list[str]
) -> Segments:
    """Read X.npy, segments.csv and split.csv, which must tell of the same segments.

    features: the columns of segments.csv that the model gets beside each segment.
    """
    X = NpyReader(array).mapped()
    segments = read_csv(table, ("segment_id", "record_id", "patient_id", "start", "label"))
    subsets = read_csv(split, ("segment_id", "subset"))
    ids = [row["segment_id"] for row in segments]
    if ids != [row["segment_id"] for row in subsets] or len(X) != len(ids):
        raise InputError(
            f"{split}: not the segments of {table} and {array}; all three must come from one "
            "run: run dvc repro"
        )
    for name in classes:
        if not any(row["label"] == name for row in segments):
            raise InputError(
                f"class {name}: no segment has it; every class of the label map needs examples: "
                "remove it from labels under datasets in params.yaml, or add recordings"
            )
    return Segments(
        X=X,
        features=_features(table, segments, features),
        segment_ids=ids,
        record_ids=[row["record_id"] for row in segments],
        patient_ids=[row["patient_id"] or None for row in segments],
        starts=[float(row["start"]) for row in segments],
        samples=[int(row["sample"]) if row.get("sample") else None for row in segments],
        symbols=[row.get("symbol") or None for row in segments],
        labels=np.array([classes.index(row["label"]) for row in segments]),
        subsets=np.array([row["subset"] for row in subsets]),
        classes=classes,
    )


def _features(table: Path, segments: list[dict[str, str]], names: list[str]) -> NDArray[np.float32]:
    """Columns of segments.csv as numbers (n, k)."""
    found = np.empty((len(segments), len(names)), np.float32)
    for column, name in enumerate(names):
        try:
            found[:, column] = [float(row[name]) for row in segments]
        except (KeyError, ValueError):
            raise InputError(
                f"model.features: {name}; {table.name} has no number under that name for every "
                "segment: cut beats of annotated recordings (segment.anchor beat), or remove it "
                "in params.yaml"
            ) from None
    return found


class SegmentDataset(Dataset[Any]):
    """Rows of the array as float32; with an augmentation, changed by (seed, epoch, row)."""

    def __init__(self, segments: Segments, seed: int, augment: Augmentation | None) -> None:
        self._segments, self._seed = segments, seed
        self._augment = None if augment is None or augment.off else augment

    def __getitems__(self, keys: list[Key]) -> Batch:
        """A whole batch at once, as DataLoader asks for it: beats are small and many."""
        rows = np.array([row for _, row in keys])
        segments = np.asarray(self._segments.X[rows], np.float32)
        if self._augment is not None:
            for place, (epoch, row) in enumerate(keys):
                segments[place] = self._augment(segments[place], [self._seed, epoch, row])
        return segments, self._segments.features[rows], self._segments.labels[rows], rows


class EpochSampler(Sampler[Key]):
    """Keys (epoch, row) in an order that (seed, epoch) alone decides.

    The epoch travels in the key, so that loader processes need no shared state and a resumed
    training sees what an unbroken one would have seen. With several devices each takes every
    `world`-th key.
    """

    def __init__(
        self, segments: Segments, *, balanced: bool, seed: int, rank: int, world: int
    ) -> None:
        self._rows = segments.rows("train")
        self._labels = segments.labels[self._rows]
        self._balanced, self._seed, self._rank, self._world = balanced, seed, rank, world
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Lightning calls this before each epoch."""
        self._epoch = epoch

    def __len__(self) -> int:
        return len(self._rows) // self._world

    def __iter__(self) -> Iterator[Key]:
        order = epoch_order(
            self._labels, balanced=self._balanced, seed=self._seed, epoch=self._epoch
        )
        mine = order[: len(self) * self._world][self._rank :: self._world]
        return iter([(self._epoch, int(row)) for row in self._rows[mine]])


def as_arrays(batch: Batch) -> Batch:
    """A batch stays NumPy arrays: loader processes send them through pipes, while tensors would
    need shared memory, of which a container has only 64 MB."""
    return batch


class SegmentData(LightningDataModule):
    """Training batches (shuffled, augmented) and validation batches; never the test part."""

    def __init__(
        self,
        segments: Segments,
        *,
        batch_size: int,
        seed: int,
        balanced: bool,
        augment: Augmentation,
        workers: int,
    ) -> None:
        super().__init__()
        self._segments, self._batch_size, self._seed = segments, batch_size, seed
        self._balanced, self._augment, self._workers = balanced, augment, workers

    def _rank(self) -> tuple[int, int]:
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)

    def _loading(self) -> dict[str, Any]:
        return {
            "collate_fn": as_arrays,
            "num_workers": self._workers,
            "persistent_workers": self._workers > 0,
            # Its own: a loader would otherwise draw from the generator that dropout uses.
            "generator": torch.Generator(),
        }

    def on_before_batch_transfer(self, batch: Batch, dataloader_idx: int) -> list[torch.Tensor]:
        return [torch.from_numpy(array) for array in batch]

    def train_dataloader(self) -> DataLoader[Any]:
        """One epoch; a last, smaller batch is left out, since batch norm needs company."""
        rank, world = self._rank()
        sampler = EpochSampler(
            self._segments, balanced=self._balanced, seed=self._seed, rank=rank, world=world
        )
        return DataLoader(
            SegmentDataset(self._segments, self._seed, self._augment),
            batch_size=self._batch_size,
            sampler=sampler,
            drop_last=len(sampler) > self._batch_size,
            **self._loading(),
        )

    def val_dataloader(self) -> DataLoader[Any]:
        """The validation part in order."""
        rank, world = self._rank()
        rows = self._segments.rows("val")[rank::world]
        return DataLoader(
            SegmentDataset(self._segments, self._seed, None),
            batch_size=self._batch_size,
            sampler=[(0, int(row)) for row in rows],
            **self._loading(),
        )
