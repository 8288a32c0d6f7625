"""Whether a model is made for pixels 0-255, by the numbers in it."""

import keras
import numpy as np
import pytest
from keras import layers
from tiny_models import random_pixels
from tiny_models import SMALLEST
from tiny_models import tiny_model

import keras_ratn
from export import quantization_aware
from export import to_tflite
from export import verify
from export.deploy_graph import deploy_graph
from export.metadata import takes_pixels

RNG = np.random.default_rng(0)
UNIT = RNG.uniform(0, 1, (32, 16, 16, 3)).astype("float32")


def model_behind(*scalings):
    inputs = x = keras.Input((16, 16, 3))
    for scaling in scalings:
        x = scaling(x)
    x = layers.Conv2D(4, 3, strides=2)(x)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(3, activation="softmax")(x))


def adapted(images):
    layer = layers.Normalization()
    layer.adapt(images)
    return layer


def inner(*scalings):
    return keras.Sequential([keras.Input((16, 16, 3)), *scalings])


PIXELS = {
    "to 0..1": lambda: [layers.Rescaling(1 / 255)],
    "to -1..1": lambda: [layers.Rescaling(1 / 127.5, -1)],
    "adapted on pixels": lambda: [adapted(255 * UNIT)],
    "adapted on dark pixels": lambda: [adapted(np.round(12 * UNIT))],
    "only centred": lambda: [layers.Rescaling(1.0, -117.0)],
    "in two steps": lambda: [layers.Rescaling(1 / 255), adapted(UNIT)],
    "by operations": lambda: [lambda x: x / 127.5 - 1.0],
    "in a model of its own": lambda: [inner(layers.Rescaling(1 / 255))],
    "behind augmentation": lambda: [
        inner(layers.RandomFlip()),
        layers.Rescaling(1 / 255),
    ],
    "one channel dead": lambda: [adapted(255 * UNIT * [1.0, 1.0, 0.0])],
}
OTHERS = {
    "none": lambda: [],
    "by one": lambda: [layers.Rescaling(1.0)],
    "0..1 to -1..1": lambda: [layers.Rescaling(2, -1)],
    "adapted on 0..1": lambda: [adapted(UNIT)],
    "adapted on -1..1": lambda: [adapted(2 * UNIT - 1)],
    "0..1 to pixels and back": lambda: [
        layers.Rescaling(255.0),
        layers.Rescaling(1 / 127.5, -1),
    ],
    "by operations": lambda: [lambda x: 2.0 * x - 1.0],
    "behind a layer that learns": lambda: [
        layers.Conv2D(3, 1),
        layers.Rescaling(1 / 255),
    ],
    "0..1 in a model of its own": lambda: [inner(layers.Rescaling(2, -1))],
}


@pytest.mark.parametrize("scaling", PIXELS)
def test_pixels_are_known_by_the_constants(scaling):
    assert takes_pixels(model_behind(*PIXELS[scaling]()))


@pytest.mark.parametrize("scaling", OTHERS)
def test_other_images_are_known_by_them_too(scaling):
    assert not takes_pixels(model_behind(*OTHERS[scaling]()))


@pytest.mark.parametrize("shape", [(32, 32, 3), (None, None, 3), (32, 32, 1)])
def test_networks_of_the_package_take_pixels(shape):
    model = tiny_model(architecture=SMALLEST, input_shape=shape)
    assert takes_pixels(model)
    without = tiny_model(
        architecture=SMALLEST, input_shape=shape, include_preprocessing=False
    )
    assert not takes_pixels(without)


def test_a_networks_own_graphs_still_take_them():
    model = tiny_model(architecture=SMALLEST, input_shape=(32, 32, 3))
    assert takes_pixels(deploy_graph(model, depthwise_normalization=False))
    inputs = keras.Input((32, 32, 3))
    assert takes_pixels(keras.Model(inputs, model(inputs)))
    images = random_pixels(16)
    assert takes_pixels(quantization_aware(model, [images]))
    inside = keras_ratn.layers.FakeQuantization(-1.0, 1.0, fixed=True)
    assert not takes_pixels(model_behind(inside, layers.Rescaling(1 / 255)))


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="written with TensorFlow"
)
@pytest.mark.parametrize("scaling", ["0..1 to -1..1", "adapted on 0..1"])
def test_right_images_are_taken_by_int8_and_verify(scaling, tmp_path):
    model = model_behind(*OTHERS[scaling]())
    path = to_tflite(
        model, tmp_path / "m.tflite", "int8", [UNIT], input_type="float32"
    )
    assert verify(model, path, UNIT, min_agreement=0.5).passes
