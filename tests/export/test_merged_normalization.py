import dataclasses

import keras
import numpy as np
import pytest
from tiny_models import difference
from tiny_models import forward
from tiny_models import random_pixels
from tiny_models import TINY
from tiny_models import tiny_model

from export.deploy_graph import deploy_graph
from export.merged_normalization import merge_normalizations
from keras_ratn.layers import BilinearUpsampling2D


def convolution(filters=1, **options):
    return keras.layers.Conv2D(filters, options.pop("size", 1), **options)


def normalized(x, name):
    """Normalization and ReLU, as a deploy graph has them."""
    x = keras.layers.DepthwiseConv2D(1, name=name)(x)
    return keras.layers.ReLU()(x)


def random_weights(model, seed=0):
    """Weights of any sign, but positive scales of the normalizations."""
    rng = np.random.default_rng(seed)
    for layer in model.layers:
        weights = [rng.normal(size=w.shape) for w in layer.get_weights()]
        if layer.name.startswith("normalization"):
            weights[0] = rng.uniform(0.5, 2, weights[0].shape)
            weights[1] *= 0.3
        layer.set_weights(weights)
    return model


def check(model, left=(), sums=(), widths=None):
    """The same results, with these normalizations left as convolutions, or as
    sums with constants."""
    shape = model.input_shape[1:]
    images = np.random.default_rng(1).normal(size=(3, *shape)).astype("float32")
    merged = merge_normalizations(model, widths)
    assert difference(forward(model, images), forward(merged, images)) < 1e-5
    found = [n for n in names(merged) if n.startswith("normalization")]
    assert found == [*left, *(f"{name}_shift" for name in sums)]
    return merged


def names(model):
    return [layer.name for layer in model.layers]


def test_moves_scale_behind_and_shift_before():
    # x = 2 p + 1, normalized to 4 x + 6 = 4 (x + 1.5), then times 3 plus 1;
    # the sum x + branch is normalized to 2 (...) + 1 = 2 (... + 0.5), times 7.
    inputs = keras.Input((1, 1, 1))
    x = convolution(name="first")(inputs)
    branch = convolution(name="branch")(normalized(x, "normalization1"))
    total = keras.layers.Add()([x, branch])
    outputs = convolution(name="last")(normalized(total, "normalization2"))
    model = keras.Model(inputs, outputs)
    for name, kernel, bias in (
        ("first", 2, 1),
        ("normalization1", 4, 6),
        ("branch", 3, 1),
        ("normalization2", 2, 1),
        ("last", 7, 5),
    ):
        weights = [np.full((1, 1, 1, 1), kernel), np.array([bias])]
        model.get_layer(name).set_weights(weights)
    merged = check(model)
    weights = {
        name: [
            float(w.ravel()[0]) for w in merged.get_layer(name).get_weights()
        ]
        for name in ("first", "branch", "last")
    }
    # The sum is to be shifted by 0.5, and x already is by 1.5.
    assert weights == {"first": [2, 2.5], "branch": [12, 0], "last": [14, 5]}
    bounds = [n for n in names(merged) if n.endswith("_bound")]
    assert len(bounds) == 2


@pytest.mark.parametrize(
    "make",
    [
        keras.layers.MaxPooling2D,
        lambda: keras.layers.MaxPooling2D(3, 2, padding="same"),
        lambda: keras.layers.AveragePooling2D(3, 2, padding="same"),
        lambda: keras.layers.UpSampling2D(interpolation="bilinear"),
        lambda: BilinearUpsampling2D(),
    ],
    ids=["max", "max padded", "average padded", "up", "bilinear"],
)
def test_shifts_pass_pooling_and_enlargement(make):
    # Of two normalizations that want other shifts, the one before pooling
    # is merged; the one behind takes the shift off in its sum.
    inputs = keras.Input((4, 4, 2))
    x = convolution(3)(inputs)
    outputs = []
    for number, y in enumerate((x, make()(x)), 1):
        y = convolution(2)(normalized(y, f"normalization{number}"))
        outputs.append(keras.layers.GlobalAveragePooling2D()(y))
    model = keras.Model(inputs, keras.layers.Concatenate()(outputs))
    check(random_weights(model), sums=["normalization2"])


def test_a_normalization_behind_an_enlargement():
    inputs = keras.Input((4, 4, 2))
    x = convolution(3)(inputs)
    x = keras.layers.Add()([x, convolution(3, size=3, padding="same")(x)])
    x = keras.layers.UpSampling2D(interpolation="bilinear")(x)
    x = normalized(x, "normalization")
    x = keras.layers.ZeroPadding2D(1)(x)
    outputs = convolution(4, size=3)(x)
    # The padded convolution of x wants it as it is; the sum may be shifted.
    check(random_weights(keras.Model(inputs, outputs)))


