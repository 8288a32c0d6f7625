"""Random models of Keras's layers against their deploy graphs."""

import keras
import numpy as np
import pytest
from fuzz import graphs
from fuzz import profile
from hypothesis import given

from export.deploy_graph import deploy_graph

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="exports need TensorFlow"
)
LARGEST_ERROR = 1e-5


@profile.cases(6)
@given(graphs.GRAPHS)
def test_a_deploy_graph_computes_what_its_model_does(graph):
    profile.count("graphs", check(graph, integers=False))


@profile.cases(6)
@given(graphs.GRAPHS)
def test_a_graph_for_integers_computes_what_its_model_does(graph):
    profile.count("graphs for integers", check(graph, integers=True))


def check(graph, integers):
    """Compares the model in float32 with the deploy graph of its twin.

    The twin has the same weights and is made, and rewritten, under the
    graph's policy and layout.
    """
    with profile.globally("float32", "channels_last"):
        try:
            plain = graphs.build(graph)
        except ValueError:
            return "no model"  # too few channels for a layer of ours
        if plain.output is plain.inputs[0]:
            return "no layer"
        pixels = graphs.images(graph)
        expected = _predict(plain, _in_layout(pixels, graph.layout))
    if not np.isfinite(expected).all() or np.abs(expected).max() < 1e-6:
        return "no numbers"
    with profile.globally(graph.policy, graph.layout):
        source = graphs.build(graph)
        source.set_weights(plain.get_weights())
        try:
            deployed = deploy_graph(source, integers=integers)
        except ValueError as error:
            names = [repr(layer.name) for layer in source.layers]
            assert any(name in str(error) for name in names), error
            return "refused"
        assert keras.config.dtype_policy().name == graph.policy
        assert keras.config.image_data_format() == graph.layout
    is_first = any(
        getattr(layer, "data_format", None) == "channels_first"
        for layer in _layers(source)
    )
    layout = "channels_last" if is_first else graph.layout
    actual = _predict(deployed, _in_layout(pixels, layout))
    if is_first and actual.ndim == 4:
        actual = actual.transpose(0, 3, 1, 2)
    assert actual.shape == expected.shape
    error = np.abs(actual - expected).max() / np.abs(expected).max()
    assert error < LARGEST_ERROR
    return "accepted"


def _in_layout(pixels, layout):
    is_first = layout == "channels_first"
    return pixels.transpose(0, 3, 1, 2) if is_first else pixels


def _layers(model):
    for layer in model.layers:
        yield layer
        if isinstance(layer, keras.Model):
            yield from _layers(layer)


def _predict(model, pixels):
    """By XLA in channels-first, which TensorFlow's processors lack."""
    if any(
        getattr(layer, "data_format", None) == "channels_first"
        for layer in _layers(model)
    ):
        model.compile(jit_compile=True)
        return np.asarray(model.predict_on_batch(pixels))
    return keras.ops.convert_to_numpy(model(pixels, training=False))
