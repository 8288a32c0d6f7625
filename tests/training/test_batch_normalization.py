"""Fused batch normalization computes what Keras's own does."""

import contextlib

import keras
import numpy as np
import pytest
from tiny_models import random_pixels
from tiny_models import SMALLEST
from tiny_models import tiny_model

from training.batch_normalization import batch_normalizations
from training.batch_normalization import fused_batch_normalization

if keras.backend.backend() != "tensorflow":
    pytest.skip("the fused kernel is TensorFlow's", allow_module_level=True)

import tensorflow as tf


def fit(context, **options):
    """A tiny network after two steps inside `context(model)`."""
    keras.utils.set_random_seed(0)
    model = tiny_model(architecture=SMALLEST, **options)
    model.compile("sgd", "sparse_categorical_crossentropy", jit_compile=False)
    images, labels = random_pixels(6), np.arange(6) % 5
    if options.get("data_format") == "channels_first":
        images = images.transpose(0, 3, 1, 2)
    with context(model):
        model.fit(images, labels, 6, epochs=2, shuffle=False, verbose=0)
    return model


def num_fused(model, training=True):
    """Fused operations in a graph of the network."""

    @tf.function
    def forward(images):
        return model(images, training=training)

    graph = forward.get_concrete_function(random_pixels(2)).graph
    return sum(op.type == "FusedBatchNormV3" for op in graph.get_operations())


@pytest.mark.parametrize(
    "options",
    [{}, {"remat": True}, {"data_format": "channels_first"}],
    ids=["plain", "remat", "channels first"],
)
def test_two_steps_are_keras_own_two_steps(options):
    expected = fit(lambda model: contextlib.nullcontext(), **options)
    found = fit(fused_batch_normalization, **options)
    for mine, own in zip(found.variables, expected.variables):
        np.testing.assert_allclose(
            mine.numpy(), own.numpy(), rtol=1e-4, atol=1e-5, err_msg=mine.path
        )


def test_a_step_runs_one_kernel_for_each_layer():
    model = tiny_model()
    layers = list(batch_normalizations(model))
    assert len(layers) == len({id(layer) for layer in layers}) > 10
    with fused_batch_normalization(model):
        assert num_fused(model) == len(layers)
        assert num_fused(model, training=False) == len(layers)
    assert num_fused(model) == 0


def test_layers_without_a_fused_equal_keep_their_own_computation():
    model = tiny_model()
    first, second, third, *others = batch_normalizations(model)
    first.synchronized = True
    second.trainable = False  # it then normalizes by its moving statistics
    images = random_pixels(2)
    expected = model(images, training=True)
    with fused_batch_normalization(model):
        assert num_fused(model) == len([second, third, *others])
        found = model(images, training=True)
    assert np.abs(found - expected).max() < 1e-5


def test_mixed_precision_keeps_its_own_computation():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = tiny_model()
    finally:
        keras.config.set_dtype_policy("float32")
    with fused_batch_normalization(model):
        assert num_fused(model) == 0


def test_contexts_inside_each_other_and_a_call_of_somebody_else():
    model = tiny_model()
    first, *others = batch_normalizations(model)
    own = first.call
    first.call = lambda *args, **kwargs: own(*args, **kwargs)
    mine = first.call
    with fused_batch_normalization(model):
        with fused_batch_normalization(model):
            assert num_fused(model) == len(others)
        assert num_fused(model) == len(others)  # the outer one goes on
    assert first.call is mine
    assert not any("call" in vars(layer) for layer in others)


def test_layers_are_as_before_after_an_error():
    model = tiny_model()
    with pytest.raises(RuntimeError, match="stopped"):
        with fused_batch_normalization(model):
            raise RuntimeError("stopped")
    assert not any("call" in vars(b) for b in batch_normalizations(model))
