"""Training images/s of CifarAttention-56 at 32 px, batch 64, against the same
network written in PyTorch, on the same CPU in one run:

    python -m tests.benchmarks.cifar_speed_against_pytorch [--repeats 9]
    KERAS_BACKEND=jax python -m tests.benchmarks.cifar_speed_against_pytorch

Both have the same number of parameters and, given the same weights, the same
outputs, which is checked first. The contestants are those of
`speed_against_pytorch.py`, each in a process of its own, with SGD and
cross-entropy; on JAX ours is compiled by XLA. Runs are taken in turn; printed
are images/s by the medians, and the ratios of ours to the best PyTorch that
comes so, and to the best of all three.
"""

import argparse
import os

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

from tests.benchmarks.interleaved import contest
from tests.benchmarks.interleaved import PEERS
from tests.benchmarks.interleaved import serve
from tests.benchmarks.interleaved import start_all
from tests.benchmarks.interleaved import TUNED

BATCH, CALIBRATION_STEPS = 64, 10
RATE, MOMENTUM = 1e-5, 0.9


def check_that_they_are_the_same():
    """Raises unless parameters and outputs agree."""
    import keras
    import torch

    import keras_ratn
    from tests import shape_seeded
    from tests.benchmarks.torch_cifar_attention import CifarAttention
    from tests.benchmarks.torch_cifar_attention import fill

    mine = shape_seeded.fill(
        keras_ratn.CifarAttention56(include_preprocessing=False)
    )
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


def ours(tuned):
    """A function that runs one training step."""
    if tuned:
        os.environ["TF_ENABLE_ONEDNN_OPTS"] = "1"
    import keras

    import keras_ratn
    from training.batch_normalization import fused_batch_normalization
    from training.runtime import keep_freed_memory

    if tuned:
        keep_freed_memory()
    random = np.random.default_rng(0)
    images = random.uniform(0, 255, (BATCH, 32, 32, 3)).astype("float32")
    labels = random.integers(0, 10, BATCH)
    model = keras_ratn.CifarAttention56()
    model.compile(
        keras.optimizers.SGD(RATE, MOMENTUM),
        "sparse_categorical_crossentropy",
        jit_compile=keras.backend.backend() == "jax",
    )
    model.optimizer.build(model.trainable_variables)

    def step():
        model.train_on_batch(images, labels)

    if tuned:
        with fused_batch_normalization(model):
            step()  # traces it
    return step


def theirs(channels_last, memory_kept):
    """The same for PyTorch."""
    import torch

    from tests.benchmarks.torch_cifar_attention import CifarAttention

    if memory_kept:
        from training.runtime import keep_freed_memory

        keep_freed_memory()
    torch.manual_seed(0)
    torch.set_flush_denormal(True)
    layout = torch.channels_last if channels_last else torch.contiguous_format
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
    """Prints images/s of each and the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--contestant")
    arguments = parser.parse_args()
    name = arguments.contestant
    if name:
        if name in PEERS:
            step = theirs("channels last" in name, "memory kept" in name)
        else:
            step = ours(name == TUNED)
        for _ in range(CALIBRATION_STEPS):
            step()
        serve({"training step": step})
        return
    check_that_they_are_the_same()
    contestants = start_all("tests.benchmarks.cifar_speed_against_pytorch")
    contest(contestants, "training step", arguments.repeats, BATCH, "1.5")


if __name__ == "__main__":
    main()
