import numpy as np
import pytest
from keras import ops
from layer_checks import check_layer

from keras_ratn.layers import AttentionModule


@pytest.mark.parametrize(
    "arguments",
    [
        {"remat": True},
        {"attention_learning": "naive", "unit": "resnext"},
    ],
)
def test_properties(arguments):
    check_layer(
        AttentionModule,
        {"filters": 8, "mask_depth": 1, "num_trunk_units": 1, **arguments},
        input_shape=(2, 7, 6, 4),
        output_shape=(2, 7, 6, 8),
    )


def test_returned_mask_has_the_properties_too():
    check_layer(
        AttentionModule,
        {"filters": 8, "mask_depth": 1, "num_trunk_units": 1},
        input_shape=(2, 7, 6, 4),
        output_shape=(2, 7, 6, 8),
        call_kwargs={"return_attention_mask": True},
        data_formats=("channels_last",),
        dynamic_size=False,
        training_step=False,
    )


def _module_and_input(**arguments):
    module = AttentionModule(mask_depth=1, num_trunk_units=1, **arguments)
    x = np.random.default_rng(0).standard_normal((2, 8, 8, 8))
    module(x)
    return module, x.astype("float32")


def _set_mask(module, value):
    """Makes the mask one value everywhere, through its last convolution."""
    head = module.soft_mask
    shape = tuple(head.head_conv2.kernel.shape)
    head.head_conv2.kernel.assign(np.zeros(shape))
    head.activation.call = lambda x: ops.zeros_like(x) + value


@pytest.mark.parametrize(
    ("learning", "mask", "times"),
    [
        ("residual", 0.0, 1.0),  # no mask: the trunk itself
        ("residual", 1.0, 2.0),  # full mask: twice the trunk
        ("naive", 0.0, 0.0),
        ("naive", 1.0, 1.0),
    ],
)
def test_mask_weighs_the_trunk(learning, mask, times):
    module, x = _module_and_input(attention_learning=learning)
    _set_mask(module, mask)
    outputs, returned = module(x, return_attention_mask=True)
    trunk, _ = module.branches(x)
    expected = ops.multiply(trunk, times)
    for unit in module.post_units:
        expected = unit(expected)
    np.testing.assert_allclose(ops.convert_to_numpy(returned), mask)
    np.testing.assert_allclose(
        ops.convert_to_numpy(outputs),
        ops.convert_to_numpy(expected),
        rtol=1e-5,
        atol=1e-5,
    )


def test_post_units_are_as_many_as_pre_units():
    module = AttentionModule(8, num_pre_units=2, num_trunk_units=3)
    module.build((None, 8, 8, 4))
    assert len(module.pre_units) == len(module.post_units) == 2
    assert len(module.trunk_units) == 3


def test_filters_default_to_the_channels_of_the_input():
    module = AttentionModule(mask_depth=1)
    assert module.compute_output_shape((None, 9, 9, 12)) == (None, 9, 9, 12)


def test_without_pre_units_channels_cannot_change():
    module = AttentionModule(8, num_pre_units=0, mask_depth=1)
    with pytest.raises(ValueError, match="num_pre_units=1 or more"):
        module.build((None, 8, 8, 4))
    AttentionModule(8, num_pre_units=0).build((None, 8, 8, 8))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"filters": 0}, "`filters` must be an integer"),
        ({"num_pre_units": -1}, "`num_pre_units` must be an integer"),
        ({"num_trunk_units": 0}, "`num_trunk_units` must be an integer"),
        ({"attention_learning": "x"}, "`attention_learning` must be one of"),
        ({"mask_structure": "x"}, "`mask_structure` must be one of"),
    ],
)
def test_wrong_arguments_are_explained(arguments, words):
    with pytest.raises(ValueError, match=words):
        AttentionModule(**arguments)
