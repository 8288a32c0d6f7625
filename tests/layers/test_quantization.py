import keras
import numpy as np
import pytest
from keras import ops
from layer_checks import check_layer

from keras_ratn.layers import FakeQuantization
from keras_ratn.layers import QuantizationAwareConv2D
from keras_ratn.layers import QuantizationAwareDense
from keras_ratn.layers import QuantizationAwareDepthwiseConv2D
from keras_ratn.layers import QuantizationAwareRescaling


def test_fake_quantization_has_the_properties_of_a_layer():
    layer = FakeQuantization(-1.0, 2.0, momentum=0.5)
    twin = FakeQuantization.from_config(layer.get_config())
    assert twin.get_config() == layer.get_config()


@pytest.mark.parametrize(
    "cls, kwargs, channels",
    [
        (QuantizationAwareConv2D, {"filters": 4, "kernel_size": 3}, 4),
        (QuantizationAwareDepthwiseConv2D, {"kernel_size": 3}, 3),
    ],
)
def test_convolutions_have_the_properties_of_layers(cls, kwargs, channels):
    check_layer(
        cls,
        {**kwargs, "padding": "same"},
        (2, 6, 6, 3),
        (2, 6, 6, channels),
        data_formats=("channels_last",),
        dynamic_size=False,
    )


def test_rounds_to_256_values_in_the_range():
    layer = FakeQuantization(-1.0, 3.0)
    x = np.linspace(-2, 4, 1001).astype("float32")
    y = ops.convert_to_numpy(layer(x))
    step = 4 / 255
    assert len(np.unique(np.rint(y / step))) == 256
    inside = (x > -1) & (x < 3)
    assert np.abs(y - x)[inside].max() <= 0.51 * step
    # The zero point is an integer, so the ends may move by half a step.
    assert abs(y.min() + 1) < step and abs(y.max() - 3) < step
    assert 0.0 in y


def test_range_follows_training_and_holds_zero():
    layer = FakeQuantization(-4.0, 4.0, momentum=0.75)
    x = ops.array([[1.0, 12.0]])
    layer(x)
    assert float(layer.upper) == 4.0
    layer(x, training=True)
    assert float(layer.upper) == 0.75 * 4 + 0.25 * 12
    assert float(layer.lower) == 0.75 * -4  # towards 0, not towards 1
    fixed = FakeQuantization(-4.0, 4.0, fixed=True)
    fixed(x, training=True)
    assert float(fixed.upper) == 4.0


def test_kernels_have_127_steps_each_way_in_every_channel():
    layer = QuantizationAwareConv2D(2, 1, use_bias=False)
    layer.build((None, 4, 4, 3))
    kernel = np.array([[0.5, 100.0], [0.301, -60.2], [-0.2, 7.1]])
    layer.set_weights([kernel.reshape(1, 1, 3, 2).astype("float32")])
    rows = np.eye(3, dtype="float32").reshape(3, 1, 1, 3)
    rounded = ops.convert_to_numpy(layer(rows)).reshape(3, 2)
    scale = np.abs(kernel).max(0) / 127
    expected = np.rint(kernel / scale) * scale
    np.testing.assert_allclose(rounded, expected, rtol=1e-5)


def test_dense_kernel_has_one_scale():
    layer = QuantizationAwareDense(2, use_bias=False)
    layer.build((None, 2))
    kernel = np.array([[0.3, 100.0], [0.5, -60.2]], "float32")
    layer.set_weights([kernel])
    rounded = ops.convert_to_numpy(layer(np.eye(2, dtype="float32")))
    scale = 100 / 127
    np.testing.assert_allclose(
        rounded, np.rint(kernel / scale) * scale, rtol=1e-5
    )


