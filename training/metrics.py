"""How good predictions are: accuracy, confusion matrix, calibration."""

import numpy as np


def probabilities(scores, are_probabilities=None):
    """Scores as they are, or their softmax if they are logits.

    Args:
        scores: Floats, `(images, classes)`, of all images: few of them may
            look like the other kind by chance. In 8 bits probabilities are
            rounded to 1/256, and their sums are no longer 1.
        are_probabilities: Boolean, where the model says which they are;
            otherwise they are taken for what they look like. Defaults to
            `None`.
    """
    if are_probabilities:
        return scores
    if are_probabilities is None and _look_like_probabilities(scores):
        return scores
    with np.errstate(invalid="ignore"):  # NaN stays NaN
        powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def _look_like_probabilities(scores):
    slack = 0.01 + scores.shape[1] / 512
    sums = scores.sum(axis=1)
    return np.all(scores >= 0) and np.all(np.abs(sums - 1) <= slack)


def top_k_accuracy(scores, labels, k):
    """Share of images whose label is among the k highest scores.

    Of equal scores the first class's counts as higher, as for `argmax`.
    """
    labels = labels[:, None]
    own = np.take_along_axis(scores, labels, axis=1)
    earlier = np.arange(scores.shape[1]) < labels
    higher = ~(scores <= own) | ((scores == own) & earlier)
    return float(np.mean(higher.sum(axis=1) < k))


def confusion_matrix(scores, labels):
    """Counts `(classes, classes)`: true class by row, predicted by column."""
    classes = scores.shape[1]
    counts = np.zeros((classes, classes), int)
    np.add.at(counts, (labels, scores.argmax(axis=1)), 1)
    return counts


def calibration_bins(scores, labels, bins=15):
    """Images, mean confidence and accuracy in each interval of confidence.

    Reference:
    - [On Calibration of Modern Neural Networks (Guo et al., 2017)](
        https://arxiv.org/abs/1706.04599)
    """
    confidence = scores.max(axis=1)
    correct = scores.argmax(axis=1) == labels
    # Intervals (0, 1/15], (1/15, 2/15], ...
    index = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    count = np.bincount(index, minlength=bins)
    safe = np.maximum(count, 1)
    return (
        count,
        np.bincount(index, confidence, bins) / safe,
        np.bincount(index, correct, bins) / safe,
    )


def expected_calibration_error(scores, labels, bins=15):
    """Mean distance of confidence from accuracy, over the intervals."""
    count, confidence, accuracy = calibration_bins(scores, labels, bins)
    distance = np.abs(confidence - accuracy)
    return float((count * distance).sum() / count.sum())


def _share(part, whole):
    return float(part / whole) if whole else None


def report(scores, labels, class_names):
    """All of it, as JSON takes it.

    Args:
        scores: Probabilities, `(images, classes)`.
        labels: Integers, `(images,)`.
        class_names: List of strings.

    Returns:
        Dictionary. A class without images has no recall, and one that is
        never predicted no precision: they are `None`.
    """
    matrix = confusion_matrix(scores, labels)
    hits, true, predicted = np.diag(matrix), matrix.sum(1), matrix.sum(0)
    table = []
    for index, name in enumerate(class_names):
        table.append(
            {
                "class": name,
                "images": int(true[index]),
                "recall": _share(hits[index], true[index]),
                "precision": _share(hits[index], predicted[index]),
            }
        )
    return {
        "images": len(labels),
        "top1": top_k_accuracy(scores, labels, 1),
        "top5": top_k_accuracy(scores, labels, 5),
        "majority_class": float(true.max() / len(labels)),
        "calibration_error": expected_calibration_error(scores, labels),
        "classes": table,
        "confusion_matrix": matrix.tolist(),
    }
