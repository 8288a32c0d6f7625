"""The networks compute what the authors' definitions compute."""

import numpy as np
import pytest
from shape_seeded import fill
from shape_seeded import images

import keras_ratn

TOLERANCE = 1e-4  # of the largest logit, float32 against float64


@pytest.mark.parametrize(
    ("interpolation", "key"),
    [
        ("bilinear", "half_pixel"),
        ("bilinear_align_corners", "align_corners"),
    ],
)
def test_attention56_equals_the_authors(shared, interpolation, key):
    golden = np.load(shared / "golden" / "attention56_official.npz")
    model = keras_ratn.Attention56(
        classifier_activation=None,
        include_preprocessing=False,
        interpolation=interpolation,
    )
    logits = fill(model).predict(images((1, 224, 224, 3)), verbose=0)[0]
    expected = golden[key]
    error = np.abs(logits - expected).max() / np.abs(expected).max()
    assert error < TOLERANCE
    # The two conventions differ by much more than the tolerance.
    other = golden["align_corners" if key == "half_pixel" else "half_pixel"]
    assert np.abs(logits - other).max() / np.abs(other).max() > 10 * TOLERANCE
