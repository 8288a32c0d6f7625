"""Networks small enough to export in a second or two."""

import dataclasses

import keras
import numpy as np

import keras_ratn
from training.batch_normalization import batch_normalizations

TINY = keras_ratn.Architecture(
    stem="cifar",
    stem_filters=8,
    stage_filters=(8, 16),
    num_modules=(1, 1),
    mask_depths=(2, 1),
    num_closing_units=0,
    tail_filters=None,
    num_tail_units=0,
)
# One module, one pooling: converts in a few seconds.
SMALLEST = dataclasses.replace(
    TINY, stage_filters=(8,), num_modules=(1,), mask_depths=(1,)
)


def difference(expected, actual):
    """Largest difference in units of the largest expected value."""
    return np.abs(actual - expected).max() / np.abs(expected).max()


def tiny_model(classes=5, architecture=TINY, **options):
    """A network with weights as if it had been trained."""
    model = keras_ratn.ResidualAttentionNetwork(
        architecture, classes=classes, **options
    )
    randomize(model)
    return model


def randomize(model, seed=0):
    """Gives batch normalization statistics and scales of its own."""
    rng = np.random.default_rng(seed)
    for variable in model.variables:
        draw = rng.standard_normal(variable.shape)
        name = variable.path.rsplit("/", 1)[-1]
        if name == "gamma":
            variable.assign(1 + 0.2 * draw)
        elif name in ("beta", "moving_mean"):
            variable.assign(0.2 * draw)
        elif name == "moving_variance":
            variable.assign(np.exp(0.3 * draw))


def calibrate(model, images):
    """Gives batch normalization the statistics of these images.

    Without, the values of a deep network grow until they mean nothing.
    """
    for layer in batch_normalizations(model):
        layer.momentum = 0.0
    model(images, training=True)


def random_pixels(number, size=32, channels=3, seed=1):
    """Smooth images, so that sub-sampling does not average all away."""
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(0, 255, (number, size // 4, size // 4, channels))
    return np.kron(coarse, np.ones((1, 4, 4, 1))).astype("float32")


def predict(model, images):
    return keras.tree.map_structure(
        np.asarray, model.predict(images, verbose=0)
    )


def forward(model, images):
    """What `predict` gives; for a few images without the cost of a trace."""
    if keras.backend.backend() == "jax":
        return predict(model, images)
    return keras.tree.map_structure(
        keras.ops.convert_to_numpy, model(images, training=False)
    )


def tune(model, images, labels, epochs=1, learning_rate=1e-4):
    """Fits a quantisation-aware model by small steps."""
    steps = epochs * -(-len(images) // 32)
    schedule = keras.optimizers.schedules.CosineDecay(learning_rate, steps)
    model.compile(
        keras.optimizers.Adam(schedule), "sparse_categorical_crossentropy"
    )
    model.fit(images, labels, batch_size=32, epochs=epochs, verbose=0)
