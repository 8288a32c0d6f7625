"""The properties and the errors of the attention family's layers."""

import dataclasses

import keras
import numpy as np
import pytest
from keras import ops
from layer_checks import check_layer
from layer_checks import random_images

from keras_ratn import layers

SHAPE = (2, 9, 7, 8)  # odd and not square
HALF = (2, 5, 4, 8)
VECTOR = (2, 1, 1, 8)


@dataclasses.dataclass(frozen=True)
class Case:
    """A layer, what it returns, and how many weights it has for 8 channels."""

    name: str
    options: dict
    trainable: int
    non_trainable: int = 0
    output_shape: tuple = SHAPE
    # The map that the layer can return too, and the flag that asks for it.
    flag: str = "return_attention_mask"
    map_shape: tuple = SHAPE


SCORES = {"flag": "return_attention_scores"}
PSA = {"kernel_sizes": (3, 5), "groups": (1, 2), "reduction_ratio": 2}

CASES = [
    # channel branch 8-2-8, spatial branch 8-2-2-2-1, BN of 2 four times
    Case("bam", {"reduction_ratio": 4}, 18 + 4 + 24 + 18 + 76 + 12 + 3, 16),
    Case(
        "bam_sum",
        {"reduction_ratio": 4, "normalization": "final"},
        18 + 24 + 16 + 18 + 76 + 3 + 2,
        18,
    ),
    Case("cbam", {"reduction_ratio": 4}, 18 + 24 + 98 + 2, 2),
    Case("se", {"reduction_ratio": 4}, 18 + 24, map_shape=VECTOR),
    Case("se", {"reduction_ratio": 4, "use_bias": False}, 32, map_shape=VECTOR),
    Case("se_var2", {}, 8, map_shape=VECTOR),
    Case("se_var3", {}, 64, map_shape=VECTOR),
    Case("se_gc", {"groups": 4}, 16, map_shape=VECTOR),
    Case("se_gc", {"group_size": 4}, 32, map_shape=VECTOR),
    Case("eca", {}, 3, map_shape=VECTOR),
    Case("eca_adaptive", {}, 3, map_shape=VECTOR),
    Case("eca_ns", {"kernel_size": 5}, 40, map_shape=VECTOR),
    Case("sc", {}, 3 * (576 + 16), 3 * 16),
    Case("sc", {"strides": 2}, 3 * (576 + 16), 3 * 16, HALF),
    Case("sc", {"dilation_rate": 2}, 3 * (576 + 16), 3 * 16),
    Case("psa", PSA, 9 * 32 + 25 * 16 + 10 + 12, map_shape=VECTOR),
    Case(
        "psa",
        {**PSA, "strides": 2},
        9 * 32 + 25 * 16 + 10 + 12,
        0,
        HALF,
        map_shape=VECTOR,
    ),
    Case(
        "position",
        {},
        9 + 9 + 72 + 1,
        0,
        SHAPE,
        **SCORES,
        map_shape=(2, 63, 63),
    ),
    Case("channel_affinity", {}, 1, 0, SHAPE, **SCORES, map_shape=(2, 8, 8)),
    Case(
        "emsa",
        {"num_heads": 2, "spatial_reduction_ratio": 2},
        # q, kv, output; depthwise 3x3 and norm; mixing of 2 heads
        72 + 144 + 72 + 80 + 16 + 6,
        0,
        SHAPE,
        **SCORES,
        map_shape=(2, 2, 63, 5 * 4),
    ),
    Case(
        "emsa",
        {"spatial_reduction_ratio": 3},
        # depthwise 4x4 and norm
        72 + 144 + 72 + 136 + 16,
        0,
        SHAPE,
        **SCORES,
        map_shape=(2, 1, 63, 3 * 2),
    ),
    Case(
        "emsa", {}, 72 + 144 + 72, 0, SHAPE, **SCORES, map_shape=(2, 1, 63, 63)
    ),
    Case("pixel", {}, 80),
    Case(
        "external",
        {"memory_size": 4},
        72 + 32 + 32 + 64 + 16,
        16,
        SHAPE,
        **SCORES,
        map_shape=(2, 63, 4),
    ),
    Case("highway", {}, 2 * (576 + 8)),
    Case(
        "spatial_transformer",
        {"filters": 4},
        (9 * 8 * 4 + 4) + (9 * 16 + 4) + 12 * 6 + 6,
        flag="return_theta",
        map_shape=(2, 2, 3),
    ),
    Case(
        "spatial_transformer",
        {"filters": 4, "output_size": (5, 4), "align_corners": False},
        (9 * 8 * 4 + 4) + (9 * 16 + 4) + 12 * 6 + 6,
        0,
        HALF,
        flag="return_theta",
        map_shape=(2, 2, 3),
    ),
    Case(
        "dual",
        {"classes": 3, "filters": 8},
        4 * (576 + 16) + (9 + 9 + 72 + 1) + 1 + 27,
        4 * 16 + 2,  # and the state of the dropout's random numbers
        (2, 9, 7, 3),
        flag="",
    ),
]