@pytest.mark.parametrize(
    "reader",
    [
        lambda: convolution(6, size=3, groups=3, padding="same"),
        lambda: convolution(6, groups=2),
        lambda: keras.layers.DepthwiseConv2D(3, depth_multiplier=2),
        lambda: keras.Sequential(
            [keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(4)]
        ),
    ],
    ids=["groups padded", "groups", "depthwise", "dense"],
)
def test_kernels_that_take_the_scale(reader):
    inputs = keras.Input((4, 4, 2))
    x = normalized(convolution(6)(inputs), "normalization")
    layers = reader()
    for layer in getattr(layers, "layers", [layers]):
        x = layer(x)
    check(random_weights(keras.Model(inputs, x)))


@pytest.mark.parametrize(
    "reader",
    [
        lambda: convolution(6, groups=2),
        lambda: keras.layers.DepthwiseConv2D(1, depth_multiplier=2),
        lambda: convolution(3, size=3),
    ],
    ids=["groups", "depthwise", "without padding"],
)
def test_convolutions_that_take_the_shift_off(reader):
    inputs = keras.Input((4, 4, 2))
    x = convolution(6)(inputs)
    y = convolution(2)(normalized(x, "normalization"))
    outputs = [
        keras.layers.GlobalAveragePooling2D()(y) for y in (y, reader()(x))
    ]
    outputs = keras.layers.Concatenate()(outputs)
    check(random_weights(keras.Model(inputs, outputs)))


def test_sums_with_constants_where_no_convolution_can_shift():
    # x x is normalized to 4 (...) + 3 = 4 (... + 0.75), then times 3.
    inputs = keras.Input((1, 1, 1))
    x = keras.layers.Multiply()([inputs, inputs])
    outputs = convolution(name="last")(normalized(x, "normalization"))
    model = keras.Model(inputs, outputs)
    for name, kernel, bias in (("normalization", 4, 3), ("last", 3, 1)):
        weights = [np.full((1, 1, 1, 1), kernel), np.array([bias])]
        model.get_layer(name).set_weights(weights)
    merged = check(model, sums=["normalization"])
    assert merged.get_layer("normalization_shift").offset == [0.75]
    kernel, bias = merged.get_layer("last").get_weights()
    assert (float(kernel.ravel()[0]), float(bias[0])) == (12, 1)


@pytest.mark.parametrize(
    "shifts, widths, is_sum",
    [
        ((-2, 1, 1.9), None, True),  # as spread as 3.9 channels
        ((-2, 1, 2.1), None, False),
        ((2.1, 3, 4.1), None, False),  # zero belongs to them
        ((-2, 1, 2.1), (1, 1.1, 1.1), True),
        ((-2, 1, 1.9), (0.9, 0.9, 1), False),
    ],
)
def test_constants_do_not_spread_too_far(shifts, widths, is_sum):
    inputs = keras.Input((4, 4, 2))
    x = convolution(3)(inputs)
    x = normalized(keras.layers.Multiply()([x, x]), "normalization")
    model = random_weights(keras.Model(inputs, convolution(2)(x)))
    scales = np.ones((1, 1, 3, 1))
    model.get_layer("normalization").set_weights([scales, np.array(shifts)])
    widths = widths and {"normalization": np.array(widths)}
    kept = ["normalization"]
    check(model, [] if is_sum else kept, kept if is_sum else [], widths)


def test_a_product_gets_its_factors_as_they_are():
    # (1 + M) T: T is the sum at the end of a branch with normalizations.
    inputs = keras.Input((4, 4, 2))
    x = convolution(3)(inputs)
    trunk = convolution(3)(normalized(x, "normalization1"))
    trunk = keras.layers.Add()([x, trunk])
    mask = keras.layers.Activation("sigmoid")(convolution(3)(x))
    product = keras.layers.Multiply()([mask, trunk])
    x = keras.layers.Add()([product, trunk])
    outputs = convolution(2)(normalized(x, "normalization2"))
    # No convolution is added last before the second.
    model = random_weights(keras.Model(inputs, outputs))
    check(model, sums=["normalization2"])


@pytest.mark.parametrize(
    "scales, widths, merges",
    [
        ((1, 2, -1), None, False),
        ((1, 2, 0), None, False),
        # One channel 8.1 times as wide as most is too much for 8 bits.
        ((1, 1, 1 / 8.1), None, False),
        ((1, 1, 1 / 7.9), None, True),
        ((1, 1, 10), None, True),
        ((1, 1, 1 / 8.1), (2, 1, 7.9), True),
        ((1, 1, 1), (1, 1, 8.1), False),
    ],
)
def test_scales_are_positive_and_no_channel_too_wide(scales, widths, merges):
    inputs = keras.Input((4, 4, 2))
    x = normalized(convolution(3)(inputs), "normalization")
    model = random_weights(keras.Model(inputs, convolution(2)(x)))
    layer = model.get_layer("normalization")
    _, bias = layer.get_weights()
    layer.set_weights([np.reshape(scales, (1, 1, 3, 1)), bias])
    widths = widths and {"normalization": np.array(widths)}
    check(model, left=[] if merges else ["normalization"], widths=widths)


