import dataclasses

import keras
import numpy as np
import pytest
from tiny_models import forward
from tiny_models import random_pixels
from tiny_models import TINY
from training_runs import checkpoint_arrays
from training_runs import smallest

import keras_ratn
from keras_ratn.layers.trunk_units import UNITS
from training import callbacks
from training import train
from training.batch_normalization import batch_normalizations
from training.config import AugmentationConfig
from training.config import InitializationConfig
from training.config import OptimizerConfig
from training.errors import RunError
from training.initialization import branch_ends
from training.initialization import set_momentum
from training.initialization import stem_convolution
from training.initialization import whiten
from training.initialization import zero_branches

numpy = keras.ops.convert_to_numpy


@pytest.mark.parametrize("stem", ["cifar", "imagenet"])
def test_a_whitened_stem_sees_uncorrelated_numbers(stem):
    architecture = dataclasses.replace(TINY, stem=stem, stem_filters=9)
    network = keras_ratn.ResidualAttentionNetwork(
        architecture, classes=3, input_shape=(32, 32, 3)
    )
    layer = stem_convolution(network)
    assert layer.name == "stem_conv"
    before = numpy(layer.kernel).copy()
    images = random_pixels(60)
    images += np.random.default_rng(2).normal(0, 20, images.shape)
    whiten(network, layer, images)
    # Of every window, also where a strided convolution takes none.
    plain = keras.layers.Conv2D(9, layer.kernel_size, use_bias=False)
    model = keras.Model(network.input, plain(layer.input))
    plain.kernel.assign(numpy(layer.kernel))
    seen = forward(model, images).reshape(-1, 9)
    np.testing.assert_allclose(
        np.cov(seen[:, :4], rowvar=False), np.eye(4), atol=0.02
    )
    np.testing.assert_allclose(seen[:, 4:8], -seen[:, :4], atol=1e-3)
    # A filter without a partner keeps what it had.
    np.testing.assert_array_equal(numpy(layer.kernel)[..., 8], before[..., 8])
    # The directions of largest variance, by the whole spectrum.
    filters = numpy(layer.kernel).reshape(-1, 9)[:, :4]
    deviations = 1 / np.linalg.norm(filters, axis=0)
    assert (np.diff(deviations) < 0).all()


def test_only_a_convolution_can_be_whitened():
    network = keras.Sequential(
        [keras.Input((32, 32, 3)), keras.layers.Dense(4, name="embedding")]
    )
    with pytest.raises(RunError, match="begins with Dense 'embedding'"):
        stem_convolution(network)


@pytest.mark.parametrize("unit", ["residual", "resnext", "inception"])
def test_units_begin_by_adding_nothing(unit):
    layer = UNITS[unit](32)
    inputs = keras.Input((8, 8, 32))
    network = keras.Model(inputs, layer(inputs))
    images = np.random.default_rng(0).uniform(0, 1, (2, 8, 8, 32))
    assert np.abs(forward(network, images) - images).max() > 0.1
    zero_branches(network)
    np.testing.assert_allclose(forward(network, images), images, atol=1e-6)


@pytest.mark.parametrize("block", ["basic", "bottleneck", "self_calibrated"])
@pytest.mark.parametrize("attention", [None, "se"])
def test_blocks_of_a_resnet_begin_by_adding_nothing(block, attention):
    backbone = keras_ratn.ResidualBackbone(
        (1, 1), block, "cifar", 16, (16, 32), attention=attention
    )
    inputs = keras.Input((32, 32, 3))
    network = keras.Model(inputs, backbone.features(inputs, "channels_last"))
    zero_branches(network)
    adds = [x for x in network.layers if isinstance(x, keras.layers.Add)]
    assert len(adds) == len(list(branch_ends(network))) == 2
    pairs = keras.Model(inputs, [[x.input[1], x.output] for x in adds])
    for shortcut, total in forward(pairs, random_pixels(2)):
        assert np.abs(shortcut).max() > 0.1
        np.testing.assert_array_equal(total, shortcut)


def test_all_units_of_an_attention_network_are_found():
    network = keras_ratn.ResidualAttentionNetwork(TINY, classes=3)
    others = {
        v.path: numpy(v).copy()
        for v in network.variables
        if not v.path.endswith("conv3/kernel")
    }
    ends = [id(v) for v in branch_ends(network)]
    assert len(ends) == len(set(ends)) == len(network.variables) - len(others)
    zero_branches(network)
    for variable in network.variables:
        if variable.path in others:
            np.testing.assert_array_equal(variable, others[variable.path])
        else:
            assert np.abs(numpy(variable)).max() == 0


def test_what_does_not_fit_a_network_is_refused():
    network = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
    with pytest.raises(RunError, match="has none. Leave it out"):
        zero_branches(network)
    with pytest.raises(RunError, match="needs batch normalization"):
        set_momentum(network, 0.6)
    with pytest.raises(ValueError, match="`initialization.whiten_stem` would"):
        smallest(
            init="weights.h5",
            initialization=InitializationConfig(whiten_stem=True),
        )


def tricks(**changes):
    """All of the recipe's, on the smallest network."""
    return smallest(
        batch_norm_momentum=0.6,
        initialization=InitializationConfig(True, True),
        augmentation=AugmentationConfig(alternate_flip=True, border="reflect"),
        optimizer=OptimizerConfig(
            "muon",
            learning_rate=0.005,
            schedule="linear",
            warmup_epochs=0.5,
            momentum=0.95,
            weight_decay=0.1,
            bias_factor=8.0,
        ),
        **changes,
    )


@pytest.mark.slow
def test_a_run_with_all_tricks_is_resumed_to_the_bit(tmp_path, monkeypatch):
    train.run(tricks(), tmp_path / "whole")
    parts = tmp_path / "parts"

    def stop(self, epoch, logs=None):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(callbacks.TimeLimit, "on_epoch_end", stop)
        with pytest.raises(KeyboardInterrupt):
            train.run(tricks(), parts, time_limit=60)
    with pytest.raises(RunError, match="bias_factor: 8.0 -> 1.0"):
        other = dataclasses.replace(tricks().optimizer, bias_factor=1.0)
        train.run(dataclasses.replace(tricks(), optimizer=other), parts)
    results = train.run(tricks(), parts)
    assert len(results["history"]) == 2
    whole = checkpoint_arrays(tmp_path / "whole")
    resumed = checkpoint_arrays(parts)
    assert whole.keys() == resumed.keys()
    for key, value in whole.items():
        np.testing.assert_array_equal(resumed[key], value, err_msg=key)


def test_a_network_learns_with_the_momentum_asked_for():
    network = keras_ratn.ResidualAttentionNetwork(TINY, classes=3)
    set_momentum(network, 0.6)
    images = random_pixels(4)
    (first, *_) = batch_normalizations(network.get_layer("stage1_unit"))
    network(images, training=True)
    mean = numpy(first.moving_mean)
    before = keras.Model(network.input, network.get_layer("stage1_unit").input)
    expected = 0.4 * forward(before, images).mean(axis=(0, 1, 2))
    np.testing.assert_allclose(mean, expected, rtol=1e-3, atol=1e-5)