def _id(case):
    options = "-".join(f"{k}={v}" for k, v in case.options.items())
    return f"{case.name}-{options}".rstrip("-")


def _class_of(case):
    return type(layers.get(case.name, **case.options))


def _options_of(case):
    """All arguments, those that the short name stands for included."""
    config = layers.get(case.name, **case.options).get_config()
    for key in ("name", "dtype", "trainable", "data_format"):
        config.pop(key)
    return config


@pytest.mark.parametrize("case", CASES, ids=_id)
def test_layer_keeps_the_contract(case):
    check_layer(
        _class_of(case),
        _options_of(case),
        SHAPE,
        case.output_shape,
        num_trainable=case.trainable,
        num_non_trainable=case.non_trainable,
    )


def test_weightless_gate_keeps_the_contract():
    # Without weights there is no training step to take.
    check_layer(
        layers.SqueezeExcite,
        {"variant": "var1"},
        SHAPE,
        SHAPE,
        num_trainable=0,
        training_step=False,
    )


def test_multi_head_external_attention_keeps_the_contract():
    check_layer(
        layers.MultiHeadExternalAttention,
        {"num_heads": 2, "memory_size": 4, "dropout_rate": 0.1},
        (2, 9, 8),
        (2, 9, 8),
        num_trainable=(8 + 1) * 32 + (4 + 1) * 4 + (4 + 1) * 4 + 33 * 8,
        dynamic_size=False,
        data_formats=(None,),
    )


def test_double_normalization_keeps_the_contract():
    check_layer(
        layers.DoubleNormalization,
        {},
        (2, 9, 8),
        (2, 9, 8),
        num_trainable=0,
        dynamic_size=False,
        data_formats=(None,),
        training_step=False,
    )


def test_double_normalization_against_numpy():
    x = random_images((2, 9, 4))
    expected = np.exp(x) / np.exp(x).sum(axis=1, keepdims=True)
    expected = expected / (1e-9 + expected.sum(axis=2, keepdims=True))
    np.testing.assert_allclose(
        ops.convert_to_numpy(layers.DoubleNormalization()(x)),
        expected,
        rtol=1e-5,
    )


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize("case", [c for c in CASES if c.flag], ids=_id)
def test_layer_returns_its_map(case, data_format):
    """The flag adds the map, of the shape said before, to the same outputs."""
    layer = layers.get(case.name, **case.options, data_format=data_format)
    x = random_images(SHAPE)
    if data_format == "channels_first":
        x = x.transpose(0, 3, 1, 2)
    shape = (None, *x.shape[1:])
    symbolic = layer(keras.Input(batch_shape=x.shape), **{case.flag: True})
    inputs = keras.Input(batch_shape=shape)
    model = keras.Model(inputs, layer(inputs, **{case.flag: True}))
    outputs, attention = model.predict(x, verbose=0)
    assert symbolic[1].shape == attention.shape
    expected = case.map_shape
    if data_format == "channels_first" and len(expected) == 4:
        if case.flag == "return_attention_mask":
            expected = tuple(np.array(expected)[[0, 3, 1, 2]])
    assert attention.shape == expected
    plain = keras.Model(inputs, layer(inputs)).predict(x, verbose=0)
    np.testing.assert_allclose(outputs, plain, rtol=1e-5, atol=1e-6)


