"""Averaged weights are evaluated with batch statistics of their own."""

import csv
import dataclasses

import keras
import numpy as np
import pytest
from training_runs import smallest

from training import train
from training.averaging import averaged_weights
from training.averaging import measured_batches
from training.averaging import MEASURED_IMAGES
from training.config import AugmentationConfig
from training.data import epoch_order
from training.data import load_source
from training.model import compile_model
from training.model import TrainingModel
from training.optimization import build_optimizer

PLAIN = AugmentationConfig(flip=False, shift=0.0)
MIXED = AugmentationConfig(flip=True, shift=0.125, cutmix=True)


def build(config, class_names, channels):
    """A network of two normalizations, the first of them frozen."""
    keras.utils.set_random_seed(1)
    inputs = keras.Input((32, 32, channels))
    x = keras.layers.Rescaling(1 / 255)(inputs)
    frozen = keras.layers.BatchNormalization(name="frozen")
    x = frozen(x)
    frozen.moving_variance.assign([0.25] * channels)
    frozen.trainable = False
    x = keras.layers.Conv2D(4, 8, 8, use_bias=False, name="conv")(x)
    x = keras.layers.BatchNormalization(momentum=0.9, name="normal")(x)
    x = keras.layers.Flatten()(keras.layers.ReLU()(x))
    x = keras.layers.Dense(len(class_names), "softmax")(x)
    return keras.Model(inputs, x)


def experiment(ema=0.9, **changes):
    optimizer = dataclasses.replace(smallest().optimizer, ema=ema)
    changes = {"augmentation": PLAIN, "epochs": 2, **changes}
    return smallest(optimizer=optimizer, **changes)


def measured(network, config, split):
    """Mean over the batches of mean and variance of what is normalized."""
    part = keras.Model(network.input, network.get_layer("conv").output)
    order = epoch_order(len(split), config.seed, 0)
    steps = len(split) // config.batch_size
    images, _ = split.read(order[: steps * config.batch_size])
    values = part.predict(images.astype("f4"), verbose=0)
    values = values.reshape(steps, -1, values.shape[-1]).astype("f8")
    return values.mean(axis=1).mean(axis=0), values.var(axis=1).mean(axis=0)


def accuracy(network, split):
    images, _ = split.read(np.arange(len(split)))
    scores = network.predict(images.astype("f4"), verbose=0)
    return np.mean(scores.argmax(axis=1) == split.labels)


@pytest.mark.parametrize("validation", [0.1, 0.0])
def test_what_is_saved_and_tested_has_its_own_statistics(tmp_path, validation):
    data = dataclasses.replace(smallest().data, validation_fraction=validation)
    config = experiment(data=data)
    results = train.run(config, tmp_path, build=build)
    source = load_source(config.data, config.seed)
    for name in ("best", "last") if validation else ("last",):
        network = keras.saving.load_model(tmp_path / f"{name}.keras")
        _, _, mean, variance = network.get_layer("normal").get_weights()
        expected = measured(network, config, source.train)
        np.testing.assert_allclose(mean, expected[0], rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(variance, expected[1], rtol=1e-3, atol=1e-4)
        _, _, mean, variance = network.get_layer("frozen").get_weights()
        assert set(mean) == {0.0} and set(variance) == {0.25}
    assert results["test"]["accuracy"] == pytest.approx(
        accuracy(network, source.test)
    )
    if validation:
        network = keras.saving.load_model(tmp_path / "best.keras")
        best = max(row["val_accuracy"] for row in results["history"])
        assert best == pytest.approx(accuracy(network, source.validation))


def test_training_itself_is_the_same_with_and_without(tmp_path):
    """Neither weights nor statistics nor random states are touched."""
    for ema in (0.0, 0.9):
        config = experiment(ema, augmentation=MIXED)
        train.run(config, tmp_path / str(ema), build=build)
    logs = [
        [row["loss"] for row in csv.DictReader((run / "log.csv").open())]
        for run in (tmp_path / "0.0", tmp_path / "0.9")
    ]
    assert len(logs[0]) == 2 and logs[0] == logs[1]


@pytest.mark.parametrize("precision", ["float32", "mixed_float16"])
def test_averages_are_evaluated_and_put_back(precision):
    keras.config.set_dtype_policy(precision)
    config = experiment(0.5)
    network = build(config, "ab", 3)
    model = TrainingModel(network, PLAIN, 1)
    compile_model(model, build_optimizer(config, 4), config)
    for statistic in model.average_statistics:
        statistic.assign(keras.ops.full(statistic.shape, 7.0))
    # Keras wraps it for float16.
    optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    # The average begins with the first update.
    optimizer.apply([keras.ops.zeros(v.shape) for v in model.trainable_weights])
    kernel = network.get_layer("conv").kernel
    moving = network.get_layer("normal").moving_mean
    average = keras.ops.convert_to_numpy(kernel).copy()
    kernel.assign(kernel + 1)
    with averaged_weights(model):
        inside = keras.ops.convert_to_numpy(kernel).copy()
        kernel.assign(inside + 1)
        np.testing.assert_array_equal(moving, [7.0] * 4)
    np.testing.assert_array_equal(inside, average)
    np.testing.assert_allclose(kernel, average + 1)
    np.testing.assert_array_equal(moving, [0.0] * 4)


def test_so_many_images_are_measured():
    batches = [({"images": np.zeros(3)}, np.zeros(3))] * 3000
    assert len(list(measured_batches(batches, 3))) == -(-MEASURED_IMAGES // 3)
    assert len(list(measured_batches(batches[:5], 3))) == 5
