"""What is minimised, for networks that give probabilities and such as don't."""

import keras
import numpy as np
import pytest
from keras import layers
from keras import ops
from training_runs import smallest

from keras_ratn.layers import FakeQuantization
from training.config import AugmentationConfig
from training.model import compile_model
from training.model import TrainingModel

CLASSES = 4


def cross_entropy(scores, labels):
    return -np.log(scores[np.arange(len(labels)), labels]).mean()


def cross_entropy_of_logits(scores, labels):
    powers = np.exp(scores)
    return cross_entropy(powers / powers.sum(-1, keepdims=True), labels)


def cross_entropy_of_each_class(scores, labels):
    """Each class by itself: present in its own images, absent in others."""
    present = np.eye(CLASSES)[labels]
    chances = np.where(present, scores, 1 - scores)
    return -np.log(chances).mean()


def rounding(x):
    return FakeQuantization(0.0, 255 / 256, fixed=True)(x)


ENDS = {
    "softmax layer": ([layers.Softmax], cross_entropy),
    "softmax operation": ([lambda: ops.softmax], cross_entropy),
    "softmax, reshaped": (
        [layers.Softmax, lambda: layers.Reshape((CLASSES,))],
        cross_entropy,
    ),
    "softmax, rounded and more": (
        [layers.Softmax, lambda: rounding, layers.Identity],
        cross_entropy,
    ),
    "sigmoid layer": (
        [lambda: layers.Activation("sigmoid")],
        cross_entropy_of_each_class,
    ),
    "sigmoid operation": ([lambda: ops.sigmoid], cross_entropy_of_each_class),
    "logits behind a softmax": (
        [lambda: layers.Activation("softmax"), lambda: layers.Dense(CLASSES)],
        cross_entropy_of_logits,
    ),
    "logits": ([], cross_entropy_of_logits),
}


@pytest.mark.parametrize("end", ENDS)
def test_the_loss_is_that_of_the_scores(end):
    ends, loss = ENDS[end]
    inputs = keras.Input((8, 8, 3))
    x = layers.GlobalAveragePooling2D()(inputs)
    x = layers.Dense(CLASSES)(layers.Rescaling(0.02)(x))
    for make in ends:
        x = make()(x)
    network = keras.Model(inputs, x)
    model = TrainingModel(network, AugmentationConfig(), seed=0)
    config = smallest(label_smoothing=0.0)
    compile_model(model, keras.optimizers.SGD(), config)

    rng = np.random.default_rng(0)
    images = rng.uniform(0, 255, (16, 8, 8, 3)).astype("float32")
    labels = np.arange(16) % CLASSES
    found = model.evaluate(
        {"images": images, "labels": labels}, labels, verbose=0
    )
    scores = network.predict(images, verbose=0).astype("float64")
    assert found[0] == pytest.approx(loss(scores, labels), rel=1e-3)
    accuracy = (scores.argmax(-1) == labels).mean()
    assert found[1] == pytest.approx(accuracy)
