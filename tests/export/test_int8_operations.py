"""What quantisation-aware models take: all that int8 files compute, no more."""

import keras
import numpy as np
import pytest
from keras import layers
from keras import ops
from tiny_models import predict
from tiny_models import random_pixels

from export import flatbuffer
from export.litert import LiteRTModel
from export.quantization_aware import quantization_aware
from export.tflite import to_tflite

IMAGES = random_pixels(24, 8)


def activation(name):
    return lambda x: layers.Activation(name)(x)


def sequence(x):
    return layers.Reshape((-1, 4))(x)


FUNCTIONS = [
    name
    for name in dir(keras.activations)
    if not name.startswith("_")
    # A channel less; takes more arguments; are no functions of numbers.
    and name not in ("glu", "threshold", "deserialize", "get", "serialize")
]
# What stands between two convolutions, or before a dense layer.
ACCEPTED = {
    "relu layer": lambda x: layers.ReLU()(x),
    "relu6 layer": lambda x: layers.ReLU(6.0)(x),
    "relu with a slope": lambda x: layers.ReLU(negative_slope=0.1)(x),
    "leaky relu layer": lambda x: layers.LeakyReLU()(x),
    "softmax layer": lambda x: layers.Softmax()(x),
    "softmax over rows": lambda x: layers.Softmax(axis=1)(x),
    "sum of two": lambda x: layers.Add()([x, layers.ReLU()(x)]),
    "sum of three": lambda x: layers.Add()(
        [x, layers.ReLU()(x), layers.MaxPooling2D(1)(x)]
    ),
    "product of two": lambda x: layers.Multiply()([x, layers.ReLU()(x)]),
    "product of three": lambda x: layers.Multiply()([x, layers.ReLU()(x), x]),
    "difference": lambda x: layers.Subtract()([x, layers.ReLU()(x)]),
    "maximum": lambda x: layers.Maximum()([x, layers.ReLU()(x)]),
    "minimum": lambda x: layers.Minimum()([x, layers.ReLU()(x)]),
    "concatenation": lambda x: layers.Concatenate(1)([x, layers.ReLU()(x)]),
    "dot product": lambda x: layers.Dot(-1)(2 * [sequence(x)]),
    "max pooling": lambda x: layers.MaxPooling2D(3, 2)(x),
    "average pooling": lambda x: layers.AveragePooling2D(3, 2, "same")(x),
    "global max": lambda x: layers.GlobalMaxPooling2D()(x),
    "global average": lambda x: layers.GlobalAveragePooling2D()(x),
    "adaptive average": lambda x: layers.AdaptiveAveragePooling2D(2)(x),
    "adaptive max": lambda x: layers.AdaptiveMaxPooling2D(2)(x),
    "cropping": lambda x: layers.Cropping2D(1)(x),
    "centre": lambda x: layers.CenterCrop(4, 4)(x),
    "padding": lambda x: layers.ZeroPadding2D(1)(x),
    "permutation": lambda x: layers.Permute((2, 1, 3))(x),
    "reshaping": lambda x: layers.Reshape((4, 9, 4))(x),
    "repetition": lambda x: layers.RepeatVector(3)(layers.Flatten()(x)),
    "nearest": lambda x: layers.UpSampling2D(2)(x),
    "bilinear": lambda x: layers.UpSampling2D(2, interpolation="bilinear")(x),
    "resizing": lambda x: layers.Resizing(9, 9)(x),
    "scale": lambda x: layers.Rescaling(2.0, 0.5)(layers.MaxPooling2D(1)(x)),
    "identity": lambda x: layers.Identity()(x),
    "lambda": lambda x: layers.Lambda(lambda y: 2 * y + 1)(x),
    "numbers": lambda x: 1 - 2 * x,
    "ops.max": lambda x: ops.max(x, axis=-1, keepdims=True),
    "ops.mean": lambda x: ops.mean(x, axis=-1, keepdims=True),
    "ops.softmax": lambda x: ops.softmax(x, axis=1),
    "ops.rsqrt": lambda x: ops.rsqrt(ops.relu(x) + 1),
    "ops.split": lambda x: ops.split(x, 2, axis=-1)[0],
    "part": lambda x: x[:, 1:4, ::2],
    "max pooling 1D": lambda x: layers.MaxPooling1D(2)(sequence(x)),
    "average pooling 1D": lambda x: layers.AveragePooling1D(2)(sequence(x)),
    "global average 1D": lambda x: layers.GlobalAveragePooling1D()(sequence(x)),
    "upsampling 1D": lambda x: layers.UpSampling1D(2)(sequence(x)),
    "padding 1D": lambda x: layers.ZeroPadding1D(2)(sequence(x)),
    "cropping 1D": lambda x: layers.Cropping1D(2)(sequence(x)),
    "dense 1D": lambda x: layers.Dense(4)(sequence(x)),
    "groups": lambda x: layers.Conv2D(4, 3, groups=2)(x),
    "dilation": lambda x: layers.Conv2D(4, 3, dilation_rate=2)(x),
    "depth": lambda x: layers.DepthwiseConv2D(3, depth_multiplier=2)(x),
    **{
        name: activation(name)
        for name in (
            "exponential",
            "gelu",
            "hard_silu",
            "hard_swish",
            "hard_tanh",
            "leaky_relu",
            "linear",
            "log_softmax",
            "relu",
            "relu6",
            "sigmoid",
            "silu",
            "soft_shrink",
            "softmax",
            "swish",
            "tanh",
            "tanh_shrink",
        )
    },
}
REFUSED = {
    "elu layer": lambda x: layers.ELU()(x),
    "prelu": lambda x: layers.PReLU()(x),
    "relu up to one": lambda x: layers.ReLU(1.0)(x),
    # The converter's file was 94 steps off, without a word.
    "relu from a threshold": lambda x: layers.ReLU(threshold=0.2)(x),
    "relu of everything": lambda x: layers.ReLU(2.0, 0.1)(x),
    "softmax over places": lambda x: layers.Softmax(axis=[1, 2])(x),
    "masked softmax": lambda x: layers.Softmax()(x, mask=x > 0),
    "mean of two": lambda x: layers.Average()([x, layers.ReLU()(x)]),
    "maximum of three": lambda x: layers.Maximum()([x, layers.ReLU()(x), x]),
    "unit normalization": lambda x: layers.UnitNormalization()(x),
    "group normalization": lambda x: layers.GroupNormalization(
        2, center=False, scale=False
    )(x),
    "layer normalization": lambda x: layers.LayerNormalization(
        center=False, scale=False
    )(x),
    "normalized pixels": lambda x: layers.Normalization(
        (1, 2), np.ones((6, 6)), np.ones((6, 6))
    )(x),
    "attention": lambda x: layers.Attention()(2 * [sequence(x)]),
    "masking": lambda x: layers.Masking(-1.0)(sequence(x)),
    "bicubic": lambda x: layers.UpSampling2D(2, interpolation="bicubic")(x),
    "bicubic resizing": lambda x: layers.Resizing(9, 9, "bicubic")(x),
    "numbers of channels": lambda x: x + np.arange(4.0),
    "ops.square": lambda x: ops.square(x),
    "own function": lambda x: layers.Activation(lambda y: ops.square(y))(x),
    **{name: activation(name) for name in FUNCTIONS if name not in ACCEPTED},
}


