"""`ratn quantize`, with both engines, and the runs that it tunes."""

import csv
import dataclasses
import importlib.util
import json
import os
import pathlib
import shutil
import subprocess
import sys

import keras
import numpy as np
import pytest
from tiny_models import predict
from tiny_models import random_pixels
from tiny_models import SMALLEST
from tiny_models import tiny_model
from training_runs import smallest

from export import convert
from export import flatbuffer
from export import tfmot_engine
from export import training_runs
from export.quantize import table
from export.tfmot_engine import fine_tune_with_tfmot
from keras_ratn.__main__ import main
from training.config import Experiment

TESTS = pathlib.Path(__file__).resolve().parents[1]

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="written with TensorFlow"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model without a run, and images."""
    keras.utils.set_random_seed(1704)
    folder = tmp_path_factory.mktemp("quantize")
    model = tiny_model(architecture=SMALLEST)
    model.save(folder / "m.keras")
    images, labels = random_pixels(80).astype("uint8"), np.arange(80) % 5
    np.savez(folder / "data.npz", x_train=images, y_train=labels)
    np.savez(folder / "many.npz", x_train=images, y_train=labels + 3)
    return folder


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    """What a training run on scikit-learn's digits leaves, untrained."""
    pytest.importorskip("sklearn")
    folder = tmp_path_factory.mktemp("run")
    config = smallest(seed=7)
    (folder / "config.json").write_text(json.dumps(config.to_dict()))
    tiny_model(10, SMALLEST).save(folder / "best.keras")
    return folder


def quantize(*options):
    return main(["quantize", *map(str, options)])


def check_files(folder, engine):
    assert not flatbuffer.not_integer(folder / "tuned_int8.tflite")
    rows = json.loads((folder / "quantization.json").read_text())
    assert [row["name"] for row in rows] == [
        "float32",
        "post-training int8",
        f"tuned int8 ({engine})",
    ]
    # So small a network is not smaller in int8: names outweigh its weights.
    assert all(row["bytes"] > 10_000 for row in rows)
    assert all(0 <= row["accuracy"] <= 1 for row in rows)
    assert all(row["latency_ms"] > 0 for row in rows)
    records = json.loads((folder / "model.json").read_text())
    assert {"float32.tflite", "int8.tflite"} < set(records)
    return rows


@pytest.mark.slow
def test_tunes_a_run_on_its_own_images(run_folder, tmp_path, capsys):
    model = run_folder / "best.keras"
    options = ["--run-dir", tmp_path, "--epochs", "2"]
    assert quantize(model, *options) == 0
    rows = check_files(tmp_path, "keras")
    assert table(rows) in capsys.readouterr().out
    written = Experiment.read(tmp_path / "config.json")
    trained = Experiment.read(run_folder / "config.json")
    assert (written.data, written.seed) == (trained.data, trained.seed)
    assert written.init == str(model)
    assert written.optimizer.schedule == "cosine"
    log = list(csv.DictReader((tmp_path / "log.csv").open()))
    assert [row["epoch"] for row in log] == ["1", "2"]
    assert float(log[0]["learning_rate"]) <= 1e-4
    assert "test accuracy" in (tmp_path / "README.md").read_text()
    # The same command finds the run finished, another one is refused.
    before = (tmp_path / "checkpoint.npz").stat().st_mtime_ns
    assert quantize(model, *options) == 0
    assert (tmp_path / "checkpoint.npz").stat().st_mtime_ns == before
    assert quantize(model, *options[:-1], "3") == 1
    assert "epochs: 2 -> 3" in capsys.readouterr().out


@pytest.mark.slow
def test_tunes_on_two_devices(run_folder, tmp_path):
    process = subprocess.run(
        [sys.executable, TESTS / "scaled_quantize_run.py"]
        + [run_folder / "best.keras", tmp_path, "2"],
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(TESTS.parent), str(TESTS)]),
        },
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stdout + process.stderr
    assert "devices   2 on tensorflow" in process.stdout
    check_files(tmp_path, "keras")
    # The ranges are those that both devices saw, and were saved.
    tuned = keras.saving.load_model(tmp_path / "last.keras")
    ends = [float(v) for v in tuned.variables if v.path.endswith("upper")]
    assert len(ends) > 10 and np.isfinite(ends).all()


@pytest.mark.slow
def test_tunes_by_tfmot_on_stated_images(folder, tmp_path):
    options = ["--data", folder / "data.npz", "--engine", "tfmot"]
    options += ["--epochs", "1", "--run-dir", tmp_path]
    assert quantize(folder / "m.keras", *options) == 0
    check_files(tmp_path, "tfmot")
    (row,) = csv.DictReader((tmp_path / "log.csv").open())
    assert 0 < float(row["loss"])
    keras.saving.load_model(tmp_path / "last.keras")


def test_plans_without_tuning(run_folder, folder, capsys, tmp_path):
    run = tmp_path / "run"
    options = ["--dry-run", "--run-dir", run]
    assert quantize(run_folder / "best.keras", *options) == 0
    out = capsys.readouterr().out
    assert "data      digits" in out
    assert "2 epochs of 4 steps of 16: 8 steps; adamw, cosine" in out
    place = ["--data", folder / "data.npz", "--epochs", "3"]
    assert quantize(folder / "m.keras", *place, *options) == 0
    out = capsys.readouterr().out
    assert (
        f"data      npz {folder / 'data.npz'}: 72 train, no validation, 8 test"
        in out
    )
    assert "3 epochs of 2 steps of 32" in out
    assert not run.exists()


