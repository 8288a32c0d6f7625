"""Time and memory from a saved Attention-56 to its verified int8 file.

Run by hand on an idle machine, from the checkout (about 10 minutes):

    PYTHONPATH=.:tests python tests/benchmarks/export_cost.py FOLDER

Issue 4 allows 5 minutes and 6 GiB on 2 cores. The weights are random, with
batch-norm statistics that fit them: the cost does not depend on training. The
limits for the differences are wide for the same reason.
"""

import pathlib
import resource
import subprocess
import sys
import time

import numpy as np
from latency import calibrated
from tiny_models import random_pixels

import keras_ratn

SECONDS, GIBIBYTES = 300, 6
SIZE, NUM_IMAGES = 224, 200


def run(*arguments):
    """Seconds that a `ratn` command took; its output goes to the screen."""
    start = time.monotonic()
    command = [sys.executable, "-m", "keras_ratn", *map(str, arguments)]
    subprocess.run(command, check=True)
    return time.monotonic() - start


def main(folder):
    """Exports and verifies in processes of their own; prints the cost."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    model = folder / "attention56.keras"
    if not model.exists():
        calibrated(keras_ratn.Attention56, SIZE).save(model)
        images = random_pixels(NUM_IMAGES, SIZE).astype("uint8")
        np.savez(folder / "images.npz", images=images)
    data = ("--data", folder / "images.npz")
    file = folder / "attention56_int8.tflite"
    seconds = run("export", model, "--quantize", "int8", *data)
    limits = ("--max-difference", 1, "--min-agreement", 0, "--num-images", 20)
    seconds += run("verify", model, file, *data, *limits)
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    gibibytes = children.ru_maxrss / 2**20  # of the largest process
    print(f"{seconds:.0f} s of {SECONDS}, {gibibytes:.2f} GiB of {GIBIBYTES}")
    if seconds > SECONDS or gibibytes > GIBIBYTES:
        raise SystemExit("over the limit")


if __name__ == "__main__":
    main(sys.argv[1])
