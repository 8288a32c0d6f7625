"""Channels-first graphs, whatever stands behind their maps."""

import keras
import numpy as np
import pytest
from keras import layers
from keras import ops
from tiny_models import difference
from tiny_models import forward
from tiny_models import random_pixels
from tiny_models import randomize

import keras_ratn
from export.channels_last import is_channels_first
from export.deploy_graph import deploy_graph
from keras_ratn.layers._channels_first import layer_class
from keras_ratn.models import eamlp
from keras_ratn.models import rest
from keras_ratn.models._ends import image_classifier

FIRST = "channels_first"
# Of three different sizes, so that no axis can pass for another.
SHAPE = (3, 8, 6)


def conv(x, filters=4, **options):
    cls = layer_class("Conv2D", FIRST)
    return cls(filters, 3, padding="same", data_format=FIRST, **options)(x)


def nested(x):
    """A model that is called twice, and looks at its maps flat."""
    inner = keras.Sequential(
        [
            keras.Input(SHAPE),
            layer_class("Conv2D", FIRST)(
                3, 3, padding="same", data_format=FIRST
            ),
        ]
    )
    return layers.Flatten()(inner(inner(x)))


def in_both_layouts(x):
    """One layer that reads maps and permuted maps; one map read by three."""
    x = conv(x, 6)
    permuted = layers.Permute((1, 3, 2))
    flat = layers.Flatten()
    return layers.Concatenate()(
        [flat(x), flat(permuted(x)), flat(layers.ReLU()(x))]
    )


def squeezed(x):
    x = conv(x)
    gate = layers.GlobalAveragePooling2D(data_format=FIRST, keepdims=True)(x)
    return layers.Multiply()([x, gate])


def masked(x):
    x = conv(x)
    return layers.Softmax(axis=1)(x, mask=x > 0)


# What stands behind a channels-first convolution.
TAILS = {
    "flatten": lambda x: layers.Dense(5)(layers.Flatten()(conv(x))),
    "flatten by channels": lambda x: layers.Flatten(FIRST)(conv(x)),
    "reshape": lambda x: layers.Reshape((24, 8))(conv(x)),
    "to channels last": lambda x: layers.Permute((2, 3, 1))(conv(x)),
    "permute": lambda x: layers.Permute((3, 2, 1))(conv(x)),
    "there and back": lambda x: conv(
        layers.Permute((3, 1, 2))(
            layers.Dense(5)(layers.Permute((2, 3, 1))(conv(x)))
        )
    ),
    "ops.transpose": lambda x: ops.transpose(conv(x), (0, 2, 1, 3)),
    "dense over columns": lambda x: layers.Dense(5)(conv(x)),
    "softmax over channels": lambda x: layers.Softmax(axis=1)(conv(x)),
    "softmax over columns": lambda x: layers.Softmax()(conv(x)),
    "softmax over places": lambda x: layers.Softmax(axis=[2, 3])(conv(x)),
    "softmax function": lambda x: layers.Activation("softmax")(conv(x)),
    "masked softmax": masked,
    "gelu": lambda x: layers.Activation("gelu")(conv(x)),
    "batch normalization": lambda x: layers.BatchNormalization(axis=1)(conv(x)),
    "over columns": lambda x: layers.BatchNormalization()(conv(x)),
    "layer normalization": lambda x: layers.LayerNormalization(1)(conv(x)),
    "over everything": lambda x: layers.LayerNormalization([1, 2, 3])(conv(x)),
    "group normalization": lambda x: layers.GroupNormalization(2, 1)(conv(x)),
    "unit normalization": lambda x: layers.UnitNormalization([2, 3])(conv(x)),
    "prelu": lambda x: layers.PReLU("uniform", shared_axes=[2, 3])(conv(x)),
    "concatenated channels": lambda x: layers.Concatenate(1)([conv(x), x]),
    "concatenated columns": lambda x: layers.Concatenate()([conv(x, 3), x]),
    "ops.concatenate": lambda x: ops.concatenate([conv(x), x], axis=1),
    "ops.mean": lambda x: ops.mean(conv(x), axis=(2, 3)),
    "some channels": lambda x: conv(x)[:, 1:3],
    "numbers": lambda x: 2 * conv(x) + 1,
    "numbers of columns": lambda x: conv(x) * np.arange(6.0),
    "tensors of two ranks": lambda x: conv(x) + ops.mean(x, axis=(0, 1, 2)),
    "global pooling": lambda x: layers.GlobalMaxPooling2D(FIRST)(conv(x)),
    "pooling over columns": lambda x: layers.GlobalMaxPooling2D()(conv(x)),
    "squeeze": squeezed,
    "padding": lambda x: layers.ZeroPadding2D(((1, 0), (2, 3)), FIRST)(conv(x)),
    "cropping": lambda x: layers.Cropping2D(((1, 0), (2, 3)), FIRST)(conv(x)),
    "upsampling": lambda x: layers.UpSampling2D((2, 3), FIRST)(conv(x)),
    "lambda": lambda x: layers.Lambda(lambda y: y[:, ::-1])(conv(x)),
    "normalized channels": lambda x: conv(
        layers.Normalization(1, [1.0, 2.0, 3.0], [1.0, 2.0, 3.0])(x)
    ),
    "normalized rows": lambda x: conv(
        layers.Normalization(2, np.arange(8.0), np.arange(1.0, 9.0))(x)
    ),
    "rescaling": lambda x: conv(layers.Rescaling(0.5, -1)(x)),
    "attention": lambda x: (
        layers.Attention()(2 * [layers.Flatten()(x)[:, None]])
        + layers.Dense(1)(layers.Flatten()(conv(x)))[:, None]
    ),
    "nested": nested,
    "in both layouts": in_both_layouts,
}


