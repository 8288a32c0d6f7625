import numpy as np
import pytest
from keras import ops
from layer_checks import check_layer

from keras_ratn.layers import BilinearInitializer
from keras_ratn.layers import BilinearUpsampling2D
from keras_ratn.layers import TransposedUpsampling2D

ROW = np.array([0.0, 4.0], "float32").reshape(1, 1, 2, 1)


@pytest.mark.parametrize("align_corners", [False, True])
def test_bilinear_properties(align_corners):
    check_layer(
        BilinearUpsampling2D,
        {"align_corners": align_corners},
        input_shape=(2, 7, 6, 4),
        output_shape=(2, 14, 12, 4),
        num_trainable=0,
        training_step=False,
    )


def test_transposed_properties():
    check_layer(
        TransposedUpsampling2D,
        {},
        input_shape=(2, 7, 6, 4),
        output_shape=(2, 14, 12, 4),
        num_trainable=16 * 4,
    )


def _row(layer, width):
    outputs = layer(ROW, target_size=(1, width))
    return ops.convert_to_numpy(outputs)[0, 0, :, 0]


def test_half_pixel_centres():
    # Centres of the four new pixels lie at -1/4, 1/4, 3/4, 5/4 of the old.
    row = _row(BilinearUpsampling2D(), 4)
    np.testing.assert_allclose(row, [0, 1, 3, 4], atol=1e-6)


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_aligned_corners(data_format):
    # The new pixels lie at 0, 1/3, 2/3 and 1.
    layer = BilinearUpsampling2D(align_corners=True, data_format=data_format)
    images, target = ROW, (1, 4)
    if data_format == "channels_first":
        images = ROW.transpose(0, 3, 1, 2)
    outputs = ops.convert_to_numpy(layer(images, target_size=target))
    np.testing.assert_allclose(outputs.ravel(), [0, 4 / 3, 8 / 3, 4], atol=1e-6)


def test_odd_sizes_keep_aligned_corners():
    row = _row(BilinearUpsampling2D(align_corners=True), 3)
    np.testing.assert_allclose(row, [0, 2, 4], atol=1e-6)


def test_transposed_starts_as_half_pixel_bilinear_inside():
    images = np.random.default_rng(0).standard_normal((1, 5, 6, 3))
    bilinear = ops.convert_to_numpy(BilinearUpsampling2D()(images))
    learned = ops.convert_to_numpy(TransposedUpsampling2D()(images))
    np.testing.assert_allclose(
        learned[:, 1:-1, 1:-1], bilinear[:, 1:-1, 1:-1], atol=1e-5
    )


def test_transposed_loses_the_last_row_of_odd_targets():
    images = np.random.default_rng(0).standard_normal((1, 3, 3, 2))
    layer = TransposedUpsampling2D()
    whole = ops.convert_to_numpy(layer(images))
    cut = ops.convert_to_numpy(layer(images, target_size=(5, 6)))
    np.testing.assert_allclose(cut, whole[:, :5], atol=1e-6)


def test_bilinear_kernel_by_hand():
    kernel = ops.convert_to_numpy(BilinearInitializer()((4, 4, 2, 1)))
    np.testing.assert_allclose(kernel[1, :, 0, 0] * 16, [3, 9, 9, 3])
    np.testing.assert_array_equal(kernel[:, :, 0], kernel[:, :, 1])


@pytest.mark.parametrize("size", [0, 1.5, True])
def test_wrong_sizes_are_explained(size):
    with pytest.raises(ValueError, match="`size` must be an integer"):
        BilinearUpsampling2D(size)


def test_transposed_enlarges_to_twice_the_size_at_most():
    layer = TransposedUpsampling2D()
    with pytest.raises(ValueError, match=r"target_size=\(7, 9\)"):
        layer(np.zeros((1, 4, 4, 2)), target_size=(7, 9))
