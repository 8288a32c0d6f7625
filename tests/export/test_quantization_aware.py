import dataclasses

import keras
import numpy as np
import pytest
from tiny_models import predict
from tiny_models import random_pixels
from tiny_models import SMALLEST
from tiny_models import tiny_model
from tiny_models import tune

from export import flatbuffer
from export import metadata
from export.deploy_graph import deploy_graph
from export.litert import LiteRTModel
from export.onnx_file import to_onnx
from export.quantization_aware import quantization_aware
from export.saved_model import to_saved_model
from export.tflite import to_tflite
from keras_ratn.layers import FakeQuantization

needs_tensorflow = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="written with TensorFlow"
)


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(1704)
    return tiny_model(architecture=SMALLEST, class_names=list("abcde"))


@pytest.fixture(scope="module")
def aware(model):
    return quantization_aware(model, [random_pixels(16)])


def test_computes_nearly_what_the_model_does(model, aware):
    images = random_pixels(8, seed=2)
    difference = np.abs(predict(aware, images) - predict(model, images))
    assert 0 < difference.max() < 0.05


def test_rounds_where_litert_does(aware):
    names = [layer.name for layer in aware.layers]
    ranges = {
        layer.name: layer
        for layer in aware.layers
        if isinstance(layer, FakeQuantization)
    }
    assert (ranges["images_range"].minimum, ranges["images_range"].maximum) == (
        0.0,
        255.0,
    )
    # Nothing between a convolution and its ReLU, nor after pooling.
    unit = "stage1_attention1_trunk_unit1"
    assert f"{unit}_conv1" in names
    assert f"{unit}_conv1_range" not in names
    assert f"{unit}_conv3_range" in names  # goes into a sum
    assert "stage1_attention1_soft_mask_pool" in names
    assert "stage1_attention1_soft_mask_pool_range" not in names
    assert "stage1_attention1_soft_mask_upsampling0_range" not in names
    mask = ranges["stage1_attention1_soft_mask_activation_range"]
    assert mask.fixed and mask.maximum == 255 / 256


def test_learns_and_comes_back_from_disk(model, tmp_path):
    aware = quantization_aware(model, [random_pixels(16)])
    images = random_pixels(16)
    before = {
        v.path: keras.ops.convert_to_numpy(v) for v in aware.trainable_variables
    }
    tune(aware, images, np.arange(16) % 5)
    for variable in aware.trainable_variables:
        if variable.path.endswith("kernel"):
            assert np.any(
                before[variable.path] != keras.ops.convert_to_numpy(variable)
            )
    aware.save(tmp_path / "aware.keras")
    loaded = keras.saving.load_model(tmp_path / "aware.keras")
    np.testing.assert_array_equal(
        predict(loaded, images), predict(aware, images)
    )
    assert loaded.get_layer("predictions").class_names == list("abcde")


@needs_tensorflow
def test_file_computes_what_was_trained(aware, tmp_path):
    path = to_tflite(aware, tmp_path / "m.tflite", "int8")
    assert not flatbuffer.not_integer(path)
    images = random_pixels(24, seed=3)
    scores = LiteRTModel(path).predict(images)["scores"]
    # The same integers, not nearly the same.
    np.testing.assert_array_equal(scores, predict(aware, images))
    (detail,) = LiteRTModel(path).inputs.values()
    assert detail["quantization"] == (1.0, 0)


@needs_tensorflow
@pytest.mark.parametrize("pool_size", [1, 2])
def test_a_relu_behind_pooling_keeps_its_steps(pool_size, tmp_path):
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Rescaling(1 / 255)(inputs)
    x = keras.layers.Conv2D(8, 3)(x)
    x = keras.layers.MaxPooling2D(pool_size)(x)
    x = keras.layers.Conv2D(8, 3)(keras.layers.ReLU()(x))
    x = keras.layers.GlobalAveragePooling2D()(x)
    outputs = keras.layers.Dense(4, activation="softmax")(x)
    keras.utils.set_random_seed(0)
    images = random_pixels(24, 8)
    aware = quantization_aware(keras.Model(inputs, outputs), [images])
    path = to_tflite(aware, tmp_path / "m.tflite", "int8")
    names = [o.name for o in flatbuffer.operations(path)]
    assert "MAX_POOL_2D" in names and "RELU" not in names
    assert not flatbuffer.not_integer(path)
    scores = LiteRTModel(path).predict(images)["scores"]
    np.testing.assert_array_equal(scores, predict(aware, images))