def model_with(part):
    keras.utils.set_random_seed(1)
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3)(layers.Rescaling(1 / 255)(inputs))
    x = part(x)
    if len(x.shape) == 4:
        x = layers.GlobalAveragePooling2D()(layers.Conv2D(6, 1)(x))
    return keras.Model(inputs, layers.Dense(4)(layers.Flatten()(x)))


@pytest.mark.parametrize("part", REFUSED.values(), ids=REFUSED)
def test_refuses_before_training_what_no_file_can_hold(part):
    with pytest.raises(ValueError, match="every step can be rounded"):
        quantization_aware(model_with(part), [IMAGES])


@pytest.mark.slow
@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="written with TensorFlow"
)
@pytest.mark.parametrize("part", ACCEPTED.values(), ids=ACCEPTED)
def test_what_is_accepted_becomes_an_integer_file(part, tmp_path):
    aware = quantization_aware(model_with(part), [IMAGES])
    path = to_tflite(aware, tmp_path / "m.tflite", "int8")
    assert not flatbuffer.float_operations(path)
    expected = predict(aware, IMAGES)
    step = np.ptp(expected) / 255
    scores = LiteRTModel(path).predict(IMAGES)["scores"]
    assert np.abs(scores - expected).max() < 3.5 * step


# How far off the converter leaves functions that it takes apart, where that is
# more than a twentieth of the scores' range.
COARSE = {"celu": 0.1, "hard_shrink": 0.1, "sparse_plus": 0.4}


@pytest.mark.slow
@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="written with TensorFlow"
)
@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_becomes_a_file_without_training(name, tmp_path):
    model = model_with(REFUSED[name])
    try:
        path = to_tflite(model, tmp_path / "m.tflite", "int8", [IMAGES])
    except ValueError as error:
        assert "LiteRT" in str(error)
        return
    expected = predict(model, IMAGES)
    scores = LiteRTModel(path).predict(IMAGES)["scores"]
    limit = COARSE.get(name, 0.05) * np.ptp(expected)
    assert np.abs(scores - expected).max() < limit