def maps_of(values):
    """Maps in the layout of deploy graphs, which other values do not have."""
    return values.transpose(0, 2, 3, 1) if values.ndim == 4 else values


@pytest.mark.parametrize("tail", TAILS.values(), ids=TAILS)
def test_computes_what_the_channels_first_model_does(tail):
    inputs = keras.Input(SHAPE)
    model = keras.Model(inputs, tail(inputs))
    randomize(model)
    images = np.random.default_rng(0).uniform(-1, 1, (2, *SHAPE))
    images = images.astype("float32")
    expected = forward(model, images)
    deployed = deploy_graph(model)
    assert deployed.input_shape == (None, 8, 6, 3)
    actual = forward(deployed, maps_of(images))
    if actual.shape != expected.shape:
        expected = maps_of(expected)
    assert difference(expected, actual) < 1e-5
    # The whole model may stand inside another one.
    outer = keras.Sequential([keras.Input(SHAPE), model])
    again = forward(deploy_graph(outer), maps_of(images))
    np.testing.assert_allclose(again, actual, atol=1e-6)


def test_takes_images_as_the_model_does():
    """Channels-first convolutions behind a permutation of the images."""
    inputs = keras.Input((8, 6, 3))
    x = conv(layers.Permute((3, 1, 2))(inputs))
    model = keras.Model(inputs, layers.Flatten()(x))
    assert not is_channels_first(model)
    images = np.random.default_rng(0).normal(size=(2, 8, 6, 3))
    deployed = deploy_graph(model)
    assert deployed.input_shape == model.input_shape
    expected = forward(model, images)
    assert difference(expected, forward(deployed, images)) < 1e-5


ARCHITECTURES = {
    "rest": rest.ResTArchitecture((8, 16, 16, 16), (1, 1, 1, 1), (1, 2, 2, 2)),
    "eamlp": eamlp.EAMLPArchitecture(16, 2, 2, 2, token_width=8),
}


def classifier(architecture, **options):
    model = image_classifier(
        architecture.features,
        variant=None,
        family="imagenet",
        weights=None,
        input_tensor=None,
        input_shape=(3, 64, 64),
        pooling=None,
        classes=5,
        classifier_activation=None,
        name="tiny",
        data_format=FIRST,
        class_names=None,
        **options,
    )
    randomize(model)
    return model


@pytest.mark.parametrize("preprocessing", [True, False])
@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_transformers_of_channels_first_images(kind, preprocessing):
    keras.utils.set_random_seed(0)
    model = classifier(
        ARCHITECTURES[kind],
        include_top=True,
        include_preprocessing=preprocessing,
    )
    images = random_pixels(2, 64) / (1 if preprocessing else 255)
    expected = forward(model, images.transpose(0, 3, 1, 2))
    deployed = deploy_graph(model)
    kinds = [type(x).__name__ for x in deployed.operations[:4]]
    assert "Permute" not in kinds  # the images are as the network wants them
    assert difference(expected, forward(deployed, images)) < 1e-5


def test_maps_of_a_channels_first_transformer():
    model = classifier(
        ARCHITECTURES["rest"], include_top=False, include_preprocessing=True
    )
    images = random_pixels(2, 64)
    expected = forward(model, images.transpose(0, 3, 1, 2))
    actual = forward(deploy_graph(model), images)
    assert difference(maps_of(expected), actual) < 1e-5


@pytest.mark.parametrize(
    "layer, name",
    [
        (keras_ratn.layers.AttentionModule(8, 1, data_format=FIRST), "mask"),
        (
            keras_ratn.layers.EfficientMultiHeadSelfAttention(
                2, 2, data_format=FIRST
            ),
            "scores",
        ),
    ],
    ids=["mask", "scores"],
)
def test_maps_beside_the_result(layer, name):
    inputs = keras.Input((8, 6, 4))
    options = {f"return_attention_{name}": True}
    _, beside = layer(inputs, **options)
    model = keras.Model(inputs, layers.Flatten()(beside))
    randomize(model)
    images = np.random.default_rng(0).normal(size=(2, 8, 6, 4))
    images = images.astype("float32")
    expected = forward(model, images)
    actual = forward(deploy_graph(model), maps_of(images))
    assert difference(expected, actual) < 1e-5