@needs_tensorflow
@pytest.mark.parametrize(
    "low, high", [(-3, -1), (1, 3), (-2, 3)], ids=["below", "above", "both"]
)
def test_sums_with_constants_come_out_the_same(low, high, tmp_path):
    inputs = keras.Input((32, 32, 3))
    x = keras.layers.Rescaling(1 / 64, -2.0)(inputs)
    x = keras.layers.Conv2D(8, 3)(x)
    x = keras.layers.Multiply()([x, x])
    normalization = keras.layers.BatchNormalization()
    x = keras.layers.ReLU()(normalization(x))
    x = keras.layers.Conv2D(4, 1)(x)
    outputs = keras.layers.GlobalAveragePooling2D()(x)
    gamma, _, mean, variance = normalization.get_weights()
    normalization.set_weights(
        [gamma, np.linspace(low, high, 8), mean, variance]
    )
    images = random_pixels(16)
    aware = quantization_aware(keras.Model(inputs, outputs), [images])
    (constants,) = (
        layer.trainable_weights[0]
        for layer in aware.layers
        if type(layer).__name__ == "QuantizationAwareRescaling"
    )
    constants.assign(0.9 * constants)  # as tuning changes them
    path = to_tflite(aware, tmp_path / "m.tflite", "int8")
    assert not flatbuffer.not_integer(path)
    scores = LiteRTModel(path).predict(images)["scores"]
    expected = predict(aware, images)
    assert len(np.unique(expected)) > 16
    np.testing.assert_allclose(scores, expected, rtol=1e-5, atol=1e-6)


@needs_tensorflow
def test_leaves_its_softmax_out(aware, tmp_path):
    path = to_tflite(aware, tmp_path / "m.tflite", "int8", logits=True)
    names = [o.name for o in flatbuffer.operations(path)]
    assert "FULLY_CONNECTED" in names and "SOFTMAX" not in names
    assert not flatbuffer.not_integer(path)
    assert metadata.read(path)["postprocessing"] == "softmax"


@needs_tensorflow
@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {"unit": "resnext"},
        {"unit": "inception"},
        {"mask_activation": "channel"},
        {"mask_activation": "spatial"},
        {"mask_structure": "local_convolution"},
        {"interpolation": "bilinear_align_corners"},
        {"interpolation": "transpose"},
        {"attention_learning": "naive"},
    ],
    ids=str,
)
def test_every_option_becomes_an_integer_file(options, tmp_path):
    architecture = dataclasses.replace(SMALLEST, **options)
    images = random_pixels(24)
    aware = quantization_aware(tiny_model(architecture=architecture), [images])
    path = to_tflite(aware, tmp_path / "m.tflite", "int8")
    assert not flatbuffer.not_integer(path)
    scores = LiteRTModel(path).predict(images)["scores"]
    steps = np.rint(256 * np.abs(scores - predict(aware, images)))
    # The same integers. Matrices that up-sample leave some sums half-way
    # between two, which LiteRT's FULLY_CONNECTED may round the other way.
    aligned = options.get("interpolation") == "bilinear_align_corners"
    assert steps.max() <= (1 if aligned else 0)


def test_refuses_what_it_cannot_train(model):
    inputs = keras.Input((32, 32, 3))
    x = keras.layers.LayerNormalization(name="odd_one")(inputs)
    outputs = keras.layers.GlobalAveragePooling2D()(x)
    with pytest.raises(ValueError, match="'odd_one' of class LayerNorm"):
        quantization_aware(keras.Model(inputs, outputs), [random_pixels(16)])
    with pytest.raises(ValueError, match="16 images or more"):
        quantization_aware(model, [random_pixels(2)])


def test_is_no_source_of_other_graphs(aware):
    inside = keras.Sequential([keras.Input((32, 32, 3)), aware])
    for model in (aware, inside):
        with pytest.raises(ValueError, match="'images_range' of class FakeQ"):
            deploy_graph(model)
        with pytest.raises(ValueError, match="becomes no other"):
            quantization_aware(model, [random_pixels(16)])


@needs_tensorflow
def test_becomes_no_file_of_floats(aware, tmp_path):
    pytest.importorskip("tf2onnx")
    with pytest.raises(ValueError, match="becomes no other"):
        to_saved_model(aware, tmp_path / "served")
    with pytest.raises(ValueError, match="becomes no other"):
        to_onnx(aware, tmp_path / "m.onnx")
    inside = keras.Sequential([keras.Input((32, 32, 3)), aware])
    with pytest.raises(ValueError, match="becomes no other"):
        to_tflite(inside, tmp_path / "m.tflite", "int8", [random_pixels(16)])
    assert list(tmp_path.iterdir()) == []


@needs_tensorflow
def test_becomes_an_int8_file_only(aware, tmp_path):
    with pytest.raises(ValueError, match="int8 file only"):
        to_tflite(aware, tmp_path / "m.tflite", "float16")
    with pytest.raises(ValueError, match="Leave out `with_mask`"):
        to_tflite(aware, tmp_path / "m.tflite", "int8", with_mask=True)