def test_a_folder_with_other_things_is_left_alone(
    folder, tmp_path, monkeypatch, capsys
):
    (tmp_path / "notes.txt").write_text("mine")
    monkeypatch.setattr(training_runs, "open_source", None)  # before images
    options = ["--data", folder / "data.npz", "--run-dir", tmp_path]
    assert quantize(folder / "m.keras", *options) == 1
    assert "is not empty and holds no run" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_says_which_extra_is_missing(folder, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "tyro", None)
    assert quantize(folder / "m.keras") == 1
    assert "pip install keras_ratn[train]" in capsys.readouterr().err


def test_export_reads_the_images_of_the_run(run_folder, monkeypatch, capsys):
    images, labels, names = training_runs.images_of_run(
        run_folder / "best.keras", (32, 32, 3), 40
    )
    assert images.shape == (40, 32, 32, 3)
    assert images.dtype == np.float32 and images.max() > 200
    assert len(labels) == 40 and len(names) == 10
    # From there on it is the same as with --data.
    seen = {}

    def to_tflite(*_, representative_data, **__):
        seen.update(data=representative_data)
        raise ValueError("seen enough")

    # Not by the `ratn` command: installed, it imports keras_ratn.export.
    monkeypatch.setattr(convert, "to_tflite", to_tflite)
    model = str(run_folder / "best.keras")
    assert convert.main([model, "--quantize", "int8"]) == 1
    assert seen["data"][0].shape[1:] == (32, 32, 3)
    said = capsys.readouterr()
    assert "reading images from its training" in said.out
    assert "seen enough" in said.err


def test_export_says_why_it_cannot_read_them(run_folder, tmp_path, capsys):
    shutil.copy(run_folder / "best.keras", tmp_path)
    config = Experiment.read(run_folder / "config.json")
    data = dataclasses.replace(config.data, source="npz", location="no.npz")
    config = dataclasses.replace(config, data=data)
    file = tmp_path / "config.json"
    file.write_text(json.dumps(config.to_dict()))
    arguments = ["export", str(tmp_path / "best.keras"), "--quantize", "int8"]
    assert main(arguments) == 1
    said = capsys.readouterr().err
    assert "pass others by --data" in said and "no.npz" in said
    file.write_text("{}")
    assert main(arguments) == 1
    assert "is no config of `ratn train`" in capsys.readouterr().err
    with pytest.raises(ValueError, match="Training images are square"):
        shape = (32, 40, 3)
        training_runs.images_of_run(run_folder / "best.keras", shape, 1)


@pytest.mark.slow
def test_tfmot_tunes_without_touching_this_process(folder):
    model = keras.saving.load_model(folder / "m.keras")
    images, labels = random_pixels(24), np.arange(24) % 5
    before = dict(os.environ)
    tuned, _ = fine_tune_with_tfmot(model, images, labels, epochs=1)
    assert "tensorflow_model_optimization" not in sys.modules
    assert dict(os.environ) == before
    # Tuned by one small step: near, but not the same.
    difference = np.abs(predict(tuned, images) - predict(model, images)).max()
    assert 0 < difference < 0.1


def test_says_that_tfmot_is_missing(folder, tmp_path, monkeypatch, capsys):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *package: None if "tf_keras" in name else find(name),
    )
    options = ["--data", folder / "data.npz", "--engine", "tfmot"]
    options += ["--run-dir", tmp_path / "run"]
    assert quantize(folder / "m.keras", *options) == 1
    assert "there is no tf_keras" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_says_why_tfmot_failed(folder, tmp_path, monkeypatch, capsys):
    broken = tmp_path / "broken.py"
    broken.write_text("raise TypeError('of no use')")
    monkeypatch.setattr(tfmot_engine, "_TWIN", broken)
    model = keras.saving.load_model(folder / "m.keras")
    with pytest.raises(RuntimeError, match="said: TypeError: of no use"):
        fine_tune_with_tfmot(model, random_pixels(4), np.zeros(4))


def test_tfmot_names_what_it_has_no_twin_of():
    model = tiny_model(architecture=SMALLEST, mask_activation="channel")
    with pytest.raises(ValueError, match="no twin of the layer .* of class"):
        fine_tune_with_tfmot(model, random_pixels(4), np.zeros(4))


@pytest.mark.parametrize(
    "data, options, message",
    [
        (None, [], "is in no run folder of `ratn train`"),
        ("none.npz", [], "none.npz cannot be read"),
        ("many.npz", [], "knows 5 classes. Received: images of 8"),
        ("data.npz", ["--epochs", "0"], "`epochs` must be at least 1"),
        ("data.npz", ["--optimizer.ema", "0.9"], "`optimizer.ema` averages"),
    ],
)
def test_says_what_is_wrong(folder, tmp_path, data, options, message, capsys):
    out = tmp_path / "out"
    options = [*options, "--run-dir", out]
    if data is not None:
        options += ["--data", folder / data]
    assert quantize(folder / "m.keras", *options) == 1
    assert message in capsys.readouterr().err
    assert not out.exists()
