import numpy as np
import pytest
from keras import ops
from layer_checks import check_layer

from keras_ratn.layers import InceptionUnit
from keras_ratn.layers import ResidualUnit
from keras_ratn.layers import ResNeXtUnit

# Trainable parameters with 16 channels in and out, at stride 1 and 2, by
# hand. Residual: kernels 16x4 + 9x4x4 + 4x16, gamma and beta of 16, 4, 4;
# ResNeXt: 16x8 + 9x8 (8 groups) + 8x16, of 8, 8, 16; Inception: branch widths
# 1, 2, 2, kernels 16 + (32 + 36) + (32 + 36 + 36) + 5x16, of 16, 2, 2, 2.
# Stride 2 adds the 16x16 projection, for ResNeXt with gamma and beta.
PARAMETERS = {
    ResidualUnit: (64 + 144 + 64 + 48, 256),
    ResNeXtUnit: (128 + 72 + 128 + 64, 256 + 32),
    InceptionUnit: (16 + 68 + 104 + 80 + 44, 256),
}


@pytest.mark.parametrize("cls", PARAMETERS)
@pytest.mark.parametrize("strides", [1, 2])
def test_properties(cls, strides):
    plain, projection = PARAMETERS[cls]
    check_layer(
        cls,
        {"filters": 16, "strides": strides},
        input_shape=(2, 8, 6, 16),
        output_shape=(2, 8 // strides, 6 // strides, 16),
        num_trainable=plain + (projection if strides > 1 else 0),
    )


@pytest.mark.parametrize("cls", PARAMETERS)
def test_odd_sizes_shrink_to_the_ceiling(cls):
    unit = cls(16, strides=2)
    x = np.zeros((1, 7, 5, 16), "float32")
    assert tuple(unit(x).shape) == (1, 4, 3, 16)


def test_strided_convolution_is_padded_on_all_sides():
    """An impulse in the first pixel reaches the first output's centre tap."""
    unit = ResidualUnit(4, strides=2)
    x = np.zeros((1, 4, 4, 4), "float32")
    unit(x)
    for bn in (unit.bn1, unit.bn2, unit.bn3):
        bn.epsilon = 0.0
    unit.conv1.kernel.assign(np.ones((1, 1, 4, 1)))
    unit.conv2.kernel.assign(np.arange(9.0).reshape(3, 3, 1, 1))
    unit.conv3.kernel.assign(np.ones((1, 1, 1, 4)))
    unit.projection.kernel.assign(np.zeros((1, 1, 4, 4)))
    x[0, 0, 0, 0] = 1.0
    y = ops.convert_to_numpy(unit(x))[0, :, :, 0]
    # Taps are numbered row by row; the centre is 4. Padding (0, 1) as in
    # Keras's strided "same" would show tap 0 here.
    np.testing.assert_allclose(y, [[4.0, 0.0], [0.0, 0.0]])


def test_residual_shortcut_is_the_raw_input():
    unit = ResidualUnit(4)
    x = np.random.default_rng(0).standard_normal((1, 3, 3, 4))
    unit(x)
    unit.conv3.kernel.assign(np.zeros((1, 1, 1, 4)))
    np.testing.assert_allclose(ops.convert_to_numpy(unit(x)), x, atol=1e-6)


def test_residual_projection_reads_the_activated_input():
    unit = ResidualUnit(8)
    x = np.random.default_rng(0).standard_normal((1, 3, 3, 4))
    unit(x)
    unit.bn1.epsilon = 0.0
    unit.conv3.kernel.assign(np.zeros((1, 1, 2, 8)))
    unit.projection.kernel.assign(np.eye(4, 8).reshape(1, 1, 4, 8))
    np.testing.assert_allclose(
        ops.convert_to_numpy(unit(x))[..., :4], np.maximum(x, 0), atol=1e-5
    )


def test_resnext_ends_in_relu():
    unit = ResNeXtUnit(4)
    x = np.random.default_rng(0).standard_normal((1, 3, 3, 4))
    unit(x)
    unit.bn3.gamma.assign(np.zeros(4))
    np.testing.assert_allclose(
        ops.convert_to_numpy(unit(x)), np.maximum(x, 0), atol=1e-6
    )


@pytest.mark.parametrize(
    ("cls", "arguments", "words"),
    [
        (ResidualUnit, {"filters": 6}, "must be a multiple of 4"),
        (ResNeXtUnit, {"filters": 5}, "must be a multiple of 2"),
        (ResNeXtUnit, {"filters": 4, "groups": 0}, "`groups` must be"),
        (InceptionUnit, {"filters": 0}, "`filters` must be an integer"),
        (ResidualUnit, {"filters": 4, "strides": 0}, "`strides` must be"),
        (ResidualUnit, {"filters": 4, "data_format": "x"}, "`data_format`"),
    ],
)
def test_wrong_arguments_are_explained(cls, arguments, words):
    with pytest.raises(ValueError, match=words):
        cls(**arguments)
