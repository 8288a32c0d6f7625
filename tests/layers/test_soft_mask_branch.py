import numpy as np
import pytest
from keras import ops
from layer_checks import check_layer

from keras_ratn.layers import LocalConvolutionMask
from keras_ratn.layers import SoftMaskBranch


@pytest.mark.parametrize(
    "interpolation", ["bilinear", "bilinear_align_corners", "transpose"]
)
def test_properties(interpolation):
    check_layer(
        SoftMaskBranch,
        {"mask_depth": 2, "interpolation": interpolation},
        input_shape=(2, 7, 6, 8),
        output_shape=(2, 7, 6, 8),
    )


def test_local_properties():
    check_layer(
        LocalConvolutionMask,
        {"unit": "inception"},
        input_shape=(2, 7, 6, 8),
        output_shape=(2, 7, 6, 8),
    )


@pytest.mark.parametrize(
    ("depth", "per_pooling", "units"),
    [(3, 1, 8), (2, 1, 5), (1, 1, 2), (3, 3, 20), (2, 3, 13)],
)
def test_number_of_units(depth, per_pooling, units):
    mask = SoftMaskBranch(depth, per_pooling)
    mask.build((None, 16, 16, 4))
    lists = mask.down_units, mask.bottom_units, mask.skip_units, mask.up_units
    assert sum(map(len, lists)) == units


def test_the_mask_has_no_other_way_out_than_its_head():
    """With the last convolution at zero every mask is sigmoid(0)."""
    mask = SoftMaskBranch(1)
    x = np.random.default_rng(0).standard_normal((1, 4, 4, 4))
    mask(x)
    mask.head_conv2.kernel.assign(np.zeros((1, 1, 4, 4)))
    np.testing.assert_allclose(ops.convert_to_numpy(mask(x)), 0.5)


def test_an_activated_unit_needs_no_activation_before_the_head():
    for unit, has_one in (("residual", True), ("resnext", False)):
        mask = LocalConvolutionMask(unit=unit)
        mask.build((None, 4, 4, 4))
        assert (mask.head_bn1 is not None) == has_one
        assert len(mask.units) == 3


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"mask_depth": 0}, "`mask_depth` must be an integer"),
        ({"num_mask_units": 0}, "`num_mask_units` must be an integer"),
        ({"unit": "vgg"}, "`unit` must be one of"),
        ({"interpolation": "cubic"}, "`interpolation` must be one of"),
        ({"mask_activation": "relu"}, "`mask_activation` must be one of"),
        ({"data_format": "last"}, "`data_format` must be one of"),
    ],
)
def test_wrong_arguments_are_explained(arguments, words):
    with pytest.raises(ValueError, match=words):
        SoftMaskBranch(**arguments)
