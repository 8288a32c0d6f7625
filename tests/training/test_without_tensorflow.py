"""Training on arrays and folders needs no TensorFlow on JAX and PyTorch.

A subprocess that cannot find TensorFlow stands in for an environment without
it.
"""

import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

ROOT = pathlib.Path(__file__).resolve().parents[2]
BLOCKED = """
import importlib.machinery
import sys

find = importlib.machinery.PathFinder.find_spec


def find_others(name, path=None, target=None):
    if name.startswith("tensorflow"):
        return None
    return find(name, path, target)


importlib.machinery.PathFinder.find_spec = find_others
from keras_ratn.__main__ import main
sys.exit(main(sys.argv[1:]))
"""


def ratn(backend, *arguments):
    environment = {
        **os.environ,
        "KERAS_BACKEND": backend,
        "PYTHONPATH": str(ROOT),
    }
    done = subprocess.run(
        [sys.executable, "-c", BLOCKED, *map(str, arguments)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def images(count=24):
    """Dark images of class 0, bright ones of class 1."""
    random = np.random.default_rng(0)
    labels = np.arange(count) % 2
    pixels = random.integers(0, 128, (count, 32, 32, 3))
    pixels += 128 * labels[:, None, None, None]
    return pixels.astype("uint8"), labels


def write_npz(path):
    x, y = images()
    np.savez(path, x_train=x, y_train=y, x_test=x[:8], y_test=y[:8])
    return ["--data.source", "npz", "--data.location", path]


def write_folder(path):
    for index, (image, label) in enumerate(zip(*images())):
        for part in ("train", "test"):
            folder = path / part / ("dark", "bright")[label]
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(folder / f"{index}.png")
    return ["--data.source", "folder", "--data.location", path]


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", "torch"])
@pytest.mark.parametrize("kind", ["arrays", "folder"])
def test_trains_and_evaluates(tmp_path, backend, kind):
    pytest.importorskip(backend)
    if kind == "arrays":
        data = write_npz(tmp_path / "images.npz")
    else:
        data = write_folder(tmp_path / "images")
    run = tmp_path / "run"
    command = ["train", "smoke", *data, "--batch-size", 8, "--epochs", 2]
    out = ratn(backend, *command, "--run-dir", run)
    assert f"on {backend}" in out and "test accuracy" in out
    results = json.loads((run / "results.json").read_text())
    assert len(results["history"]) == 2
    assert all(np.isfinite(row["loss"]) for row in results["history"])
    assert "tensorflow" not in results["environment"]["versions"]

    evaluation = tmp_path / "evaluation"
    command = ["evaluate", run / "last.keras", *data, "--out", evaluation]
    ratn(backend, *command)
    found = json.loads((evaluation / "evaluation.json").read_text())
    assert found["top1"] == pytest.approx(results["test"]["accuracy"])
