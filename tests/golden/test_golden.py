"""Files of the day before the folders moved load, resume and export as then.

`make.py` wrote them, and says when one may be written anew.
"""

import json
import shutil

import keras
import numpy as np
import pytest
from golden import make
from training_runs import smallest

HERE = make.HERE


def close(actual, expected):
    """Equal but for the order in which a processor adds."""
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(actual), expected, rtol=1e-4, atol=1e-5
    )


def test_a_file_of_every_layer_loads():
    model = keras.saving.load_model(HERE / "every_layer.keras")
    kinds = {type(layer).__name__ for layer in model.layers}
    assert kinds >= {name for name, _ in make.MAP_LAYERS}
    with np.load(HERE / "every_layer.npz") as golden:
        outputs = model(golden["inputs"], training=False)
        assert set(outputs) == set(golden) - {"inputs"}
        for name, value in outputs.items():
            close(value, golden[name])


def test_todays_every_layer_takes_its_weights():
    """The order of weights within a class is part of the file format."""
    old = keras.saving.load_model(HERE / "every_layer.keras")
    new = make.every_layer()
    shapes = [(v.name, v.shape) for v in old.weights]
    assert shapes == [(v.name, v.shape) for v in new.weights]
    new.set_weights(old.get_weights())
    with np.load(HERE / "every_layer.npz") as golden:
        outputs = new(golden["inputs"], training=False)
        for name, value in outputs.items():
            close(value, golden[name])


@pytest.mark.parametrize("file", ["network.keras", "network.weights.h5"])
def test_a_network_loads(file):
    if file.endswith(".h5"):
        model = make.network()
        model.load_weights(HERE / file)
    else:
        model = keras.saving.load_model(HERE / file)
    with np.load(HERE / "network.npz") as golden:
        close(model(golden["images"], training=False), golden["network"])


def test_a_quantization_aware_network_loads():
    model = keras.saving.load_model(HERE / "quantization_aware.keras")
    with np.load(HERE / "network.npz") as golden:
        scores = model(golden["images"], training=False)
        # Steps of 8 bits: another processor may be one off.
        np.testing.assert_allclose(
            keras.ops.convert_to_numpy(scores), golden["aware"], atol=2 / 256
        )


def test_a_half_trained_run_goes_on(tmp_path):
    train = pytest.importorskip("training.train")
    folder = shutil.copytree(HERE / "run", tmp_path / "run")
    results = train.run(smallest(), folder)
    expected = json.loads((HERE / "run_history.json").read_text())
    for found, golden in zip(results["history"], expected, strict=True):
        for key in ("epoch", "accuracy", "val_accuracy", "learning_rate"):
            assert found[key] == pytest.approx(golden[key], abs=0.02), key
        assert found["loss"] == pytest.approx(golden["loss"], rel=1e-2)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """The files that today's code writes of the golden networks."""
    tf = pytest.importorskip("tensorflow")
    if keras.backend.backend() != "tensorflow":
        pytest.skip("export runs on TensorFlow")
    written_by = json.loads((HERE / "exported" / "versions.json").read_text())
    found = {"tensorflow": tf.__version__, "keras": keras.__version__}
    if found != written_by:
        pytest.skip(f"the bytes are those of {written_by}, and this is {found}")
    folder = tmp_path_factory.mktemp("exported")
    make.export(folder)
    return folder


@pytest.mark.parametrize(
    "kind", ["float32", "float16", "dynamic", "int8", "tuned"]
)
def test_exported_files_are_the_same_to_the_byte(kind, exported):
    golden = (HERE / "exported" / kind / "model.tflite").read_bytes()
    assert (exported / kind / "model.tflite").read_bytes() == golden