def test_both_layouts_compute_the_same():
    x = random_images((2, 9, 7, 8))
    for case in CASES:
        last = layers.get(case.name, **case.options)
        first = layers.get(
            case.name, **case.options, data_format="channels_first"
        )
        inputs = keras.Input((9, 7, 8))
        last_model = keras.Model(inputs, last(inputs))
        inputs = keras.Input((8, 9, 7))
        first_model = keras.Model(inputs, first(inputs))
        first.set_weights(last.get_weights())
        expected = last_model.predict(x, verbose=0)
        actual = first_model.predict(x.transpose(0, 3, 1, 2), verbose=0)
        np.testing.assert_allclose(
            actual.transpose(0, 2, 3, 1),
            expected,
            rtol=1e-4,
            atol=1e-5,
            err_msg=_id(case),
        )


def test_dual_attention_returns_branches_and_scores():
    layer = layers.DualAttention(3, filters=8, auxiliary_outputs=True)
    symbolic = layer(
        keras.Input(batch_shape=SHAPE), return_attention_scores=True
    )
    eager = layer(random_images(SHAPE), return_attention_scores=True)
    shapes = [(2, 9, 7, 3)] * 3 + [(2, 63, 63), (2, 8, 8)]
    assert [tuple(s.shape) for s in symbolic] == shapes
    assert [tuple(e.shape) for e in eager] == shapes


