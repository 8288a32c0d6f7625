"""What `ratn train` costs beside the training steps, in one run:

    python -m tests.benchmarks.training_overhead [--rounds 3] [--steps 20]

1. images/s of `fit`, with its data pipeline and callbacks, over those of a bare
   `train_on_batch` loop on one batch (wanted: 0.95 at least);
2. images/s of the pipeline alone over those of the loop (wanted: 5 at least);
3. seconds from the start of the process to the end of the first step, of
   `ratn train` over those of a plain Keras script that fits the same network
   on the same arrays (wanted: 1.2 at most).

The network is CifarAttention-56, the images are scikit-learn's digits at 32
pixels. Loop and `fit`, and the two commands, take turns; the best round of
each counts.
"""

import argparse
import os
import pathlib
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
SIGNAL = "first step after"

PLAIN_KERAS = f"""
import os
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
import keras
import numpy as np
from PIL import Image
from sklearn.datasets import load_digits
import keras_ratn

digits = load_digits()
images = np.uint8(digits.images * (255 / 16))
images = np.stack([np.asarray(Image.fromarray(i).resize((32, 32), 2))
                   for i in images])
images = np.repeat(images[..., None], 3, axis=-1)
model = keras_ratn.CifarAttention56()
model.compile(
    keras.optimizers.SGD(0.1, 0.9, True),
    "sparse_categorical_crossentropy",
    metrics=["accuracy"],
    jit_compile=False,
)
model.optimizer.build(model.trainable_variables)

class Say(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        float(logs["loss"])
        print("{SIGNAL}", flush=True)
        os._exit(0)

model.fit(images, digits.target, batch_size=64, callbacks=[Say()], verbose=0)
"""


def seconds_to_first_step(command):
    """From the start of the command to the line that it prints then."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "PYTHONUNBUFFERED": "1",
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    started = time.monotonic()
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environment,
    ) as process:
        for line in process.stdout:
            if SIGNAL in line:
                seconds = time.monotonic() - started
                process.kill()
                return seconds
    raise SystemExit(f"no first step: {' '.join(command)[:200]}")


def first_steps(rounds):
    """The least seconds of each of the two."""
    ours, plain = [], []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, "-m", "keras_ratn", "train", "smoke"]
            command += ["--model", "CifarAttention56", "--run-dir", folder]
            ours.append(seconds_to_first_step(command))
        plain.append(seconds_to_first_step([sys.executable, "-c", PLAIN_KERAS]))
        print(f"first step: ours {ours[-1]:.1f} s, Keras {plain[-1]:.1f} s")
    return min(ours), min(plain)


def throughput(rounds, steps):
    """`training.benchmark`'s three figures."""
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    from training import benchmark
    from training.train import parse

    options = ["smoke", "--model", "CifarAttention56"]
    config = parse(options, "benchmark").experiment
    return benchmark.measure(
        config, benchmark.Options(steps=steps, rounds=rounds)
    )


def main():
    """Prints the three ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=20)
    options = parser.parse_args()
    ours, plain = first_steps(options.rounds)
    found = throughput(options.rounds, options.steps)
    loop = found["loop"]
    print(f"fit over loop: {found['fit'] / loop:.3f} (wanted: 0.95 at least)")
    print(f"pipeline over loop: {found['pipeline'] / loop:.1f} (wanted: 5)")
    print(f"time to first step: {ours / plain:.2f} (wanted: 1.2 at most)")


if __name__ == "__main__":
    main()
