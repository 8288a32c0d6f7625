import keras
import numpy as np
import pytest
from scipy.special import softmax
from tiny_models import forward

from training.errors import RunError
from training.metrics import expected_calibration_error
from training.temperature import fit_temperature
from training.temperature import fold_temperature


@pytest.mark.parametrize("temperature", [0.4, 1.0, 3.0])
def test_the_temperature_that_was_put_in_is_found(temperature):
    """Labels are drawn by the probabilities, which are then sharpened."""
    random = np.random.default_rng(0)
    logits = random.normal(0, 2, (20_000, 5))
    chances = softmax(logits, axis=1).cumsum(axis=1)
    labels = (random.random((20_000, 1)) > chances).sum(axis=1)
    scores = softmax(logits * temperature, axis=1)
    found = fit_temperature(scores.astype("float32"), labels)
    assert found == pytest.approx(temperature, rel=0.04)
    mended = softmax(logits * temperature / found, axis=1)
    assert expected_calibration_error(mended, labels) < 0.02


@pytest.mark.parametrize("activation", ["softmax", None])
def test_a_folded_temperature_divides_the_logits(activation):
    inputs = keras.Input((6,))
    outputs = keras.layers.Dense(
        3, activation, bias_initializer="random_normal"
    )(inputs)
    model = keras.Model(inputs, outputs)
    data = np.random.default_rng(0).normal(0, 1, (8, 6)).astype("float32")
    before = forward(model, data)
    fold_temperature(model, 2.0)
    if activation is None:
        expected = before / 2
    else:
        expected = softmax(np.log(before) / 2, axis=1)
    np.testing.assert_allclose(forward(model, data), expected, atol=1e-6)


def test_what_no_temperature_fits_is_refused():
    model = keras.Sequential(
        [keras.Input((6,)), keras.layers.Dense(3, "sigmoid", name="scores")]
    )
    with pytest.raises(RunError, match="Received: Dense 'scores'"):
        fold_temperature(model, 2.0)
