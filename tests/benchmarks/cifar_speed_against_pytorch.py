"""Training images/s of CifarAttention-56 at 32 px, batch 64, against the same
network written in PyTorch, on the same CPU in one run:

    python -m tests.benchmarks.cifar_speed_against_pytorch [--repeats 9]
    KERAS_BACKEND=jax python -m tests.benchmarks.cifar_speed_against_pytorch

Ours runs as Keras's own loop runs it, `train_on_batch` with SGD: on TensorFlow
in graph mode without XLA and with fused batch normalization, as `ratn train`
has it, on JAX compiled by XLA. The peer runs eagerly, in both layouts, the
better one counts, with denormals flushed. Both have the same number of
parameters and, given the same weights, the same outputs, which is checked
first. Each repeat runs the two in turn; printed are the medians and their
ratio.
"""

import argparse
import os
import statistics
import time

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# As the `ratn` command has it.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

import keras
import numpy as np
import torch

import keras_ratn
from tests import shape_seeded
from tests.benchmarks.torch_cifar_attention import CifarAttention
from tests.benchmarks.torch_cifar_attention import fill
from training.batch_normalization import fused_batch_normalization
from training.runtime import keep_freed_memory

BATCH, CALIBRATION_STEPS = 64, 10
RATE, MOMENTUM = 1e-5, 0.9


def build(include_preprocessing):
    return keras_ratn.CifarAttention56(
        include_preprocessing=include_preprocessing
    )


def check_that_they_are_the_same():
    """Raises unless parameters and outputs agree."""
    mine = shape_seeded.fill(build(False))
    peer = fill(CifarAttention()).eval()
    trainable = sum(p.numel() for p in peer.parameters())
    own = sum(int(np.prod(v.shape)) for v in mine.trainable_variables)
    if own != trainable:
        raise SystemExit(f"ours has {own} parameters, the peer {trainable}")
    images = shape_seeded.images((2, 32, 32, 3))
    with torch.inference_mode():
        logits = peer(torch.as_tensor(images.transpose(0, 3, 1, 2)))
    expected = torch.softmax(logits, dim=1).numpy()
    found = keras.ops.convert_to_numpy(mine(images))
    error = np.abs(found - expected).max()
    print(f"{own:,} parameters each; outputs differ by {error:.1e} at most")
    if not error < 1e-4:
        raise SystemExit("the two networks are not the same")


def ours():
    """A function that runs one training step."""
    random = np.random.default_rng(0)
    images = random.uniform(0, 255, (BATCH, 32, 32, 3)).astype("float32")
    labels = random.integers(0, 10, BATCH)
    model = build(True)
    model.compile(
        keras.optimizers.SGD(RATE, MOMENTUM),
        "sparse_categorical_crossentropy",
        jit_compile=keras.backend.backend() == "jax",
    )
    model.optimizer.build(model.trainable_variables)
    with fused_batch_normalization(model):
        model.train_on_batch(images, labels)  # traces it
    return lambda: model.train_on_batch(images, labels)


def theirs(layout):
    """The same for PyTorch."""
    torch.manual_seed(0)
    torch.set_flush_denormal(True)
    model = CifarAttention().to(memory_format=layout).train()
    images = torch.randn(BATCH, 3, 32, 32).to(memory_format=layout)
    labels = torch.randint(0, 10, (BATCH,))
    optimizer = torch.optim.SGD(model.parameters(), RATE, MOMENTUM)
    loss = torch.nn.CrossEntropyLoss()

    def step():
        optimizer.zero_grad(set_to_none=True)
        value = loss(model(images), labels)
        value.backward()
        optimizer.step()
        return value.item()

    return step


def main():
    """Prints images/s of each and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=9)
    repeats = parser.parse_args().repeats
    keep_freed_memory()
    check_that_they_are_the_same()
    contestants = {
        f"keras_ratn on {keras.backend.backend()}": ours(),
        "PyTorch, channels first": theirs(torch.contiguous_format),
        "PyTorch, channels last": theirs(torch.channels_last),
    }
    times = {name: [] for name in contestants}
    for step in contestants.values():
        for _ in range(CALIBRATION_STEPS):
            step()
    for _ in range(repeats):
        for name, step in contestants.items():
            started = time.perf_counter()
            step()
            times[name].append(time.perf_counter() - started)
    rates = {n: BATCH / statistics.median(t) for n, t in times.items()}
    for name, rate in rates.items():
        print(f"training step: {name}: {rate:.1f} images/s")
    mine, *peers = rates.values()
    print(f"training step: ratio {mine / max(peers):.2f} (wanted: 1.5)")


if __name__ == "__main__":
    main()