@pytest.mark.parametrize(
    "cls, arguments, kernel_limits",
    [
        (QuantizationAwareConv2D, (2, 1), [0.5, 100.0]),
        (QuantizationAwareDepthwiseConv2D, (1,), [0.5, 100.0]),
        (QuantizationAwareDense, (2,), [100.0, 100.0]),  # one for all
    ],
)
def test_bias_has_the_steps_of_the_products(cls, arguments, kernel_limits):
    layer = cls(*arguments)
    layer.build((None, 1, 1, 2))
    shape = layer.weights[0].shape
    kernel = [0.5, 100.0] if len(shape) == 4 and shape[3] == 1 else None
    kernel = np.diag([0.5, 100.0]) if kernel is None else np.array(kernel)
    bias = np.array([0.01234, -7.77], "float32")
    layer.set_weights([kernel.reshape(shape).astype("float32"), bias])
    rounder = FakeQuantization(0.0, 2.55)
    zeros, step = rounder(np.zeros((1, 1, 1, 2), "float32"), return_step=True)
    assert float(step) == pytest.approx(0.01)
    outputs = ops.convert_to_numpy(layer(zeros, step)).ravel()
    steps = 0.01 * np.array(kernel_limits) / 127
    np.testing.assert_allclose(
        outputs, np.rint(bias / steps) * steps, rtol=1e-5
    )
    assert np.abs(outputs - bias).max() > 1e-6
    np.testing.assert_allclose(
        ops.convert_to_numpy(layer(zeros)).ravel(), bias, rtol=1e-6
    )


def _scalar(value):
    return np.array(value, "float32")


def test_step_is_that_of_64_bits():
    generator = np.random.default_rng(0)
    for low, high in generator.exponential(5, (200, 2)).astype("float32"):
        layer = FakeQuantization(-low, high)
        _, step = layer(np.zeros(1, "float32"), return_step=True)
        exact = (np.float64(high) + np.float64(low)) / 255
        assert np.float32(step) == np.float32(exact)


def test_steps_are_rounded_once_when_compiled_too():
    # XLA divides by 255 and 127 in its own way.
    inputs = keras.Input((1, 1, 3))
    rounder, layer = FakeQuantization(-1.3, 2.9), QuantizationAwareConv2D(99, 1)
    x, step = rounder(inputs, return_step=True)
    _, unit = layer(x, step, return_step=True)
    model = keras.Model(inputs, [step, unit])
    images = np.zeros((1, 1, 1, 3), "float32")
    step, unit = model.predict_on_batch(images)
    kernel = ops.convert_to_numpy(layer.kernel)
    limits = np.abs(kernel).max((0, 1, 2)).astype("float64")
    ends = np.array([-1.3, 2.9], "float32").astype("float64")
    assert step == np.float32((ends[1] - ends[0]) / 255)
    expected = step * (limits / 127).astype("float32")
    np.testing.assert_array_equal(unit, expected)


