"""Models that end in a softmax or sigmoid of any kind, through every export."""

import importlib.util
import json

import keras
import numpy as np
import pytest
from keras import layers
from keras import ops
from tiny_models import random_pixels

from export import quantization_aware
from export import to_onnx
from export import to_saved_model
from export import to_tflite
from export import verify
from export.deploy_graph import deploy_graph
from export.litert import LiteRTModel
from export.opened_graph import without_softmax
from export.tfmot_engine import fine_tune_with_tfmot
from keras_ratn.predictors import gives_probabilities
from keras_ratn.predictors import kind_of_scores
from training.evaluate import TFLitePredictor

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="written with TensorFlow"
)
IMAGES = random_pixels(32, 16)


def ended(*ends):
    inputs = keras.Input((16, 16, 3))
    x = layers.Rescaling(1 / 127.5, -1)(inputs)
    x = layers.Conv2D(4, 3, strides=2, activation="relu")(x)
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.Dense(4, kernel_initializer="ones")(x)
    # So that some are near 0 and some near 1.
    logits = x = layers.BatchNormalization(epsilon=1e-4)(x)
    for end in ends:
        x = end(x)
    model = keras.Model(inputs, x)
    seen = keras.Model(inputs, logits).predict(IMAGES, verbose=0)
    layer = model.get_layer(index=5)
    scale = 2 * (1 + np.arange(4)) / seen.std(0)
    mean, variance = seen.mean(0), np.ones(4)
    layer.set_weights([scale, np.arange(-2.0, 2.0), mean, variance])
    return model


ENDS = {
    "softmax layer": lambda: [layers.Softmax()],
    "softmax operation": lambda: [ops.softmax],
    "softmax, reshaped": lambda: [layers.Softmax(), layers.Reshape((4, 1))],
    "sigmoid operation": lambda: [ops.sigmoid],
    "logits": lambda: [],
}


@pytest.mark.parametrize("end", ENDS)
def test_every_graph_gives_what_the_model_gives(end):
    model = ended(*ENDS[end]())
    kind = kind_of_scores(model)
    aware = quantization_aware(model, [IMAGES])
    for graph in (
        deploy_graph(model),
        deploy_graph(model, integers=True),
        aware,
    ):
        assert kind_of_scores(graph) == kind
    logits = without_softmax(aware)
    if kind != "distribution":
        assert logits is aware
        return
    assert kind_of_scores(logits) == "logits"
    scores = model.predict(IMAGES, verbose=0).reshape(32, 4)
    found = logits.predict(IMAGES, verbose=0)
    assert found.shape[1:] == model.output_shape[1:]
    powers = np.exp(found.reshape(32, 4))
    shares = powers / powers.sum(-1, keepdims=True)
    np.testing.assert_allclose(shares, scores, atol=0.05)


def test_an_activation_inside_of_a_layer_is_left_out_without_the_layer():
    inputs = keras.Input((8, 8, 3))
    x = layers.GlobalAveragePooling2D()(inputs)
    x = layers.EinsumDense(
        "ab,bc->ac", output_shape=4, bias_axes="c", activation="softmax"
    )(x)
    model = keras.Model(inputs, x)
    images = np.random.default_rng(0).uniform(0, 1, (8, 8, 8, 3))
    logits = without_softmax(deploy_graph(model)).predict(images, verbose=0)
    expected = model.predict(images, verbose=0)
    powers = np.exp(logits)
    found = powers / powers.sum(-1, keepdims=True)
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("end", ["softmax operation", "sigmoid operation"])
def test_small_probabilities_reach_the_loss(end):
    """Of those that 8 bits round to zero the loss would learn nothing."""
    model = ended(*ENDS[end]())
    aware = quantization_aware(model, [IMAGES])
    scores = np.asarray(aware(IMAGES, training=True))
    assert (scores < 1 / 512).any()
    assert (scores[scores < 1 / 512] > 0).all()


@pytest.mark.parametrize("end", ENDS)
def test_files_say_what_their_scores_are_and_keep_to_the_limits(end, tmp_path):
    model = ended(*ENDS[end]())
    scores = {"softmax layer": "softmax", "softmax operation": "softmax"}
    scores |= {"softmax, reshaped": "softmax", "sigmoid operation": "sigmoid"}
    for write, name in (
        (to_tflite, "model.tflite"),
        (to_saved_model, "served"),
        (to_onnx, "model.onnx"),
    ):
        if name == "model.onnx" and end != "sigmoid operation":
            continue
        if name == "served" and end != "softmax operation":
            continue
        path = write(model, tmp_path / name)
        entry = json.loads((tmp_path / "model.json").read_text())[name]
        assert entry["scores"] == scores.get(end, "linear")
        assert verify(model, path, IMAGES).passes
        if write is to_tflite and model.output_shape == (None, 4):
            known = TFLitePredictor(path).gives_probabilities
            assert known == gives_probabilities(model)


def test_the_softmax_left_out_of_a_file_is_made_up_for(tmp_path):
    model = ended(ops.softmax)
    path = to_tflite(model, tmp_path / "m.tflite", logits=True)
    entry = json.loads((tmp_path / "model.json").read_text())["m.tflite"]
    assert (entry["scores"], entry["postprocessing"]) == ("linear", "softmax")
    assert LiteRTModel(path).predict(IMAGES)["scores"].min() < 0
    assert verify(model, path, IMAGES).passes


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("tensorflow_model_optimization") is None,
    reason="needs tensorflow-model-optimization",
)
@pytest.mark.parametrize(
    "end", ["softmax layer", "sigmoid operation", "logits"]
)
def test_tfmot_tunes_with_the_loss_of_the_scores(end):
    model = ended(*ENDS[end]())
    scores = model.predict(IMAGES, verbose=0).astype("float64")
    labels = scores.argmax(-1)
    log = fine_tune_with_tfmot(
        model, IMAGES, labels, epochs=1, learning_rate=1e-7
    )[1]
    present = np.eye(4)[labels]
    if end == "logits":
        scores = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
    chances = np.where(present, scores, 1 - scores)
    each = -np.log(chances)
    expected = each.mean() if "sigmoid" in end else each[present > 0].mean()
    loss = float(log.splitlines()[1].split(",")[2])
    assert loss == pytest.approx(expected, abs=0.02)
    assert gives_probabilities(model) == (end != "logits")
