import numpy as np
import pytest
from keras import ops
from layer_checks import check_layer

from keras_ratn.layers import MaskActivation

# One image of 1x2 positions and 2 channels.
LOGITS = np.array([[[[3.0, 4.0], [0.0, 0.0]]]], "float32")


@pytest.mark.parametrize("mode", ["mixed", "channel", "spatial"])
def test_properties(mode):
    check_layer(
        MaskActivation,
        {"mode": mode},
        input_shape=(2, 7, 6, 8),
        output_shape=(2, 7, 6, 8),
        num_trainable=0,
        training_step=False,
    )


def _apply(mode, logits=LOGITS):
    return ops.convert_to_numpy(MaskActivation(mode)(logits))[0, 0]


def test_mixed_is_a_sigmoid():
    expected = [[0.952574, 0.982014], [0.5, 0.5]]
    np.testing.assert_allclose(_apply("mixed"), expected, atol=1e-6)


def test_channel_divides_by_the_norm_and_knows_no_sigmoid():
    expected = [[0.6, 0.8], [0.0, 0.0]]
    np.testing.assert_allclose(_apply("channel"), expected, atol=1e-6)
    np.testing.assert_allclose(
        _apply("channel", -LOGITS)[0], [-0.6, -0.8], atol=1e-6
    )


def test_spatial_normalizes_each_channel_over_its_positions():
    # Each channel has one value above and one below its mean, by one
    # deviation: sigmoid(1) and sigmoid(-1).
    expected = [[0.731059, 0.731059], [0.268941, 0.268941]]
    np.testing.assert_allclose(_apply("spatial"), expected, atol=1e-6)


def test_spatial_of_a_constant_map_is_one_half():
    constant = np.full((1, 2, 2, 1), 7.0, "float32")
    np.testing.assert_allclose(_apply("spatial", constant), 0.5)


def test_unknown_mode_is_explained():
    with pytest.raises(ValueError, match=r"`mode` must be one of \['mixed'"):
        MaskActivation("softmax")