@pytest.mark.parametrize(
    "name, options, size",
    [
        ("psa", {**PSA, "strides": 2}, 2),
        ("sc", {"strides": 2}, 4),
        ("spatial_transformer", {}, 1),
    ],
)
def test_strided_layers_take_maps_smaller_than_their_kernels(
    name, options, size
):
    outputs = layers.get(name, **options)(random_images((1, size, size, 8)))
    rest = -(-size // options.get("strides", 1))
    assert tuple(outputs.shape) == (1, rest, rest, 8)


def test_an_image_of_nan_leaves_the_rest_of_its_batch():
    layer = layers.SpatialTransformer(filters=4)
    x = random_images(SHAPE)
    layer.build(SHAPE)
    layer.localization.kernel.assign(
        0.1 * random_images(layer.localization.kernel.shape)
    )
    expected = ops.convert_to_numpy(layer(x))
    x[0] = np.nan
    actual = ops.convert_to_numpy(layer(x))
    assert np.isnan(actual[0]).all()
    np.testing.assert_array_equal(actual[1], expected[1])


def test_gates_are_closed_and_open_by_their_mask():
    """With its last dense layer at -inf or inf, a gate returns 0 or x."""
    x = random_images(SHAPE)
    layer = layers.SqueezeExcite(reduction_ratio=4)
    layer(x)
    for bias, expected in ((-1e4, 0 * x), (1e4, x)):
        layer.excite.bias.assign([bias] * 8)
        np.testing.assert_allclose(
            ops.convert_to_numpy(layer(x)), expected, atol=1e-6
        )


def test_highway_gate_starts_near_the_identity():
    x = random_images(SHAPE)
    outputs, mask = layers.HighwayGate(gate_bias=-30.0)(
        x, return_attention_mask=True
    )
    assert ops.convert_to_numpy(mask).max() < 1e-6
    np.testing.assert_allclose(ops.convert_to_numpy(outputs), x, atol=1e-4)


@pytest.mark.parametrize("name", ["position", "channel_affinity"])
def test_danet_layers_start_as_the_identity(name):
    x = random_images(SHAPE)
    outputs = layers.get(name)(x)
    np.testing.assert_array_equal(ops.convert_to_numpy(outputs), x)


def test_scores_of_positions_sum_to_one():
    _, scores = layers.PositionAttention()(
        random_images(SHAPE), return_attention_scores=True
    )
    np.testing.assert_allclose(
        ops.convert_to_numpy(ops.sum(scores, axis=-1)), 1, rtol=1e-5
    )


def test_instance_normalized_scores_have_no_mean():
    _, scores = layers.EfficientMultiHeadSelfAttention(2)(
        10 * random_images(SHAPE), return_attention_scores=True
    )
    mean = ops.convert_to_numpy(ops.mean(scores, axis=(2, 3)))
    np.testing.assert_allclose(mean, 0, atol=1e-5)


@pytest.mark.parametrize(
    "channels, taps",
    [(16, 3), (64, 3), (128, 5), (256, 5), (1024, 5), (2048, 7)],
)
def test_eca_rule(channels, taps):
    cls = layers.EfficientChannelAttention
    assert cls.adaptive_kernel_size(channels) == taps


def test_half_precision_keeps_the_double_normalization():
    """Shares of many tokens underflow in float16 unless computed higher."""
    x = random_images((1, 32, 32, 8)).astype("float16")
    _, scores = layers.ExternalAttention(4, dtype="mixed_float16")(
        x, return_attention_scores=True
    )
    total = ops.convert_to_numpy(ops.sum(ops.cast(scores, "float32"), -1))
    np.testing.assert_allclose(total, 1, atol=0.01)


def test_registry():
    names = layers.list_attention_layers()
    assert names == sorted(names)
    for name in names:
        options = {"classes": 2} if name == "dual" else {}
        assert isinstance(layers.get(name, **options), keras.Layer)
    layer = layers.get("eca", kernel_size=5)
    assert isinstance(layer, layers.EfficientChannelAttention)
    assert layer.kernel_size == 5
    with pytest.raises(ValueError, match="must be one of .*'eca'.*nothing"):
        layers.get("nothing")


def _call(layer, shape=SHAPE):
    layer(keras.Input(batch_shape=shape))


@pytest.mark.parametrize(
    "make, message",
    [
        (
            lambda: _call(layers.SqueezeExcite()),
            "reduction_ratio=16 for 8 channels",
        ),
        (
            lambda: _call(layers.BottleneckAttentionModule()),
            "reduction_ratio=16 for 8 channels",
        ),
        (
            lambda: _call(layers.ConvolutionalBlockAttention()),
            "reduction_ratio=16 for 8 channels",
        ),
        (
            lambda: _call(layers.PositionAttention(16)),
            "reduction_ratio=16 for 8 channels",
        ),
        (
            lambda: _call(layers.SqueezeExcite(variant="grouped", groups=3)),
            "divisible by `groups`. Received: 8 is not divisible by 3",
        ),
        (
            lambda: _call(
                layers.SqueezeExcite(variant="grouped", group_size=3)
            ),
            "divisible by `group_size`. Received: 8 is not divisible by 3",
        ),
        (
            lambda: layers.SqueezeExcite(variant="var4"),
            "`variant` must be one of",
        ),
        (
            lambda: layers.EfficientChannelAttention(4),
            "must be odd.*Received: kernel_size=4",
        ),
        (
            lambda: layers.ConvolutionalBlockAttention(kernel_size=2),
            "must be odd.*Received: kernel_size=2",
        ),
        (
            lambda: layers.BottleneckAttentionModule(combine="mean"),
            "`combine` must be one of",
        ),
        (
            lambda: layers.BottleneckAttentionModule(normalization="none"),
            "`normalization` must be one of",
        ),
        (
            lambda: _call(layers.PyramidSqueezeAttention(), (2, 9, 7, 6)),
            "divisible by the number of branches. Received: 6",
        ),
        (
            lambda: _call(layers.PyramidSqueezeAttention()),
            "divisible by its entry in `groups`. Received: 2",
        ),
        (
            lambda: layers.PyramidSqueezeAttention((3, 5), (1,)),
            "one entry for each branch",
        ),
        (
            lambda: layers.PyramidSqueezeAttention((3, 4), (1, 1)),
            r"must be odd.*kernel_sizes=\(3, 4\)",
        ),
        (
            lambda: _call(layers.SelfCalibratedConv2D(), (2, 3, 9, 8)),
            r"at least its `pool_size`. Received: input_shape=\(2, 3, 9, 8\)",
        ),
        (
            lambda: layers.SelfCalibratedConv2D(strides=2, dilation_rate=2),
            "cannot be strided and dilated",
        ),
        (
            lambda: layers.ChannelAffinityAttention("alike"),
            "`affinity` must be one of",
        ),
        (
            lambda: layers.DualAttention(0),
            "`classes` must be an integer of at least 1",
        ),
        (
            lambda: _call(layers.EfficientMultiHeadSelfAttention(3)),
            "divisible by `num_heads`. Received: 8 is not divisible by 3",
        ),
        (
            lambda: _call(layers.MultiHeadExternalAttention(3), (2, 9, 8)),
            "divisible by `num_heads`. Received: 8 is not divisible by 3",
        ),
        (
            lambda: layers.ExternalAttention(0),
            "`memory_size` must be an integer of at least 1",
        ),
        (
            lambda: layers.SpatialTransformer((0, 4)),
            "`output_size` must be an integer of at least 1",
        ),
        (
            lambda: layers.SpatialTransformer((4, 0)),
            "`output_size` must be an integer of at least 1",
        ),
        (
            lambda: layers.SpatialTransformer(4),
            "must be a pair of integers.*Received: output_size=4",
        ),
        (
            lambda: _call(layers.DualAttention(3)),
            "at least 8 filters.*filters=None for 8 channels, which makes 2",
        ),
        (
            lambda: layers.DualAttention(3, affinity="alike"),
            "`affinity` must be one of",
        ),
        (
            lambda: layers.PyramidSqueezeAttention((3, 5), (1, 0)),
            "`groups` must be an integer of at least 1",
        ),
        (
            lambda: layers.PyramidSqueezeAttention((3, 0), (1, 1)),
            "`kernel_sizes` must be an integer of at least 1",
        ),
        (
            lambda: layers.HighwayGate(data_format="rows_first"),
            "`data_format` must be one of",
        ),
    ],
)
def test_errors(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    "name, arguments",
    [
        ("bam", ["reduction_ratio", "dilation_rate"]),
        ("cbam", ["reduction_ratio", "kernel_size"]),
        ("dual", ["filters"]),
        ("eca", ["kernel_size"]),
        ("emsa", ["num_heads", "spatial_reduction_ratio"]),
        ("external", ["memory_size"]),
        ("highway", ["kernel_size"]),
        ("multi_head_external", ["num_heads", "expansion", "memory_size"]),
        ("position", ["reduction_ratio"]),
        ("psa", ["strides", "reduction_ratio"]),
        ("sc", ["strides", "dilation_rate", "pool_size"]),
        ("se", ["reduction_ratio", "groups", "group_size"]),
        ("spatial_transformer", ["filters"]),
    ],
)
def test_integer_arguments_errors(name, arguments):
    options = {"classes": 3} if name == "dual" else {}
    for argument in arguments:
        with pytest.raises(ValueError, match=f"`{argument}` must be an integ"):
            layers.get(name, **options, **{argument: 0})


def test_self_calibrated_conv_checks_sizes_after_it_is_built():
    layer = layers.SelfCalibratedConv2D()
    layer(random_images(SHAPE))
    with pytest.raises(ValueError, match="at least its `pool_size`"):
        layer(random_images((2, 9, 3, 8)))
