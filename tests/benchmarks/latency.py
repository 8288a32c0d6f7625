"""Latency of int8 against float32 files, and against ResNet-50 per MAC.

Run by hand on an idle machine, from the checkout (about 15 minutes):

    PYTHONPATH=.:tests python tests/benchmarks/latency.py FOLDER

Exports to FOLDER what is not there yet; a second argument names the networks
to take, separated by commas. Float32 files are written with batch norms as
products and sums ("plain") and as depthwise convolutions, and the faster one
counts; ResNet-50 of keras.applications likewise. The files take turns on one
thread; of each, the best of five medians counts. Then come the operations in
which the time of each file goes.
"""

import functools
import json
import pathlib
import sys
import time

import keras
from tiny_models import random_pixels

import keras_ratn
from export.benchmark import int8_instructions
from export.deploy_graph import deploy_graph
from export.litert import LiteRTModel
from export.operation_times import operation_times
from export.tflite import to_tflite
from tests.benchmarks.interleaved import best_of

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


def export(folder, names):
    """Paths of the files by network and kind, written where missing."""
    files = {}
    for name in names:
        builder, size, _ = NETWORKS[name]
        kinds = ("float32_plain", "float32_depthwise", "int8")
        # A folder each: one `labels.txt` serves one set of classes.
        paths = {k: folder / name / f"{name}_{k}.tflite" for k in kinds}
        files[name] = paths
        if all(path.exists() for path in paths.values()):
            continue
        model = calibrated(builder, size)
        for kind, path in paths.items():
            start = time.monotonic()
            # A deploy graph stays as it is when it is exported.
            source = deploy_graph(model) if "depthwise" in kind else model
            images = [random_pixels(16, size)]
            quantize = "int8" if kind == "int8" else None
            to_tflite(source, path, quantize, representative_data=images)
            print(f"{path.name}: {time.monotonic() - start:.0f} s", flush=True)
    return files


def measure(files, rounds=ROUNDS):
    """Best median latency in ms of each file, all taking turns."""
    runs = {}
    for path in files:
        file = LiteRTModel(path, num_threads=1)
        (name,) = file.inputs
        image = file.quantized(random_pixels(1, file.input_shape[1]))
        runs[path] = functools.partial(file.run, **{name: image})
    return best_of(runs, rounds)


# Issue 4: largest int8 over float32, and what is aimed at.
LIMITS = {"attention56": (0.33, 0.26), "cifarattention92": (0.50, 0.38)}


def main(folder, names=tuple(NETWORKS)):
    """Exports, measures and prints the ratios."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    files = export(folder, names)
    best = measure([p for paths in files.values() for p in paths.values()])
    rows = {}
    for name, paths in files.items():
        row = {f"{kind}_ms": best[path] for kind, path in paths.items()}
        row["float32_ms"] = min(v for k, v in row.items() if "float32" in k)
        row["int8_over_float32"] = row["int8_ms"] / row["float32_ms"]
        rows[name] = row
    if "resnet50" in rows:
        for name, row in rows.items():
            share = NETWORKS[name][2] / NETWORKS["resnet50"][2]
            for kind in ("float32_ms", "int8_ms"):
                peer = share * rows["resnet50"][kind]
                row[f"{kind[:-3]}_per_mac_over_resnet50"] = row[kind] / peer
    print(json.dumps(rows, indent=2))
    found = int8_instructions()
    print(f"int8 instructions: {found}")
    for name, (limit, target) in LIMITS.items():
        if name in rows:
            ratio = rows[name]["int8_over_float32"]
            print(f"{name}: int8 / float32 {ratio:.2f} ({limit}, aim {target})")
    if found.startswith("none"):
        print("These limits are for processors with such instructions.")
    for name, paths in files.items():
        kinds = sorted(paths, key=lambda kind: best[paths[kind]])
        plain = next(kind for kind in kinds if "float32" in kind)
        for kind in (plain, "int8"):
            print_operations(name, kind, paths[kind], best[paths[kind]])


def print_operations(name, kind, path, milliseconds):
    """The operations of a file, with their share of the sum."""
    times = operation_times(path)
    total = sum(row["milliseconds"] for row in times)
    print(f"{name} {kind}: {milliseconds:.2f} ms, sum of parts {total:.2f} ms")
    for row in times:
        share = row["milliseconds"] / total
        print(
            f"  {share:6.1%} {row['milliseconds']:8.3f} ms  "
            f"{row['number']:4} {row['name']} ({row['type']})"
        )


if __name__ == "__main__":
    main(sys.argv[1], *(argument.split(",") for argument in sys.argv[2:]))
