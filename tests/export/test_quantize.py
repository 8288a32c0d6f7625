"""`ratn quantize`, with both engines."""

import json
import os
import sys

import keras
import numpy as np
import pytest
from tiny_models import predict
from tiny_models import random_pixels
from tiny_models import SMALLEST
from tiny_models import tiny_model

from export import flatbuffer
from export.quantize import table
from export.tfmot_engine import fine_tune_with_tfmot
from keras_ratn.__main__ import main

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="written with TensorFlow"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    keras.utils.set_random_seed(1704)
    folder = tmp_path_factory.mktemp("quantize")
    tiny_model(architecture=SMALLEST).save(folder / "m.keras")
    images, labels = random_pixels(40), np.arange(40) % 5
    np.savez(folder / "data.npz", images=images, labels=labels)
    np.savez(folder / "unnamed.npz", images=images)
    np.savez(folder / "many.npz", images=images, labels=labels + 3)
    return folder


def run(folder, *options, data="data.npz"):
    return main(
        [
            "quantize",
            str(folder / "m.keras"),
            "--data",
            str(folder / data),
            *options,
        ]
    )


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["keras", "tfmot"])
def test_writes_three_files_and_compares_them(folder, tmp_path, engine, capsys):
    options = ["--engine", engine, "--epochs", "1", "--output", str(tmp_path)]
    assert run(folder, *options) == 0
    assert not flatbuffer.not_integer(tmp_path / f"m_{engine}_int8.tflite")
    rows = json.loads((tmp_path / f"m_{engine}_quantization.json").read_text())
    assert [row["name"] for row in rows] == [
        "float32",
        "post-training int8",
        f"tuned int8 ({engine})",
    ]
    assert rows[1]["bytes"] < rows[0]["bytes"]
    assert all(0 <= row["accuracy"] <= 1 for row in rows)
    assert all(row["latency_ms"] > 0 for row in rows)
    assert table(rows) in capsys.readouterr().out
    assert (tmp_path / f"m_{engine}_tuned.keras").exists()


@pytest.mark.slow
def test_tfmot_tunes_without_touching_this_process(folder):
    model = keras.saving.load_model(folder / "m.keras")
    images, labels = random_pixels(24), np.arange(24) % 5
    before = dict(os.environ)
    tuned = fine_tune_with_tfmot(model, images, labels, epochs=1)
    assert "tensorflow_model_optimization" not in sys.modules
    assert dict(os.environ) == before
    # Tuned by one small step: near, but not the same.
    difference = np.abs(predict(tuned, images) - predict(model, images)).max()
    assert 0 < difference < 0.1


def test_tfmot_names_what_it_has_no_twin_of():
    model = tiny_model(architecture=SMALLEST, mask_activation="channel")
    with pytest.raises(ValueError, match="no twin of the layer .* of class"):
        fine_tune_with_tfmot(model, random_pixels(4), np.zeros(4))


@pytest.mark.parametrize(
    "data, options, message",
    [
        ("unnamed.npz", [], "needs the classes of the images"),
        ("many.npz", [], "knows 5 classes"),
        ("data.npz", ["--epochs", "0"], "`--epochs` must be 1 or more"),
    ],
)
def test_says_what_is_wrong(folder, tmp_path, data, options, message, capsys):
    options = [*options, "--output", str(tmp_path / "out")]
    assert run(folder, *options, data=data) == 1
    assert message in capsys.readouterr().out
    assert not (tmp_path / "out").exists()
