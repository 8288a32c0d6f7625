"""Training images/s of CifarAttention-92 against the same network in PyTorch,
on the same GPU in one run:

    KERAS_BACKEND=jax python -m tests.benchmarks.accelerator_training_step \
        [--batch-size 128 256 512] [--repeats 5]

Ours runs as `ratn train --runtime.resident` runs it: bfloat16 with float32
head and batch-norm statistics, all steps of an epoch in one program of XLA's.
The peer runs channels-last, under bfloat16 autocast, through `torch.compile`.
Neither augments. The numbers of parameters must be equal. Each repeat runs
the two in turn; printed are the medians, their ratio (wanted: 1.5) and where
our time goes. On a processor, `--depth 56 --no-compile --images 64` tries it.
"""

import argparse
import os
import statistics
import time

os.environ["KERAS_BACKEND"] = "jax"
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")

import keras
import numpy as np
import torch

import keras_ratn
from tests.benchmarks.torch_cifar_attention import CifarAttention
from training.config import AugmentationConfig
from training.data import array_split
from training.model import TrainingModel
from training.resident import ResidentTraining

MODULES = {56: (1, 1, 1), 92: (2, 2, 2)}
RATE, MOMENTUM = 1e-5, 0.9


def ours(depth, images, labels, batch_size):
    """Our training, and a function that runs it over all images."""
    keras.config.set_dtype_policy("mixed_bfloat16")
    network = getattr(keras_ratn, f"CifarAttention{depth}")()
    model = TrainingModel(network, AugmentationConfig(flip=False, shift=0), 0)
    optimizer = keras.optimizers.SGD(RATE, MOMENTUM, nesterov=True)
    model.compile(optimizer, keras.losses.CategoricalCrossentropy())
    optimizer.build(model.trainable_variables)
    training = ResidentTraining(
        model, array_split(images, labels), batch_size, 0
    )
    # Its results come as numbers, so it waits for the device.
    return training, lambda: training.run_epoch(0), network


def theirs(depth, images, labels, batch_size, compiled):
    """PyTorch's network, and a function that trains it on all images."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.backends.cudnn.benchmark = True
    model = CifarAttention(MODULES[depth]).to(
        device, memory_format=torch.channels_last
    )
    optimizer = torch.optim.SGD(
        model.parameters(), RATE, MOMENTUM, nesterov=True
    )
    loss = torch.nn.CrossEntropyLoss()
    x = torch.as_tensor(images.transpose(0, 3, 1, 2).copy()).to(device)
    y = torch.as_tensor(labels, dtype=torch.long).to(device)

    def forward(pixels, targets):
        with torch.autocast(device, torch.bfloat16):
            pixels = (pixels.float() / 127.5 - 1).contiguous(
                memory_format=torch.channels_last
            )
            return loss(model(pixels), targets)

    run = torch.compile(forward) if compiled else forward

    def epoch():
        order = torch.randperm(len(y), device=device)
        for numbers in order.split(batch_size):
            optimizer.zero_grad(set_to_none=True)
            value = run(x[numbers], y[numbers])
            value.backward()
            optimizer.step()
        return value.item()

    return model, epoch


def compare(arguments, batch_size):
    """Prints images/s of both at one batch size."""
    random = np.random.default_rng(0)
    count = arguments.images // batch_size * batch_size
    images = random.integers(0, 256, (count, 32, 32, 3), dtype="uint8")
    labels = random.integers(0, 10, count).astype("int32")
    training, mine, network = ours(arguments.depth, images, labels, batch_size)
    model, peer = theirs(
        arguments.depth, images, labels, batch_size, not arguments.no_compile
    )
    parameters = sum(int(np.prod(v.shape)) for v in network.trainable_variables)
    if parameters != sum(p.numel() for p in model.parameters()):
        raise SystemExit("the two networks are not the same")
    times = {"keras_ratn on JAX": [], "PyTorch": []}
    for function in (mine, mine, peer, peer):  # compile, then warm up
        function()
    for _ in range(arguments.repeats):
        for name, function in zip(times, (mine, peer)):
            started = time.perf_counter()
            function()
            times[name].append(time.perf_counter() - started)
    rates = {n: count / statistics.median(t) for n, t in times.items()}
    for name, rate in rates.items():
        print(f"batch {batch_size}: {name}: {rate:,.0f} images/s")
    ratio = rates["keras_ratn on JAX"] / rates["PyTorch"]
    print(f"batch {batch_size}: ratio {ratio:.2f} (wanted: 1.5)")
    for group, share in training.profile()["shares"].items():
        print(f"  {share:6.1%}  {group}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--depth", type=int, default=92, choices=MODULES)
    parser.add_argument("--batch-size", type=int, nargs="+", default=[128, 512])
    parser.add_argument("--images", type=int, default=8192)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--no-compile", action="store_true")
    arguments = parser.parse_args()
    for batch_size in arguments.batch_size:
        compare(arguments, batch_size)


if __name__ == "__main__":
    main()
