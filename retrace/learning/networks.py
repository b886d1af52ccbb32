"""Training a network with Lightning, epoch by epoch, from where an earlier run was broken off."""

import torch

from retrace.errors import InputError
from retrace.learning import checkpoint
from retrace.learning.augmentation import Augmentation
from retrace.learning.balance import loss_function
from retrace.learning.classifier import Classifier, Network
from retrace.learning.data import SegmentData, Segments
from retrace.learning.engine import Callback, MisconfigurationException, Trainer
from retrace.learning.tracking import History, ResumePoint
from retrace.params import Params


def fit_network(
    params: Params,
    network: Network,
    segments: Segments,
    history: History,
    watching: list[Callback],
) -> bool:
    """Train the network and give it the weights of its best epoch.

    segments: with what oversampling made. watching: what looks on as the training goes. Returns
    whether this process is the one that writes.
    """
    resume = ResumePoint(history)
    settings = params.train
    if len(segments.X.shape) == 4:
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if settings.compile:
        network.compile()
    trainer = _trainer(params, [history, *watching, resume])
    trainer.fit(
        _module(params, network, segments),
        datamodule=SegmentData(
            segments,
            batch_size=params.batch_size,
            seed=params.seed,
            balanced=settings.imbalance == "sampler",
            augment=Augmentation(**settings.augment.model_dump()),
            workers=settings.workers,
        ),
        ckpt_path=resume.path,
        weights_only=True,
    )
    if trainer.is_global_zero:
        checkpoint.load_weights(history.best_weights, network)
        network.cpu().float()
    return bool(trainer.is_global_zero)


def _trainer(params: Params, callbacks: list[Callback]) -> Trainer:
    settings = params.train
    precision = settings.precision
    if precision == "auto":
        on_gpu = settings.accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available()
        precision = "bf16-mixed" if on_gpu and torch.cuda.is_bf16_supported() else "32-true"
    try:
        return Trainer(
            accelerator=settings.accelerator,
            devices=settings.devices,
            num_nodes=settings.nodes,
            strategy=settings.strategy,
            precision=precision,
            max_epochs=params.epochs,
            gradient_clip_val=settings.clip or None,
            callbacks=callbacks,
            logger=False,
            enable_checkpointing=True,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,
            deterministic="warn",
        )
    except (ValueError, RuntimeError, MisconfigurationException) as error:
        raise InputError(
            f"params.yaml: train: {error}; accelerator, devices, nodes, strategy and precision "
            "must be ones that Lightning knows and this machine has: set them to auto, 1"
        ) from None


def _module(params: Params, network: Network, segments: Segments) -> Classifier:
    labels = segments.labels[segments.rows("train")]
    return Classifier(
        network,
        loss_function(
            labels,
            len(segments.classes),
            imbalance=params.train.imbalance,
            label_smoothing=params.train.label_smoothing,
        ),
        params.train,
        lr=params.lr,
        weight_decay=params.weight_decay,
        epochs=params.epochs,
        seed=params.seed,
        record_ids=segments.record_ids,
        classes=segments.classes,
        rule=params.model.aggregate,
    )
