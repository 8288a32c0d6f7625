"""Every export under settings of Keras that the user chose for the rest.

They are set before anything is built, and nothing resets them: what is
exported must be right under them, and they must be the user's afterwards.
"""

import json

import keras
import numpy as np
import pytest
from tiny_models import difference
from tiny_models import random_pixels
from tiny_models import randomize
from tiny_models import SMALLEST
from tiny_models import tiny_model

from export import deploy_graph
from export import quantization_aware
from export import to_onnx
from export import to_saved_model
from export import to_tflite
from export import verify
from export.flatbuffer import not_integer
from keras_ratn.keras_settings import standard_settings

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="written with TensorFlow"
)
IMAGES = random_pixels(32)
SETTINGS = [
    ("mixed_float16", "channels_last"),
    ("mixed_bfloat16", "channels_last"),
    ("float32", "channels_first"),
    ("mixed_float16", "channels_first"),
]


def network():
    """One of the package, in the precision and layout of the moment."""
    first = keras.config.image_data_format() == "channels_first"
    shape = (3, 32, 32) if first else (32, 32, 3)
    return tiny_model(architecture=SMALLEST, input_shape=shape)


def keras_network():
    """One of Keras's own layers, none of which says dtype or layout."""
    first = keras.config.image_data_format() == "channels_first"
    inputs = keras.Input((3, 32, 32) if first else (32, 32, 3))
    x = keras.layers.Rescaling(1 / 127.5, -1)(inputs)
    x = keras.layers.Conv2D(8, 3, strides=2, padding="same")(x)
    x = keras.layers.BatchNormalization(axis=1 if first else -1)(x)
    x = keras.layers.ReLU()(x)
    x = keras.layers.UpSampling2D(2, interpolation="bilinear")(x)
    x = keras.layers.DepthwiseConv2D(3)(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    x = keras.layers.Dense(5, activation="softmax", dtype="float32")(x)
    model = keras.Model(inputs, x)
    randomize(model)
    return model


MODELS = {"network": network, "keras_network": keras_network}


@pytest.fixture(params=SETTINGS, ids="-".join)
def settings(request):
    policy, layout = request.param
    keras.config.set_dtype_policy(policy)
    keras.config.set_image_data_format(layout)
    yield request.param
    assert keras.config.dtype_policy().name == policy
    assert keras.config.image_data_format() == layout


def skip_what_cannot_run(settings):
    """In float32 `verify` runs the model itself, as it is."""
    gpu = keras.distribution.list_devices("gpu")
    if settings == ("float32", "channels_first") and not gpu:
        pytest.skip("TensorFlow's processors convolve channels-last only")


@pytest.fixture(
    params=[
        pytest.param("network", marks=pytest.mark.slow),
        "keras_network",
    ]
)
def model(request, settings):
    """A model under those settings, and what its weights give in float32."""
    if request.param == "keras_network":
        skip_what_cannot_run(settings)
    model = MODELS[request.param]()
    with standard_settings():
        twin = MODELS[request.param]()
        twin.set_weights(model.get_weights())
        expected = twin.predict(IMAGES, verbose=0)
    return model, expected


def precisions(graph):
    return {layer.compute_dtype for layer in graph.layers}


def test_graphs_and_files_of_floats_are_exact(model, tmp_path):
    model, expected = model
    deployed = deploy_graph(model)
    assert precisions(deployed) == {"float32"}
    found = deployed.predict(IMAGES, verbose=0)
    assert difference(expected, found) < 1e-5
    for write, name in (
        (to_tflite, "model.tflite"),
        (to_saved_model, "served"),
        (to_onnx, "model.onnx"),
    ):
        if write is to_onnx:
            pytest.importorskip("onnxruntime")
        path = write(model, tmp_path / name)
        comparison = verify(model, path, IMAGES)
        assert comparison.passes, name
        assert comparison.largest_difference < 1e-5, name
    entries = json.loads((tmp_path / "model.json").read_text())
    shapes = {x["inputs"]["images"]["shape"][-1] for x in entries.values()}
    assert shapes == {3}


@pytest.mark.parametrize("model", ["keras_network"], indirect=True)
def test_integers_are_tuned_and_written(model, tmp_path):
    model, expected = model
    post_training = to_tflite(model, tmp_path / "int8.tflite", "int8", [IMAGES])
    aware = quantization_aware(model, [IMAGES])
    assert precisions(aware) == {"float32"}
    found = aware.predict(IMAGES, verbose=0)
    assert np.abs(found - expected).max() < 0.1
    aware.compile(keras.optimizers.SGD(1e-4), "sparse_categorical_crossentropy")
    aware.fit(IMAGES, np.arange(32) % 5, batch_size=16, verbose=0)
    tuned = to_tflite(aware, tmp_path / "tuned.tflite", "int8")
    for path in (post_training, tuned):
        assert not not_integer(path)
        assert verify(model, path, IMAGES, max_difference=0.1).passes


def test_compressed_floats_are_written(settings, tmp_path):
    skip_what_cannot_run(settings)
    model = keras_network()
    for quantize in ("float16", "dynamic"):
        path = to_tflite(model, tmp_path / f"{quantize}.tflite", quantize)
        assert verify(model, path, IMAGES).passes


def test_a_model_of_other_days_is_exported_all_the_same(settings):
    """Built under Keras's defaults, it computes what it did then."""
    with standard_settings():
        model = network()
    expected = model.predict(IMAGES, verbose=0)
    found = deploy_graph(model).predict(IMAGES, verbose=0)
    assert difference(expected, found) < 1e-5


def test_casts_and_layers_inside_of_layers_come_back_to_float32():
    keras.config.set_dtype_policy("mixed_float16")
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.TimeDistributed(keras.layers.Dense(4))(inputs)
    x = keras.ops.cast(x, "float16")
    x = keras.layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, x)
    images = np.random.default_rng(0).uniform(0, 1, (4, 8, 8, 3))
    deployed = deploy_graph(model)
    assert deployed.output.dtype == "float32"
    kernel, bias = model.get_weights()
    expected = (images @ kernel + bias).mean((1, 2))
    found = deployed.predict(images, verbose=0)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