@pytest.mark.parametrize(
    "layer",
    [
        QuantizationAwareConv2D(8, 3, padding="same"),
        QuantizationAwareDepthwiseConv2D(3, padding="same"),
        QuantizationAwareDense(8),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_outputs_are_whole_multiples_of_a_step(layer):
    generator = np.random.default_rng(1)
    step = np.float32(0.0317)
    whole = generator.integers(-128, 256, (2, 6, 6, 32))
    x = (whole * step).astype("float32")
    layer.build(x.shape)
    values = [generator.normal(size=w.shape) for w in layer.weights]
    layer.set_weights(values)
    y, unit = layer(x, step, return_step=True)
    sums = ops.convert_to_numpy(y) / ops.convert_to_numpy(unit)
    assert np.abs(sums - np.rint(sums)).max() < 0.1
    assert np.abs(sums).max() > 10_000
    # Plain floats leave errors of many units in sums of this size.
    plain = ops.convert_to_numpy(layer(x, step, exact=False))
    np.testing.assert_allclose(
        plain, ops.convert_to_numpy(y), rtol=1e-3, atol=1e-3
    )
    np.testing.assert_array_equal(
        plain, ops.convert_to_numpy(layer(x, step, training=True))
    )


def test_rounds_one_term_to_the_nearest_step():
    layer = FakeQuantization(-12.8, 12.7)  # steps of 0.1
    whole = np.array([[0, 3, -6, 10, 90, -9999]], "float32")
    x = (whole * np.float32(0.03)).astype("float32")
    y, step = layer(x, terms=[[x, _scalar(0.03)]], return_step=True)
    y = ops.convert_to_numpy(y) / float(step)
    # 0.9, -1.8, 3, 27 steps; the last is out of range.
    np.testing.assert_allclose(y, [[0, 1, -2, 3, 27, -128]], rtol=1e-6)
    y = layer(3 * x, terms=[[3 * x, _scalar(0.06)]], count=2)  # a mean of two
    y = ops.convert_to_numpy(y) / float(step)
    np.testing.assert_allclose(y, [[0, 3, -5, 9, 81, -128]], rtol=1e-6)


def test_rounds_a_sum_of_two_in_integers():
    # 300 sums that lie half-way between two steps, where XNNPACK rounds up:
    # a and b of 0.25 and 0.5 in steps of 0.5, so (a + 2 b) / 2 with odd a.
    a, b = np.meshgrid(np.arange(-15, 15, 2), np.arange(-10, 10))
    first, second = (0.25 * a).astype("float32"), (0.5 * b).astype("float32")
    terms = [[first, _scalar(0.25)], [second, _scalar(0.5)]]
    layer = FakeQuantization(-64.0, 63.5)
    y = layer(first + second, terms=terms)
    expected = np.floor((a + 2 * b) / 2 + 0.5) * 0.5
    np.testing.assert_array_equal(ops.convert_to_numpy(y), expected)


def test_enlarged_maps_round_half_a_step_up():
    layer = FakeQuantization(-12.8, 12.7)
    x = np.array([[0.05, 0.15, -0.05, -0.15, 0.12]], "float32")
    y = ops.convert_to_numpy(layer(x, half_up=True))
    np.testing.assert_allclose(y, [[0.1, 0.2, 0, -0.1, 0.1]], atol=1e-6)


def test_a_range_follows_a_map_once_and_not_what_is_made_of_it():
    rounder = FakeQuantization(0.0, 4.0, momentum=0.5)
    inputs = keras.Input((2, 2, 1))
    x = keras.layers.Conv2D(1, 1, kernel_initializer="ones")(inputs)
    x = keras.layers.AveragePooling2D(2)(rounder(x))
    model = keras.Model(inputs, rounder(x, half_up=True))
    model.compile(keras.optimizers.SGD(0.1), "mean_squared_error")
    image = np.array([[8.0, 0.0], [0.0, 0.0]]).reshape(1, 2, 2, 1)
    model.fit(image, np.zeros((1, 1, 1, 1)), verbose=0)
    assert float(rounder.upper) == 6  # half-way from 4 to 8


def test_training_takes_the_plain_way():
    layer = FakeQuantization(-12.8, 12.7, fixed=True)
    x = np.linspace(-20, 20, 51, dtype="float32")[None]
    terms = [[x + 1, _scalar(0.1)]]  # not the inputs, to tell the two apart
    plain = ops.convert_to_numpy(layer(x))
    y = ops.convert_to_numpy(layer(x, terms=terms, training=True))
    np.testing.assert_array_equal(y, plain)
    assert np.any(ops.convert_to_numpy(layer(x, terms=terms)) != plain)


def test_can_leave_training_unrounded():
    layer = FakeQuantization(0.0, 255 / 256, rounds_in_training=False)
    x = ops.array([[0.001, 0.5]])
    assert float(layer(x, training=True)[0, 0]) == pytest.approx(0.001)
    assert float(layer(x)[0, 0]) == 0


@pytest.mark.parametrize(
    "offset, rounded",
    [
        ([-1.0, 0.303, 1.55], [-1.0, 0.3, 1.55]),
        # Zero is in the range, as in that of each tensor of LiteRT.
        ([-2.55, -0.104, -0.106], [-2.55, -0.1, -0.11]),
        ([0.104, 0.106, 2.55], [0.1, 0.11, 2.55]),
    ],
)
def test_rounds_constants_together(offset, rounded):
    layer = QuantizationAwareRescaling(1.0, offset)
    x = np.ones((2, 4, 4, 3), "float32")
    y, constants, step = layer(x, return_offset=True)
    assert float(step) == pytest.approx(0.01, rel=1e-5)
    np.testing.assert_allclose(
        ops.convert_to_numpy(constants), rounded, atol=1e-6
    )
    y = ops.convert_to_numpy(y)
    np.testing.assert_allclose(y, x + rounded, atol=1e-6)
    np.testing.assert_array_equal(ops.convert_to_numpy(layer(x)), y)


def test_one_constant_and_none_are_exact():
    for offset in (1.0, -3.7, 0.0):
        y = QuantizationAwareRescaling(1.0, offset)(np.zeros((1, 2), "float32"))
        expected = np.full((1, 2), offset, "float32")
        np.testing.assert_allclose(ops.convert_to_numpy(y), expected, rtol=1e-6)


def test_constants_come_back_with_the_configuration():
    layer = QuantizationAwareRescaling(1.0, [-1.0, 0.5], name="sum")
    twin = QuantizationAwareRescaling.from_config(layer.get_config())
    assert twin.get_config() == layer.get_config()
    assert twin.offset == [-1.0, 0.5]


def test_constants_of_channels_are_trained(tmp_path):
    constants = [-1.03, 0.2, 0.61, 1.9]  # the ends of the range among them
    inputs = keras.Input((4,))
    layer = QuantizationAwareRescaling(1.0, constants)
    model = keras.Model(inputs, layer(inputs))
    model.compile(keras.optimizers.SGD(1.0), "mean_squared_error")
    targets = np.array([[-0.03, 0.2, 0.61, 3.9]], "float32")
    model.fit(np.zeros((1, 4)), targets, verbose=0)
    assert layer.trainable_weights[0].name == "bias"  # is not decayed
    (tuned,) = layer.get_weights()
    # Half of the way to the targets from the rounded constants.
    np.testing.assert_allclose(tuned, [-0.53, 0.2, 0.61, 2.9], atol=0.01)
    model.save(tmp_path / "m.keras")
    again = keras.saving.load_model(tmp_path / "m.keras")
    np.testing.assert_array_equal(again.get_weights()[0], tuned)
    assert not QuantizationAwareRescaling(1.0, 1.0).weights


def test_refuses_to_round_a_scale():
    with pytest.raises(ValueError, match="belongs into a DepthwiseConv2D"):
        QuantizationAwareRescaling(0.5)


def test_range_never_becomes_narrower_than_told():
    layer = FakeQuantization(0.0, 4.0, momentum=0.0, narrowest=0.51)
    layer(ops.zeros((1, 3)), training=True)
    assert float(layer.upper) == 0
    _, step = layer(ops.zeros((1, 3)), return_step=True)
    assert float(step) == pytest.approx(0.002)
    assert float(layer(ops.array([[0.5]]))[0, 0]) == pytest.approx(0.5)


def test_learns_through_the_rounding():
    model = keras.Sequential(
        [
            keras.Input((4, 4, 3)),
            FakeQuantization(-1.0, 2.0),
            QuantizationAwareConv2D(4, 3),
            FakeQuantization(-4.0, 4.0),
            QuantizationAwareDepthwiseConv2D(2),
            keras.layers.Flatten(),
            QuantizationAwareDense(2),
        ]
    )
    before = model.get_weights()
    model.compile("sgd", "mse")
    x = np.random.default_rng(0).uniform(size=(8, 4, 4, 3))
    model.train_on_batch(x, np.ones((8, 2)))
    changed = [np.abs(a - b).max() for a, b in zip(before, model.get_weights())]
    names = [v.path.rsplit("/", 1)[-1] for v in model.weights]
    for name, change in zip(names, changed):
        assert change > 0, name


def test_refuses_a_range_without_zero():
    with pytest.raises(ValueError, match="must include zero"):
        FakeQuantization(1.0, 2.0)
