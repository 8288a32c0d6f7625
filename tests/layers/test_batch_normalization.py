import keras
import numpy as np

from keras_ratn.layers._common import batch_normalization


def test_a_large_mean_leaves_the_variance_as_it_is():
    # E[x^2] - E[x]^2 has an error of about 0.1 here, and half of these
    # channels would get a negative variance.
    generator = np.random.default_rng(0)
    x = generator.normal(1000, 0.01, (4, 2, 2, 32)).astype("float32")
    layer = batch_normalization(
        data_format="channels_last", dtype="float32", name="bn"
    )
    outputs = keras.ops.convert_to_numpy(layer(x, training=True))
    exact = x.astype("float64")
    mean, variance = exact.mean((0, 1, 2)), exact.var((0, 1, 2))
    expected = (exact - mean) / np.sqrt(variance + 1e-5)
    np.testing.assert_allclose(outputs, expected, atol=2e-2)
    moving = keras.ops.convert_to_numpy(layer.moving_mean)
    np.testing.assert_allclose(moving, 0.1 * mean, rtol=1e-6)
    moving = keras.ops.convert_to_numpy(layer.moving_variance)
    np.testing.assert_allclose(moving, 0.9 + 0.1 * variance, rtol=1e-5)


def test_is_keras_own_in_all_else():
    generator = np.random.default_rng(1)
    x = generator.normal(1, 2, (4, 3, 5, 6)).astype("float32")
    for axis in (-1, 1):
        ours = batch_normalization(
            data_format="channels_last" if axis == -1 else "channels_first",
            dtype="float32",
            name="bn",
        )
        theirs = keras.layers.BatchNormalization.from_config(ours.get_config())
        for training in (True, False):
            np.testing.assert_allclose(
                keras.ops.convert_to_numpy(ours(x, training=training)),
                keras.ops.convert_to_numpy(theirs(x, training=training)),
                rtol=1e-4,
                atol=1e-5,
            )
        for mine, keras_own in zip(ours.get_weights(), theirs.get_weights()):
            np.testing.assert_allclose(mine, keras_own, rtol=1e-5, atol=1e-6)
