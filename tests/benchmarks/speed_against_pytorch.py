"""Images/s of Attention-56 at 224 px, batch 8, against pytorchcv's
`resattnet56` in PyTorch, on the same CPU in one run:

    pip install pytorchcv
    python -m tests.benchmarks.speed_against_pytorch [--repeats 5]

Ours runs as Keras's own loops run it on TensorFlow, `predict_on_batch` and
`train_on_batch` (SGD, cross-entropy), in graph mode without XLA, with oneDNN
and fused batch normalization, as `ratn train` has it. The peer runs eagerly in
its best layout (channels-last or not), with denormals flushed. Batch
normalization of both is calibrated first. Each repeat runs the two in turn;
printed are the medians and their ratio.
"""

import argparse
import os
import statistics
import time

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# As the `ratn` command does.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

import keras
import numpy as np
import torch

import keras_ratn
from training.batch_normalization import fused_batch_normalization
from training.runtime import keep_freed_memory

BATCH, SIZE, CLASSES = 8, 224, 1000
CALIBRATION_STEPS = 30


def ours():
    """Two functions that run one forward pass, one training step."""
    random = np.random.default_rng(0)
    images = random.uniform(0, 255, (BATCH, SIZE, SIZE, 3)).astype("float32")
    labels = random.integers(0, CLASSES, BATCH)
    model = keras_ratn.Attention56()
    model.compile(
        keras.optimizers.SGD(1e-5, momentum=0.9),
        "sparse_categorical_crossentropy",
        jit_compile=False,
    )
    model.optimizer.build(model.trainable_variables)
    with fused_batch_normalization(model):
        for _ in range(CALIBRATION_STEPS):
            model.train_on_batch(images, labels)
        model.predict_on_batch(images)
    return (
        lambda: model.predict_on_batch(images),
        lambda: model.train_on_batch(images, labels),
    )


def theirs(channels_last):
    """The same two functions for PyTorch."""
    # Not `model_provider`: it needs torchvision for other networks.
    from pytorchcv.models.resattnet import resattnet56

    torch.manual_seed(0)
    torch.set_flush_denormal(True)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    model = resattnet56()
    model = model.to(memory_format=layout)
    images = torch.randn(BATCH, 3, SIZE, SIZE).to(memory_format=layout)
    labels = torch.randint(0, CLASSES, (BATCH,))
    optimizer = torch.optim.SGD(model.parameters(), 1e-5, momentum=0.9)
    loss = torch.nn.CrossEntropyLoss()

    def forward():
        model.eval()
        with torch.inference_mode():
            model(images)

    def step():
        model.train()
        optimizer.zero_grad(set_to_none=True)
        loss(model(images), labels).backward()
        optimizer.step()

    for _ in range(CALIBRATION_STEPS // 3):
        step()
    return forward, step


def _seconds(function):
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def main():
    """Prints images/s of each, forward and training, and the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    keep_freed_memory()
    contestants = {
        "keras_ratn on TensorFlow": ours(),
        "pytorchcv, channels first": theirs(channels_last=False),
        "pytorchcv, channels last": theirs(channels_last=True),
    }
    for index, what in enumerate(("forward", "training step")):
        times = {name: [] for name in contestants}
        for functions in contestants.values():
            functions[index]()  # warm up
        for _ in range(repeats):
            for name, functions in contestants.items():
                times[name].append(_seconds(functions[index]))
        rates = {
            name: BATCH / statistics.median(values)
            for name, values in times.items()
        }
        for name, rate in rates.items():
            print(f"{what}: {name}: {rate:.2f} images/s")
        mine, *peers = rates.values()
        print(f"{what}: ratio {mine / max(peers):.2f} (wanted: 1.3, 1.5)")


if __name__ == "__main__":
    main()