def test_channels_rescaled_between_normalization_and_kernel_change_nothing():
    # What leaves a network as it is, and is hard on 8 bits where a
    # normalization stays an operation of its own.
    def kernels(factors):
        inputs = keras.Input((4, 4, 2))
        x = convolution(3, name="first")(inputs)
        y = keras.layers.BatchNormalization(name="normalization")(x)
        y = convolution(3, name="last")(keras.layers.ReLU()(y))
        outputs = keras.layers.Add()([x, y])
        model = random_weights(keras.Model(inputs, outputs))
        normalization = model.get_layer("normalization")
        gamma, beta, mean, variance = normalization.get_weights()
        gamma, variance = np.abs(gamma) + 0.5, np.abs(variance) + 0.5
        normalization.set_weights(
            [gamma * factors, beta * factors, mean, variance]
        )
        kernel, bias = model.get_layer("last").get_weights()
        kernel = kernel / factors[:, None]
        model.get_layer("last").set_weights([kernel, bias])
        merged = deploy_graph(model, integers=True)
        assert not any(
            isinstance(layer, keras.layers.DepthwiseConv2D)
            for layer in merged.layers
        )
        return [
            weights
            for name in ("first", "last")
            for weights in merged.get_layer(name).get_weights()
        ]

    for plain, rescaled in zip(
        kernels(np.ones(3)), kernels(np.array([1 / 16, 1, 16]))
    ):
        np.testing.assert_allclose(rescaled, plain, rtol=1e-5)


def reader_with_padding(x, y):
    return y, convolution(2, size=3, padding="same")(x)


def reader_is_the_output(x, y):
    return y, x


@pytest.mark.parametrize("ends", [reader_with_padding, reader_is_the_output])
def test_leaves_a_sum_where_a_shift_cannot_be_undone(ends):
    inputs = keras.Input((4, 4, 2))
    x = convolution(3)(inputs)
    y = convolution(2)(normalized(x, "normalization"))
    outputs = [keras.layers.GlobalAveragePooling2D()(z) for z in ends(x, y)]
    model = keras.Model(inputs, keras.layers.Concatenate()(outputs))
    check(random_weights(model), sums=["normalization"])


def test_leaves_a_normalization_whose_scale_no_kernel_takes():
    inputs = keras.Input((4, 4, 2))
    x = normalized(convolution(3)(inputs), "normalization")
    outputs = keras.layers.Activation("tanh")(x)
    check(random_weights(keras.Model(inputs, outputs)), left=["normalization"])


@pytest.mark.parametrize(
    "relu",
    [{"max_value": 6.0}, {"negative_slope": 0.1}, {"threshold": 0.5}],
    ids=str,
)
def test_leaves_other_relus(relu):
    inputs = keras.Input((4, 4, 2))
    x = convolution(3)(inputs)
    x = keras.layers.DepthwiseConv2D(1, name="normalization")(x)
    x = keras.layers.ReLU(**relu)(x)
    model = random_weights(keras.Model(inputs, convolution(2)(x)))
    check(model, left=["normalization"])


# Options -> normalizations of the deploy graph, and those of which a sum is
# left: behind each product, each pooling whose input has one of its own (with
# local convolution, of the two that read a module's input, one), and
# enlargements that are convolutions or dense layers.
NETWORKS = {
    "residual": ({}, 24, 5),
    "inception": ({"unit": "inception"}, 24, 5),
    "local": ({"mask_structure": "local_convolution"}, 23, 4),
    "transpose": ({"interpolation": "transpose"}, 24, 7),
    "align_corners": ({"interpolation": "bilinear_align_corners"}, 24, 7),
}


@pytest.mark.parametrize(
    "options, number, sums", NETWORKS.values(), ids=NETWORKS
)
def test_networks(options, number, sums):
    model = tiny_model(
        architecture=dataclasses.replace(TINY, num_pre_units=2, **options),
        input_shape=(37, 37, 3),
        classifier_activation=None,
    )
    graphs = [deploy_graph(model, integers=i) for i in (False, True)]
    found = [
        sum(layer.name.endswith(end) for layer in graph.layers)
        for graph, end in zip(graphs, (("bn", "bn1"), "_shift"))
    ]
    assert found == [number, sums]
    kinds = [type(layer).__name__ for layer in graphs[1].layers]
    # The enlargements that are convolutions.
    depthwise = 3 * (options.get("interpolation") == "transpose")
    assert kinds.count("DepthwiseConv2D") == depthwise
    images = random_pixels(2, 40)[:, :37, :37]
    assert difference(forward(model, images), forward(graphs[1], images)) < 1e-5
