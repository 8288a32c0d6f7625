"""Latency of int8 against float32 files, and against ResNet-50 per MAC.

Run by hand on an idle machine, from the checkout (about 15 minutes):

    PYTHONPATH=.:tests python tests/benchmarks/latency.py FOLDER

Exports to FOLDER what is not there yet. Each network is exported as it stands
("plain", float32 only) and as a deploy graph; ResNet-50 of keras.applications
the same way. The files take turns on one thread; of each, the best of five
medians counts.
"""

import json
import pathlib
import sys
import time

import keras
import numpy as np
from tiny_models import random_pixels

import keras_ratn
from export.benchmark import int8_instructions
from export.litert import LiteRTModel
from export.tflite import to_tflite

# name -> (builder, size, multiply-accumulates of convolutions and dense
# layers; ResNet-50's as usually given)
NETWORKS = {
    "cifarattention92": (keras_ratn.CifarAttention92, 32, 211_913_216),
    "attention56": (keras_ratn.Attention56, 224, 6_270_836_736),
    "resnet50": (keras.applications.ResNet50, 224, 4_089_184_256),
}
ROUNDS = 5


def calibrated(builder, size):
    """A network whose batch-norm statistics fit its weights."""
    import tensorflow as tf

    model = builder(weights=None, input_shape=(size, size, 3))
    images = random_pixels(8, size)
    step = tf.function(lambda x: model(x, training=True))
    for _ in range(20):
        step(images)
    return model


def export(folder):
    """Paths of the files by network and kind, written where missing."""
    files = {}
    for name, (builder, size, _) in NETWORKS.items():
        kinds = {"float32": None, "int8": "int8"}
        paths = {kind: folder / f"{name}_{kind}.tflite" for kind in kinds}
        files[name] = paths
        if all(path.exists() for path in paths.values()):
            continue
        model = calibrated(builder, size)
        for kind, quantize in kinds.items():
            start = time.monotonic()
            to_tflite(
                model,
                paths[kind],
                quantize,
                representative_data=[random_pixels(16, size)],
            )
            print(f"{paths[kind].name}: {time.monotonic() - start:.0f} s")
    return files


def measure(files, rounds=ROUNDS):
    """Best median latency in ms of each file, all taking turns."""
    runners = {}
    for path in files:
        file = LiteRTModel(path, num_threads=1)
        (name,) = file.inputs
        image = file.quantized(random_pixels(1, file.input_shape[1]))
        runners[path] = (file.run, {name: image})
    best = {}
    for _ in range(rounds):
        for path, (run, inputs) in runners.items():
            run(**inputs)
            times = []
            stop = time.monotonic() + 1.0
            while len(times) < 5 or time.monotonic() < stop:
                start = time.perf_counter()
                run(**inputs)
                times.append(1000 * (time.perf_counter() - start))
            median = float(np.median(times))
            best[path] = min(best.get(path, median), median)
    return best


def main(folder):
    """Exports, measures and prints the ratios."""
    folder = pathlib.Path(folder)
    files = export(folder)
    best = measure([p for paths in files.values() for p in paths.values()])
    results = {"int8_instructions": int8_instructions()}
    reference = {
        kind: best[path] / NETWORKS["resnet50"][2]
        for kind, path in files["resnet50"].items()
    }
    for name, paths in files.items():
        row = {f"{kind}_ms": best[path] for kind, path in paths.items()}
        row["int8_over_float32"] = row["int8_ms"] / row["float32_ms"]
        for kind, path in paths.items():
            per_mac = best[path] / NETWORKS[name][2]
            row[f"{kind}_per_mac_over_resnet50"] = per_mac / reference[kind]
        results[name] = row
    print(json.dumps(results, indent=2))


if __name__ == "__main__":
    main(sys.argv[1])
