import numpy as np
import pytest

from training.metrics import confusion_matrix
from training.metrics import expected_calibration_error
from training.metrics import probabilities
from training.metrics import report
from training.metrics import top_k_accuracy

SCORES = np.array(
    [
        [0.7, 0.2, 0.1],
        [0.1, 0.5, 0.4],
        [0.3, 0.4, 0.3],
        [0.0, 0.1, 0.9],
    ]
)
LABELS = np.array([0, 2, 1, 2])


def test_logits_are_told_from_probabilities():
    assert probabilities(SCORES) is SCORES
    # A hundredth is 2.56 steps of 8 bits: the sum of a hundred is 1.17.
    rounded = np.round(np.full((2, 100), 0.01) * 256) / 256
    assert rounded.sum(axis=1).min() > 1.1
    assert probabilities(rounded) is rounded
    found = probabilities(np.log(SCORES + 1e-30))
    np.testing.assert_allclose(found, SCORES, atol=1e-9)
    np.testing.assert_allclose(probabilities(np.zeros((2, 4))), 0.25)
    # Where it is known, looks do not count.
    ones = np.ones((2, 4))
    assert probabilities(ones, True) is ones
    assert not np.allclose(probabilities(SCORES, False), SCORES)


def test_worked_out_by_hand():
    assert top_k_accuracy(SCORES, LABELS, 1) == 0.75
    assert top_k_accuracy(SCORES, LABELS, 2) == 1.0
    assert confusion_matrix(SCORES, LABELS).tolist() == [
        [1, 0, 0],
        [0, 1, 0],
        [0, 1, 1],
    ]
    # Two intervals: confidence 0.5 and 0.4, one right of two; 0.7 and 0.9,
    # both right.
    expected = (2 * abs(0.45 - 0.5) + 2 * abs(0.8 - 1.0)) / 4
    assert expected_calibration_error(SCORES, LABELS, bins=2) == (
        pytest.approx(expected)
    )
    result = report(SCORES, LABELS, ["a", "b", "c"])
    assert result["majority_class"] == 0.5
    assert result["classes"][1] == {
        "class": "b",
        "images": 1,
        "recall": 1.0,
        "precision": 0.5,
    }
    assert result["classes"][2]["recall"] == 0.5
    assert result["top5"] == 1.0


def test_what_cannot_be_known_is_no_0():
    result = report(SCORES[:1], LABELS[:1], ["a", "b", "c"])
    first, *others = result["classes"]
    assert (first["recall"], first["precision"]) == (1.0, 1.0)
    for row in others:  # neither there nor predicted
        assert (row["recall"], row["precision"]) == (None, None)


def test_of_equal_scores_the_first_class_counts():
    scores = np.random.default_rng(0).integers(0, 4, (500, 7)) / 4
    labels = np.arange(500) % 7
    hits = np.trace(confusion_matrix(scores, labels)) / 500
    assert top_k_accuracy(scores, labels, 1) == pytest.approx(hits)
    order = np.argsort(-scores, axis=1, kind="stable")
    for k in (1, 2, 5, 7, 9):
        expected = np.mean((order[:, :k] == labels[:, None]).any(axis=1))
        assert top_k_accuracy(scores, labels, k) == pytest.approx(expected)
    assert top_k_accuracy(scores * np.nan, labels, 5) == 0.0


def test_a_certain_and_right_model_is_calibrated():
    assert expected_calibration_error(np.eye(3), np.arange(3)) == 0.0
    assert expected_calibration_error(np.eye(3), np.array([1, 2, 0])) == 1.0
