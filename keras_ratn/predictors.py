"""What a model's scores are: probabilities, or logits?"""

import math

import keras
import numpy as np
from keras import ops

# Layers and `keras.ops` operations that are a function of `keras.activations`.
_FUNCTIONS = {
    "HardSigmoid": keras.activations.hard_sigmoid,
    "LogSoftmax": keras.activations.log_softmax,
    "LogSigmoid": keras.activations.log_sigmoid,
    "ReLU": keras.activations.relu,
    "Relu": keras.activations.relu,
    "Sigmoid": keras.activations.sigmoid,
    "Softmax": keras.activations.softmax,
    "SparseSigmoid": keras.activations.sparse_sigmoid,
    "Sparsemax": keras.activations.sparsemax,
}
# What hands values on outside training: as they are, rounded, in another
# shape, or as means of them, which lie between 0 and 1 if they do.
_HAND_ON = (
    "ActivityRegularization",
    "Average",
    "BilinearUpsampling2D",
    "Cast",
    "Copy",
    "Cropping2D",
    "Dropout",
    "ExpandDims",
    "FakeQuantization",
    "Flatten",
    "GaussianDropout",
    "GaussianNoise",
    "GetItem",
    "GlobalAveragePooling1D",
    "GlobalAveragePooling2D",
    "Identity",
    "Permute",
    "Reshape",
    "Squeeze",
    "StopGradient",
    "Transpose",
    "UpSampling2D",
)


def gives_probabilities(model):
    """Whether a model's scores are probabilities, or else logits.

    The one answer for losses, files and measurements. It is read from the
    graph: from the function that makes the scores, be it the activation of a
    layer, a layer of its own or an operation of `keras.ops`, in the model or
    in one inside it, and whatever hands its values on (a reshape, the
    rounding of a quantisation-aware model, the mean of several models).

    Args:
        model: Functional or sequential `keras.Model`. Of several outputs the
            first with one row for each image counts.

    Returns:
        Boolean.

    Example:

    >>> from keras_ratn.predictors import gives_probabilities
    >>> gives_probabilities(keras_ratn.CifarAttention56())
    True
    """
    return kind_of_scores(model) != "logits"


def kind_of_scores(model):
    """What a model's scores say of the classes.

    Args:
        model: As for `gives_probabilities`.

    Returns:
        String: `"distribution"` for probabilities that sum to one, as those
        of a softmax; `"separate"` for a probability of each class by itself,
        as those of a sigmoid; `"logits"` for anything else.
    """
    kinds = {_kind(path[0]) for path in score_paths(model)}
    if "logits" in kinds:
        return "logits"
    return kinds.pop() if len(kinds) == 1 else "separate"


def score_function(model):
    """The name of the function that makes a model's scores.

    Args:
        model: As for `gives_probabilities`.

    Returns:
        String, such as `"softmax"`; `"linear"` for none.
    """
    functions = {function_of(path[0]) for path in score_paths(model)}
    names = {getattr(f, "__name__", "unnamed") for f in functions}
    return names.pop() if len(names) == 1 else "several"


def score_paths(model):
    """The operations that make a model's scores, and what hands these on.

    Args:
        model: As for `gives_probabilities`.

    Returns:
        List with a list for each operation that makes scores, mostly one:
        that operation, and those between it and the model's output.
    """
    if not isinstance(model, keras.Model) or not hasattr(model, "inputs"):
        raise _unseen(model, "is no functional or sequential model")
    return _Graph(model).paths(scores_index(model.outputs))


def scores_index(outputs):
    """Which output has a row of scores for each image: masks have places.

    Args:
        outputs: List of arrays or tensors.

    Returns:
        Integer; 0 if none has.
    """
    ranks = [len(output.shape) for output in outputs]
    return ranks.index(2) if 2 in ranks else 0


