"""The average of the weights, with batch statistics of its own.

The moving statistics belong to the weights that they were collected with. An
average that lags behind those gives other activations, and normalized by their
statistics it scored 9.7 % where it could have had 75.8 % (`ratn train smoke
--epochs 12 --optimizer.ema 0.99 --optimizer.schedule constant`). To average
the statistics with the same momentum gave 43.9 %: the mean over networks is
not what the mean network sees. So they are measured, at the end of each epoch,
on training images.
"""

import contextlib
import itertools

import keras
import numpy as np

from .batch_normalization import batch_normalizations
from .batch_normalization import moving_statistics

MEASURED_IMAGES = 2048


@contextlib.contextmanager
def averaged_weights(model):
    """Puts average and statistics in the weights' place for a while.

    Args:
        model: Compiled `TrainingModel`; without an average of its weights
            nothing happens.
    """
    # For float16 Keras wraps the optimizer in one that scales the loss.
    optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    if not optimizer.use_ema:
        yield
        return
    statistics = moving_statistics(model.network)
    variables = [*model.trainable_variables, *statistics]
    kept = values_of(variables)
    optimizer.finalize_variable_values(model.trainable_variables)
    # As copies: on JAX both variables would hold the same memory, which a
    # compiled step gives away.
    averages = [*model.trainable_variables, *model.average_statistics]
    assign(variables, values_of(averages))
    try:
        yield
    finally:
        assign(variables, kept)


class AverageEvaluation(keras.callbacks.Callback):
    """Measures the average's statistics, and evaluates it instead.

    It comes before `Record`, which saves what it measured. Make it in the
    scope that the model was made in.

    Args:
        model: Compiled `TrainingModel`.
        batches: Function that gives some batches of training images, each
            time the same ones: pairs of `{"images": ..., "labels": ...}` and
            labels.
    """

    def __init__(self, model, batches):
        super().__init__()
        self.batches = batches
        self.measurement = _Measurement(model)
        self.stack = contextlib.ExitStack()

    def on_epoch_begin(self, epoch, logs=None):
        self.measured = False

    def on_test_begin(self, logs=None):
        self._measure()
        self.stack.enter_context(averaged_weights(self.model))

    def on_test_end(self, logs=None):
        self.stack.close()

    def on_epoch_end(self, epoch, logs=None):
        if not self.measured:  # there are no validation images
            self._measure()

    def _measure(self):
        with averaged_weights(self.model):
            statistics = self.measurement.statistics(self.batches())
        assign(self.model.average_statistics, statistics)
        self.measured = True


def measured_batches(batches, batch_size):
    """The first of the training batches, as many as are measured on."""
    count = -(-MEASURED_IMAGES // batch_size)
    for batch in itertools.islice(batches, count):
        yield keras.tree.map_structure(np.asarray, batch)


class _Measurement(keras.Model):
    """A model run as it trains, augmentation included, but not trained."""

    def __init__(self, model):
        super().__init__(name="measurement")
        self.trained = model
        self.compile(jit_compile=model.jit_compile)

    def build(self, input_shape):
        """Nothing to do: the model comes built."""

    def call(self, inputs):
        return self.trained(inputs, training=True)["scores"]

    def compute_loss(
        self, x=None, y=None, y_pred=None, sample_weight=None, training=True
    ):
        return keras.ops.mean(y_pred)

    def statistics(self, batches):
        """Means over batches of what batch normalization normalizes by.

        All variables are afterwards as they were, random states among them.
        """
        layers = list(batch_normalizations(self.trained.network))
        momenta = [layer.momentum for layer in layers]
        moving = moving_statistics(self.trained.network)
        kept = values_of(self.non_trainable_variables)
        sums, count = [0.0] * len(moving), 0
        for layer in layers:
            layer.momentum = 0.0  # they become those of the last batch
        try:
            for inputs, labels in batches:
                weights = np.ones(len(labels), "float32")
                self.test_on_batch(inputs, labels, weights)
                values = values_of(moving)
                sums = [s + v.astype("float64") for s, v in zip(sums, values)]
                count += 1
        finally:
            for layer, momentum in zip(layers, momenta):
                layer.momentum = momentum
            assign(self.non_trainable_variables, kept)
        return [total / count for total in sums]


def values_of(variables):
    """Copies of the variables' values, as NumPy arrays."""
    return [keras.ops.convert_to_numpy(v).copy() for v in variables]


def assign(variables, values):
    """Gives each variable its value."""
    for variable, value in zip(variables, values):
        variable.assign(value)
