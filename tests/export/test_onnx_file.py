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

from export.onnx_file import to_onnx
from export.verify import verify
from keras_ratn.__main__ import main

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="written with TensorFlow"
)

CLASSES = ["ant", "bee", "cat", "dog", "eel"]


@pytest.mark.parametrize("size", [32, 37])
def test_onnx_runtime_computes_what_the_model_does(size, tmp_path):
    pytest.importorskip("tf2onnx")
    runtime = pytest.importorskip("onnxruntime")
    model = tiny_model(
        architecture=SMALLEST,
        class_names=CLASSES,
        input_shape=(size, size, 3),
        classifier_activation=None,
    )
    path = to_onnx(model, tmp_path / "m.onnx", with_mask=True)
    session = runtime.InferenceSession(path)
    images = random_pixels(3, 40)[:, :size, :size]
    scores, mask = session.run(["scores", "mask"], {"images": images})
    expected = predict(model, images)
    assert np.abs(scores - expected).max() < 1e-5 * np.abs(expected).max()
    assert mask.shape == (3, size, size, 8)
    assert 0 < mask.min() < mask.max() < 1
    facts = session.get_modelmeta().custom_metadata_map
    assert json.loads(facts["labels"]) == CLASSES
    assert (tmp_path / "labels.txt").read_text().split() == CLASSES
    entry = json.loads((tmp_path / "model.json").read_text())["m.onnx"]
    assert entry["inputs"]["images"]["shape"] == [None, size, size, 3]


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {"mask_activation": "channel"},
        {"mask_activation": "spatial"},
        {"interpolation": "bilinear_align_corners"},
        {"interpolation": "transpose"},
    ],
    ids=str,
)
def test_options_become_onnx(options, tmp_path):
    pytest.importorskip("tf2onnx")
    runtime = pytest.importorskip("onnxruntime")
    model = tiny_model(
        architecture=SMALLEST, classifier_activation=None, **options
    )
    path = to_onnx(model, tmp_path / "m.onnx")
    images = random_pixels(3)
    session = runtime.InferenceSession(path)
    (scores,) = session.run(["scores"], {"images": images})
    expected = predict(model, images)
    assert np.abs(scores - expected).max() < 1e-5 * np.abs(expected).max()


def test_commands_write_and_verify_onnx(tmp_path, capsys):
    pytest.importorskip("tf2onnx")
    pytest.importorskip("onnxruntime")
    model = str(tmp_path / "m.keras")
    tiny_model(architecture=SMALLEST).save(model)
    assert main(["export", model, "--format", "onnx"]) == 0
    np.savez(tmp_path / "data.npz", images=random_pixels(8))
    file, data = str(tmp_path / "m.onnx"), str(tmp_path / "data.npz")
    assert main(["verify", model, file, "--data", data]) == 0
    assert "PASSED" in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["onnx", "saved_model"])
def test_quantisation_is_for_tflite(tmp_path, capsys, kind):
    model = str(tmp_path / "m.keras")
    tiny_model(architecture=SMALLEST).save(model)
    arguments = ["export", model, "--format", kind, "--quantize", "int8"]
    assert main(arguments) == 1
    assert "`--quantize` is for tflite files" in capsys.readouterr().err
    assert os.listdir(tmp_path) == ["m.keras"]


def test_says_what_is_missing(tmp_path, monkeypatch):
    model = tiny_model(architecture=SMALLEST)
    with pytest.raises(ValueError, match="must end in .onnx"):
        to_onnx(model, tmp_path / "m.tflite")
    monkeypatch.setitem(sys.modules, "tf2onnx", None)
    with pytest.raises(ValueError, match=r"pip install keras_ratn\[onnx\]"):
        to_onnx(model, tmp_path / "m.onnx")
    assert os.listdir(tmp_path) == []


def test_verify_says_that_a_file_is_broken(tmp_path):
    pytest.importorskip("onnxruntime")
    path = tmp_path / "model.onnx"
    path.write_bytes(b"no protocol buffer")
    model = keras.Sequential([keras.Input((32, 32, 3)), keras.layers.Flatten()])
    with pytest.raises(ValueError, match="ONNX Runtime cannot run"):
        verify(model, path, random_pixels(2))
