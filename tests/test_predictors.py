"""Whatever makes a model's scores, its own numbers say what they are."""

import keras
import numpy as np
import pytest
from keras import layers
from keras import ops

import keras_ratn
from keras_ratn.predictors import gives_probabilities
from keras_ratn.predictors import kind_of_scores
from keras_ratn.predictors import score_function
from keras_ratn.predictors import score_paths

NUM_CLASSES = 6


def ended(*ends, before=None):
    """A model of features that ends in these layers and operations."""
    inputs = keras.Input((4,))
    x = layers.Dense(NUM_CLASSES, activation=before)(inputs)
    for end in ends:
        x = end(x)
    return keras.Model(inputs, x)


def sequential(*ends):
    return keras.Sequential(
        [keras.Input((4,)), layers.Dense(NUM_CLASSES), *ends]
    )


def nested(*ends, behind=()):
    """A model inside another one, called for the second time there."""
    inner = ended(*ends)
    inputs = keras.Input((4,))
    x = inner(ops.add(inputs, inner(inputs)[:, :4]))
    for end in behind:
        x = end(x)
    return keras.Model(inputs, x)


def shared_activation():
    """One layer that is a gate first, and makes the scores in the end."""
    sigmoid, inputs = layers.Activation("sigmoid"), keras.Input((4,))
    gated = layers.Multiply()([inputs, sigmoid(inputs)])
    return keras.Model(inputs, sigmoid(layers.Dense(NUM_CLASSES)(gated)))


def gate_only():
    inputs = keras.Input((4,))
    gated = layers.Multiply()([inputs, ops.sigmoid(inputs)])
    return keras.Model(inputs, layers.Dense(NUM_CLASSES)(gated))


def ensemble(*functions):
    inputs = keras.Input((4,))
    scores = [ended(before=function)(inputs) for function in functions]
    return keras.Model(inputs, layers.Average()(scores))


def rounded(function):
    """As `quantization_aware` ends a model."""
    return (
        layers.Activation(function),
        keras_ratn.layers.FakeQuantization(0.0, 255 / 256, fixed=True),
    )


def handing_on():
    """A model that computes nothing itself."""
    return sequential_of(layers.Rescaling(1.0), layers.Reshape((1, -1)))


def sequential_of(*ends):
    return keras.Sequential([keras.Input((NUM_CLASSES,)), *ends])


CASES = {
    "logits": [
        lambda: ended(),
        lambda: sequential(),
        lambda: ended(before="relu"),
        lambda: ended(before="tanh"),
        lambda: ended(ops.log_softmax),
        lambda: ended(layers.Softmax(), layers.Dense(3)),
        lambda: ended(layers.Softmax(), layers.Rescaling(2.0)),
        lambda: nested(),
        gate_only,
        lambda: ensemble("softmax", None),
        lambda: ended(handing_on()),
        lambda: ended(layers.Lambda(lambda x: 2 * x)),
    ],
    "distribution": [
        lambda: ended(before="softmax"),
        lambda: ended(layers.Softmax()),
        lambda: ended(layers.Activation("softmax")),
        lambda: ended(ops.softmax),
        lambda: ended(ops.softmax, layers.Reshape((1, -1))),
        lambda: ended(layers.Reshape((2, 3)), layers.Softmax()),
        lambda: ended(layers.Softmax(), layers.Rescaling(1.0)),
        lambda: ended(layers.Softmax(), layers.Activation("linear")),
        lambda: ended(layers.Softmax(), layers.Identity(), layers.Dropout(0.5)),
        lambda: ended(layers.Softmax(), lambda x: ops.cast(x, "float16")),
        lambda: ended(ops.sparsemax),
        lambda: ended(before=layers.Softmax()),
        lambda: ended(before=lambda x: ops.softmax(x / 2)),
        lambda: ended(layers.Lambda(lambda x: ops.softmax(x, axis=-1))),
        lambda: ended(*rounded("softmax")),
        lambda: sequential(layers.Softmax()),
        lambda: sequential(layers.Activation("softmax")),
        lambda: nested(layers.Softmax()),
        lambda: nested(ops.softmax, behind=[layers.Reshape((1, -1))]),
        lambda: ended(layers.Softmax(), handing_on()),
        lambda: ensemble("softmax", "softmax"),
        lambda: ended(sequential_of(layers.Softmax())),
    ],
    "separate": [
        lambda: ended(before="sigmoid"),
        lambda: ended(before="hard_sigmoid"),
        lambda: ended(layers.Activation("sigmoid")),
        lambda: ended(ops.sigmoid),
        lambda: ended(ops.hard_sigmoid, layers.Flatten()),
        lambda: ended(*rounded("sigmoid")),
        lambda: sequential(layers.Activation("sigmoid")),
        lambda: nested(ops.sigmoid),
        shared_activation,
        lambda: ensemble("softmax", "sigmoid"),
    ],
}


