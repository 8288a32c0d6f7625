"""One number that makes a classifier as sure of itself as it may be.

Reference:
- [On Calibration of Modern Neural Networks (Guo et al., 2017)](
    https://arxiv.org/abs/1706.04599)
"""

import keras
import numpy as np
from scipy.optimize import minimize_scalar

from .errors import RunError

# Of temperatures; nothing that has learned lies beyond.
RANGE = (0.05, 20.0)


def fit_temperature(scores, labels):
    """The temperature with the smallest cross-entropy on held-out images.

    Args:
        scores: Probabilities, `(images, classes)`.
        labels: Integers, `(images,)`.

    Returns:
        Float. Above 1 where the scores were too sure.
    """
    # Logits but for a number that each row has in common.
    logits = np.log(np.maximum(scores.astype("float64"), 1e-38))

    def loss(log_temperature):
        scaled = logits / np.exp(log_temperature)
        scaled -= scaled.max(axis=1, keepdims=True)
        total = np.log(np.exp(scaled).sum(axis=1))
        return np.mean(total - scaled[np.arange(len(labels)), labels])

    found = minimize_scalar(loss, bounds=np.log(RANGE), method="bounded")
    return float(np.exp(found.x))


def fold_temperature(model, temperature):
    """Divides a model's logits by a temperature, in its classifier's weights.

    The classes keep their order, and the model costs no more than before.

    Args:
        model: `keras.Model` that ends in a dense classifier.
        temperature: Float.
    """
    head = model.layers[-1]
    foldable = (keras.activations.softmax, keras.activations.linear)
    if not isinstance(head, keras.layers.Dense) or (
        head.activation not in foldable
    ):
        raise RunError(
            "A temperature can be folded into a dense classifier with softmax "
            f"or none at its end. Received: {type(head).__name__} "
            f"{head.name!r}. Leave --temperature out."
        )
    for variable in head.weights:
        variable.assign(variable / temperature)
