"""Patches, class token and positions of a sequence."""

import keras
import numpy as np
import pytest
from keras import ops
from layer_checks import check_layer
from layer_checks import random_images

from keras_ratn import layers


def test_unfold_keeps_the_contract():
    check_layer(
        layers.Unfold,
        {"size": 3, "strides": 2, "padding": 1},
        (2, 9, 8, 2),
        (2, 5, 4, 18),
        num_trainable=0,
        data_formats=(None,),
        training_step=False,
    )


def test_unfold_orders_by_row_column_and_channel():
    x = random_images((1, 4, 5, 2))
    y = ops.convert_to_numpy(layers.Unfold(2)(x))
    np.testing.assert_array_equal(y[0, 1, 2], x[0, 1:3, 2:4].ravel())


def test_unfold_arguments():
    with pytest.raises(ValueError, match="`padding` must be an integer of at"):
        layers.Unfold(3, padding=-1)
    for argument in ("size", "strides"):
        with pytest.raises(ValueError, match=f"`{argument}` must be an int"):
            layers.Unfold(**{"size": 3, argument: 0})


def test_class_token_keeps_the_contract():
    check_layer(
        layers.ClassToken,
        {},
        (2, 9, 8),
        (2, 10, 8),
        num_trainable=8,
        dynamic_size=False,
        data_formats=(None,),
    )


def test_class_token_comes_first():
    x = random_images((2, 3, 4))
    layer = layers.ClassToken()
    layer(x)
    layer.token.assign(np.full((1, 1, 4), 7.0))
    y = ops.convert_to_numpy(layer(x))
    np.testing.assert_array_equal(y[:, 0], 7)
    np.testing.assert_array_equal(y[:, 1:], x)


def test_positions_keep_the_contract():
    check_layer(
        layers.SinusoidalPositions,
        {},
        (2, 9, 8),
        (2, 9, 8),
        num_trainable=0,
        num_non_trainable=72,
        dynamic_size=False,
        data_formats=(None,),
        training_step=False,
    )


def test_positions_are_sines_and_cosines():
    y = layers.SinusoidalPositions()(ops.zeros((1, 3, 4)))
    expected = [
        [np.sin(p), np.cos(p), np.sin(p / 100), np.cos(p / 100)]
        for p in range(3)
    ]
    np.testing.assert_allclose(ops.convert_to_numpy(y[0]), expected, atol=1e-6)


def test_positions_need_their_number():
    with pytest.raises(ValueError, match="know the number of tokens"):
        layers.SinusoidalPositions()(keras.Input((None, 4)))
