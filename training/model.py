"""What is compiled and fitted: augmentation, network and loss in one model."""

import keras
from keras import ops

from keras_ratn.predictors import kind_of_scores

from .augmentation import image_layers
from .augmentation import mixing_layers
from .batch_normalization import moving_statistics


class TrainingModel(keras.Model):
    """Augments images, mixes them with their labels, and runs the network.

    The network inside is what is saved and used; this wrapper exists during
    training only. It takes `{"images": ..., "labels": ...}` because mixing
    changes the labels too, and returns `{"scores": ..., "targets": ...}`.

    Args:
        network: `keras.Model` from pixels 0-255 to probabilities or logits.
        augmentation: `AugmentationConfig`.
        seed: Integer. Of the augmentation.
    """

    def __init__(self, network, augmentation, seed):
        super().__init__(name="training")
        self.network = network
        self.image_layers = image_layers(augmentation, seed)
        self.mixing_layers = mixing_layers(augmentation, seed)
        self.average_statistics = []

    def build(self, input_shape):
        """Nothing to do: the network comes built."""

    def add_average_statistics(self):
        """Makes room for the batch statistics of the weights' average.

        They are variables of the model, so that checkpoints hold them.
        """
        statistics = moving_statistics(self.network)
        self.average_statistics = [
            self.add_weight(
                shape=variable.shape,
                dtype=variable.dtype,
                trainable=False,
                name=f"average_{variable.name}",
            )
            for variable in statistics
        ]
        # Frozen layers keep theirs.
        for average, variable in zip(self.average_statistics, statistics):
            average.assign(keras.ops.convert_to_numpy(variable).copy())

    def call(self, inputs, training=False):
        images = ops.cast(inputs["images"], "float32")
        targets = ops.one_hot(inputs["labels"], self.network.output_shape[-1])
        if training:
            for layer in self.image_layers:
                images = layer(images, training=True)
            for layer in self.mixing_layers:
                mixed = layer(
                    {"images": images, "labels": targets}, training=True
                )
                images, targets = mixed["images"], mixed["labels"]
        scores = self.network(images, training=training)
        return {"scores": scores, "targets": targets}

    def compute_loss(
        self, x=None, y=None, y_pred=None, sample_weight=None, training=True
    ):
        return super().compute_loss(
            x, y_pred["targets"], y_pred["scores"], sample_weight, training
        )

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        # Against the true labels, mixed or not.
        return super().compute_metrics(x, y, y_pred["scores"], sample_weight)


def compile_model(model, optimizer, config):
    """Compiles a `TrainingModel` as its `Experiment` says."""
    runtime = config.runtime
    model.compile(
        optimizer,
        loss=loss_of(model.network, config.label_smoothing),
        weighted_metrics=[
            keras.metrics.SparseCategoricalAccuracy(name="accuracy")
        ],
        jit_compile=_jit_compile(runtime),
        steps_per_execution=runtime.steps_per_execution,
    )
    if config.optimizer.ema:
        model.add_average_statistics()
    # Not `optimizer`: for float16 Keras wraps it in one that scales the loss.
    model.optimizer.build(model.trainable_variables)


def loss_of(network, label_smoothing=0.0):
    """The loss that fits what the network's scores are.

    Cross-entropy over the classes for logits and for the probabilities of a
    softmax. Where each class has a probability of its own, as from a sigmoid,
    cross-entropy of each class by itself, present or absent, and the mean of
    these: over the classes only the ratios of such scores would be learned.

    Args:
        network: `keras.Model`.
        label_smoothing: Float. Defaults to `0.0`.

    Returns:
        `keras.losses.Loss` that takes one-hot or mixed targets.
    """
    kind = kind_of_scores(network)
    if kind == "separate":
        return keras.losses.BinaryCrossentropy(label_smoothing=label_smoothing)
    return keras.losses.CategoricalCrossentropy(
        from_logits=kind == "logits", label_smoothing=label_smoothing
    )


def _jit_compile(runtime):
    if runtime.jit_compile is not None:
        return runtime.jit_compile
    on_tensorflow = keras.backend.backend() == "tensorflow"
    if on_tensorflow and not keras.distribution.list_devices("gpu"):
        # There, XLA doubles the time to the first step and saves none after.
        return False
    return "auto"