def kind_of_numbers(model):
    """What a model's scores look like: what its graph ought to say."""
    rng = np.random.default_rng(0)
    for variable in model.trainable_variables:
        variable.assign(20 * rng.standard_normal(variable.shape))
    inputs = rng.standard_normal((32, 4))
    scores = np.asarray(model(inputs), "float64")
    if scores.min() < 0 or scores.max() > 1:
        return "logits"
    one = np.allclose(scores.sum(-1), 1, atol=0.02)  # of float16 and 8 bits
    return "distribution" if one else "separate"


@pytest.mark.parametrize(
    "kind, number",
    [(kind, i) for kind in CASES for i in range(len(CASES[kind]))],
)
def test_the_graph_says_what_the_numbers_are(kind, number):
    model = CASES[kind][number]()
    assert kind_of_scores(model) == kind
    assert gives_probabilities(model) == (kind != "logits")
    assert kind_of_numbers(model) == kind


def test_scores_are_the_output_with_a_row_for_each_image():
    inputs = keras.Input((8, 8, 3))
    mask = layers.Conv2D(1, 1, activation="sigmoid")(inputs)
    scores = layers.Dense(3)(layers.GlobalAveragePooling2D()(mask * inputs))
    assert not gives_probabilities(keras.Model(inputs, [mask, scores]))
    assert gives_probabilities(keras.Model(inputs, mask))


@pytest.mark.parametrize("activation", ["softmax", "sigmoid", None])
def test_a_network_is_seen_as_it_was_built(activation):
    model = keras_ratn.ResNet18(
        input_shape=(32, 32, 3), classes=2, classifier_activation=activation
    )
    assert score_function(model) == (activation or "linear")


def test_places_have_scores_too():
    inputs = keras.Input((8, 8, 3))
    logits = layers.Conv2D(4, 1)(inputs)
    large = layers.UpSampling2D(2, interpolation="bilinear")(
        layers.Softmax()(logits)
    )
    assert kind_of_scores(keras.Model(inputs, large)) == "distribution"
    assert kind_of_scores(keras.Model(inputs, logits)) == "logits"


def test_paths_hold_what_hands_the_scores_on():
    softmax, reshape = layers.Softmax(), layers.Reshape((1, -1))
    identity = layers.Identity()
    inner = ended(softmax, identity)
    inputs = keras.Input((4,))
    outer = keras.Model(inputs, reshape(inner(inputs)))
    assert score_paths(outer) == [[softmax, identity, reshape]]


class Scorer(keras.Layer):
    """Somebody's own layer."""

    def call(self, inputs):
        return ops.softmax(inputs)


class Subclassed(keras.Model):
    """Somebody's own model, which has no graph."""

    def call(self, inputs):
        return ops.softmax(inputs)


@pytest.mark.parametrize("end", [Scorer, Subclassed])
def test_what_cannot_be_seen_is_not_guessed(end):
    with pytest.raises(ValueError, match=f"class {end.__name__}.*activation"):
        gives_probabilities(ended(end()))
    with pytest.raises(ValueError, match="no functional or sequential"):
        gives_probabilities(Subclassed())


def test_somebodys_own_layer_may_say_it():
    layer = Scorer()
    layer.activation = keras.activations.softmax
    assert gives_probabilities(ended(layer))
    layer.activation = None
    assert not gives_probabilities(ended(layer))