class _Graph:
    """The calls of a model, by what its config says of them.

    (Of itself a layer shows its first call only, and a model inside another
    one none.)
    """

    def __init__(self, model):
        config = _config(model)
        if "output_layers" not in config:  # a sequential or subclassed one
            model = keras.Model(model.inputs, model.outputs)
            config = _config(model)
        self.operations = {x.name: x for x in model.operations}
        self.calls = {x["name"]: x["inbound_nodes"] for x in config["layers"]}
        self.inputs = _triples(config["input_layers"])
        self.outputs = _triples(config["output_layers"])

    def paths(self, output):
        """As `score_paths`, for the output of that number."""
        return self._follow(*self.outputs[output])

    def _follow(self, name, call, output):
        operation = self.operations[name]
        if isinstance(operation, keras.Model):
            return self._through(operation, call, output)
        if not _hands_on(operation):
            return [[operation]]
        sources = list(_tensors(self.calls[name][call]))
        if not isinstance(operation, keras.layers.Average):
            sources = sources[:1]  # the others say how to round
        return [
            [*path, operation]
            for source in sources
            for path in self._follow(*source)
        ]

    def _through(self, inner, call, output):
        """Follows a result of a model inside this one."""
        if not hasattr(inner, "inputs"):
            return [[inner]]
        graph, found = _Graph(inner), []
        inputs = [graph.operations[name] for name, *_ in graph.inputs]
        # In the count of Keras, functional models begin with a call of theirs.
        call -= not isinstance(inner, keras.Sequential)
        sources = list(_tensors(self.calls[inner.name][call]))
        for first, *rest in graph.paths(output):
            if first in inputs:
                source = sources[inputs.index(first)]
                found += [[*path, *rest] for path in self._follow(*source)]
            else:
                found.append([first, *rest])
        return found


def _config(model):
    try:
        return model.get_config()
    except (NotImplementedError, TypeError) as error:
        raise _unseen(model, f"has no config: {error}") from error


def _triples(histories):
    """Name of an operation, number of its call, number of the result."""
    flat = keras.tree.flatten(histories)
    return [flat[i : i + 3] for i in range(0, len(flat), 3)]


def _tensors(arguments):
    """The same of each tensor among the arguments of a call."""
    if isinstance(arguments, dict):
        if arguments.get("class_name") == "__keras_tensor__":
            yield arguments["config"]["keras_history"]
            return
        arguments = arguments.values()
    if not isinstance(arguments, (str, bytes)) and hasattr(
        arguments, "__iter__"
    ):
        for argument in arguments:
            yield from _tensors(argument)


def _hands_on(operation):
    if isinstance(operation, keras.layers.Rescaling):
        return np.all(operation.scale == 1) and not np.any(operation.offset)
    if isinstance(operation, keras.layers.Activation):
        return operation.activation is keras.activations.linear
    return type(operation).__name__ in _HAND_ON


def function_of(operation):
    """The function that makes an operation's result.

    Args:
        operation: Layer or operation of a model.

    Returns:
        Function of tensors; `keras.activations.linear` for none.
    """
    kind = type(operation).__name__
    if kind in _FUNCTIONS:
        return _FUNCTIONS[kind]
    if isinstance(operation, keras.layers.Lambda):
        return operation.function
    known = type(operation).__module__.startswith(("keras.", "keras_ratn."))
    if isinstance(operation, keras.Model) or not (
        known or hasattr(operation, "activation")
    ):
        raise _unseen(operation, "is of a class that is not Keras's")
    function = getattr(operation, "activation", None)
    if isinstance(function, keras.Layer):
        return function_of(function)
    return keras.activations.get(function)


def _kind(operation):
    """As `kind_of_scores`, found by trying the function on some numbers."""
    function, shape = function_of(operation), (2, 6)
    if isinstance(operation, keras.layers.Lambda):
        shape = [size or 2 for size in operation.input.shape]
    logits = np.linspace(-30, 40, math.prod(shape)).reshape(shape)
    try:
        scores = function(ops.convert_to_tensor(logits, "float32"))
        scores = ops.convert_to_numpy(scores)
    except Exception as error:  # anything, of a function of somebody else's
        raise _unseen(operation, f"cannot be tried: {error}") from error
    if scores.min() < 0 or scores.max() > 1:
        return "logits"
    sums = scores.sum(axis=-1)
    return "distribution" if np.allclose(sums, 1, atol=1e-3) else "separate"


def _unseen(operation, reason):
    return ValueError(
        "Whether a model gives probabilities or logits is read from what "
        "makes its scores. Received: a model that ends in "
        f"{operation.name!r} of class {type(operation).__name__}, which "
        f"{reason}. End it with a layer of Keras's own, or give the layer an "
        "attribute `activation`: its last function, or `None` for logits."
    )
