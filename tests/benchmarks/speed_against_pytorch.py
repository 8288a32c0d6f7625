"""Images/s of Attention-56 at 224 px, batch 8, against pytorchcv's
`resattnet56` in PyTorch, on the same CPU in one run:

    pip install pytorchcv --no-deps
    python -m tests.benchmarks.speed_against_pytorch [--repeats 5]

The contestants, each in a process of its own:

* ours as `ratn train` has it on TensorFlow: graph mode without XLA, oneDNN,
  fused batch normalization, freed memory kept;
* ours as TensorFlow and Keras come: `predict_on_batch`, `train_on_batch`;
* PyTorch as it comes, channels first and channels last;
* PyTorch, channels last, with freed memory kept as for ours.

PyTorch runs eagerly with denormals flushed. All train by SGD with
cross-entropy, and calibrate their batch normalization first. Runs are taken in
turn; printed are images/s by the medians, and the ratios of ours to the best
PyTorch that comes so, and to the best of all three.
"""

import argparse
import importlib.util
import os

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

from tests.benchmarks.interleaved import contest
from tests.benchmarks.interleaved import PEERS
from tests.benchmarks.interleaved import serve
from tests.benchmarks.interleaved import start_all
from tests.benchmarks.interleaved import TUNED

BATCH, SIZE, CLASSES = 8, 224, 1000
CALIBRATION_STEPS = 30


def ours(tuned):
    """Functions that run one forward pass, one training step."""
    if tuned:
        os.environ["TF_ENABLE_ONEDNN_OPTS"] = "1"
    import keras

    import keras_ratn
    from training.batch_normalization import fused_batch_normalization
    from training.runtime import keep_freed_memory

    if tuned:
        keep_freed_memory()
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

    def calibrate():
        for _ in range(CALIBRATION_STEPS):
            model.train_on_batch(images, labels)
        model.predict_on_batch(images)

    if tuned:
        with fused_batch_normalization(model):
            calibrate()
    else:
        calibrate()
    return {
        "forward": lambda: model.predict_on_batch(images),
        "training step": lambda: model.train_on_batch(images, labels),
    }


def theirs(channels_last, memory_kept):
    """The same two functions for PyTorch."""
    import torch

    # Not `model_provider`: it needs torchvision for other networks.
    from pytorchcv.models.resattnet import resattnet56

    if memory_kept:
        from training.runtime import keep_freed_memory

        keep_freed_memory()
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
    return {"forward": forward, "training step": step}


def main():
    """Prints images/s of each, forward and training, and the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--contestant")
    arguments = parser.parse_args()
    name = arguments.contestant
    if name in PEERS:
        serve(theirs("channels last" in name, "memory kept" in name))
    elif name:
        serve(ours(name == TUNED))
    elif importlib.util.find_spec("pytorchcv") is None:
        parser.error("the peer is missing: pip install pytorchcv --no-deps")
    else:
        contestants = start_all("tests.benchmarks.speed_against_pytorch")
        for task in ("forward", "training step"):
            contest(contestants, task, arguments.repeats, BATCH, "1.3, 1.5")


if __name__ == "__main__":
    main()
