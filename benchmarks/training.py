"""Samples per second and memory of training an EfficientNet, on the GPU where there is one.

    python -m benchmarks.training --variant b7 --image-size 600 --batch-size 32

Forward, backward, clipping and optimiser step on random scalograms of the size and in the batches
of the recipe cachet_efficientnet_b7, in bfloat16 where the GPU has it, else in float32; loading and
augmentation are not in it. The first steps, which choose algorithms, are not counted. Memory is
what PyTorch held on the GPU at its peak, or the peak of the process on a CPU.
"""

import argparse
import json
import os
import resource
import sys
import time
from pathlib import Path
from statistics import median

import torch

from retrace.models.efficientnet import build

SHAPE, CLASSES, WARM_UP = (1, 128, 256), 4, 3
UNIT = 1 if sys.platform == "darwin" else 1024  # of the operating system's peak, in bytes


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--variant", default="b7")
    parser.add_argument("--image-size", type=int, default=600)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    given = parser.parse_args()
    gpu = torch.cuda.is_available()
    device = torch.device("cuda" if gpu else "cpu")
    bfloat16 = gpu and torch.cuda.is_bf16_supported()
    network = build(
        SHAPE,
        CLASSES,
        variant=given.variant,
        pretrained=False,
        weights_sha256=None,
        image_size=given.image_size,
        square=True,
        dropout=0.5,
    )
    network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser = torch.optim.AdamW(network.parameters())
    scalograms = torch.rand(given.batch_size, *SHAPE, device=device)
    labels = torch.randint(CLASSES, (given.batch_size,), device=device)
    seconds = []
    for step in range(WARM_UP + given.steps):
        started = time.perf_counter()
        with torch.autocast(device.type, torch.bfloat16, enabled=bfloat16):
            loss = torch.nn.functional.cross_entropy(network(scalograms), labels)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        if gpu:
            torch.cuda.synchronize()
        if step >= WARM_UP:
            seconds.append(time.perf_counter() - started)
    speed = given.batch_size / median(seconds)
    peak = (
        torch.cuda.max_memory_allocated()
        if gpu
        else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * UNIT
    )
    where = torch.cuda.get_device_name() if gpu else f"CPU, {torch.get_num_threads()} threads"
    precision = "bfloat16" if bfloat16 else "float32"
    print(
        f"efficientnet {given.variant}, {given.image_size} px, batch {given.batch_size}, "
        f"{precision}, {where}: {speed:.1f} samples per second, {peak / 2**30:.1f} GiB at its peak"
    )
    name = f"training of {given.variant}, {given.image_size} px, batch {given.batch_size}, {where}"
    load = os.getloadavg()[0]
    figures = [
        {
            "name": f"{name}: {what}",
            "unit": unit,
            "ours": value,
            "peers": {},
            "ratio": None,
            "error": None,
            "load": load,
        }
        for what, unit, value in (
            ("speed", "samples per second", speed),
            ("memory", "GiB", peak / 2**30),
        )
    ]
    if given.json:
        given.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
