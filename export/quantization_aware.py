"""Quantisation-aware models in Keras, by the rules of LiteRT's int8."""

import math

import keras
import numpy as np
from keras import ops

from keras_ratn.keras_settings import standard_settings
from keras_ratn.layers import BilinearUpsampling2D
from keras_ratn.layers import FakeQuantization
from keras_ratn.layers import MaskActivation
from keras_ratn.layers import QuantizationAwareConv2D
from keras_ratn.layers import QuantizationAwareDense
from keras_ratn.layers import QuantizationAwareDepthwiseConv2D
from keras_ratn.layers import QuantizationAwareRescaling
from keras_ratn.predictors import function_of

from . import metadata
from .calls import symbolic_tensors
from .deploy_graph import deploy_graph
from .layer_copies import copied
from .opened_graph import connections
from .opened_graph import consumers
from .opened_graph import deep_recursion
from .opened_graph import probabilities
from .representative import representative_images

# LiteRT computes sigmoid and softmax with a scale of 1/256, and division by
# the norm with one of 1/128, whatever their inputs.
_UNIT_RANGE = (0.0, 255 / 256)
_SIGNED_UNIT_RANGE = (-1.0, 127 / 128)
_PIXELS = (0.0, 255.0)

_WITH_KERNELS = {
    "Conv2D": QuantizationAwareConv2D,
    "DepthwiseConv2D": QuantizationAwareDepthwiseConv2D,
    "Dense": QuantizationAwareDense,
    "ClassificationHead": QuantizationAwareDense,
}
_AWARE = {**_WITH_KERNELS, "Rescaling": QuantizationAwareRescaling}
# A ReLU that is the only reader of one of these is computed with it.
_FUSE_RELU = (*_AWARE, "Add", "Multiply")
# These choose or weigh values of their input and keep its scale.
_KEEP_SCALE = (
    keras.layers.Cropping2D,
    keras.layers.Flatten,
    keras.layers.GlobalMaxPooling2D,
    keras.layers.AveragePooling2D,
    keras.layers.MaxPooling2D,
    keras.layers.Permute,
    keras.layers.Reshape,
    keras.layers.UpSampling2D,
    keras.layers.ZeroPadding2D,
    BilinearUpsampling2D,
)
# Of these, those whose values are none of their input's.
_MAKE_NEW_VALUES = (
    keras.layers.AveragePooling2D,
    keras.layers.UpSampling2D,
    BilinearUpsampling2D,
)
# What LiteRT rounds once, after it, and has kernels of 8 bits for. These lists
# are measured: `test_what_is_accepted_becomes_an_integer_file` tries what
# Keras has.
_ONE_STEP_FUNCTIONS = [
    getattr(keras.activations, name)
    for name in (
        "exponential",
        "gelu",
        "hard_silu",
        "hard_tanh",
        "leaky_relu",
        "linear",
        "log_softmax",
        "relu",
        "relu6",
        "sigmoid",
        "silu",
        "soft_shrink",
        "softmax",
        "tanh",
        "tanh_shrink",
    )
]
_ONE_STEP_LAYERS = (
    *_KEEP_SCALE,
    keras.layers.AdaptiveAveragePooling2D,
    keras.layers.AdaptiveMaxPooling2D,
    keras.layers.AveragePooling1D,
    keras.layers.CenterCrop,
    keras.layers.Concatenate,
    keras.layers.Cropping1D,
    keras.layers.Dot,
    keras.layers.GlobalAveragePooling1D,
    keras.layers.GlobalAveragePooling2D,
    keras.layers.LeakyReLU,
    keras.layers.MaxPooling1D,
    keras.layers.RepeatVector,
    keras.layers.UpSampling1D,
    keras.layers.ZeroPadding1D,
    MaskActivation,
)
_OF_TWO = (
    keras.layers.Add,
    keras.layers.Maximum,
    keras.layers.Minimum,
    keras.layers.Multiply,
    keras.layers.Subtract,
)
_ONE_STEP_OPERATIONS = (
    "Add",
    "Concatenate",
    "Max",
    "Mean",
    "Multiply",
    "Rsqrt",
    "Softmax",
    "Stack",
    "Subtract",
)
# What they join gets the scale of the whole.
_JOIN = ("Concatenate", "Stack")
_KEEP_SCALE_OPERATIONS = (
    "ExpandDims",
    "GetItem",
    "Reshape",
    "Split",
    "Squeeze",
    "Transpose",
)


@standard_settings()
def quantization_aware(
    model, representative_data, input_shape=None, batch_size=16
):
    """Rewrites a model so that it computes as its int8 file will.

    The deploy graph of the model, in which kernels and activations are
    rounded to 8 bits: kernels by output channel (that of a dense layer as a
    whole), activations by tensor, with ranges from `representative_data`. An
    activation that LiteRT fuses is rounded once, after it; pooling and
    resizing keep their input's scale; sigmoid and softmax have steps of
    1/256. Outside training, convolutions, sums, products and means are
    computed in whole steps as XNNPACK computes them, LiteRT's engine on
    processors: on TensorFlow and PyTorch `predict` gives the scores of the
    file itself. (On JAX, XLA rounds one kernel weight in ten thousand, those
    half-way between two steps, the other way.)

    Compile it with a small learning rate (1e-4 or less: batch normalization is
    folded, so its statistics are fixed), fit it for a few epochs, and give it
    to `to_tflite(..., quantize="int8")`.

    Args:
        model: A network of this package, or a functional model of the layers
            such networks are made of.
        representative_data: Iterable of batches of images as the model takes
            them, from which the first ranges are learned.
        input_shape: Triple of integers, for models without a known size.
        batch_size: Integer. Images that run at once while ranges are
            learned. Defaults to `16`.

    Returns:
        A functional `keras.Model` with trainable weights, which can be saved.

    Example:

    >>> model = keras_ratn.CifarAttention56()
    >>> tuned = keras_ratn.export.quantization_aware(model, [images])
    >>> tuned.compile(keras.optimizers.Adam(1e-4), "categorical_crossentropy")
    """
    deployed = deploy_graph(model, input_shape, integers=True)
    left = unroundable(deployed)
    if left:
        raise ValueError(
            "Quantisation-aware models hold layers whose every step can be "
            f"rounded. Received: the layer {left[0].name!r} of class "
            f"{type(left[0]).__name__}. Use post-training int8 instead."
        )
    pixels = metadata.takes_pixels(model)
    images = representative_images(representative_data, deployed, pixels)
    return rounded(deployed, images, pixels, batch_size)


@standard_settings()
def rounded(deployed, images, pixels, batch_size=16):
    """A deploy graph that rounds as int8 does, with ranges from `images`.

    Args:
        deployed: What `deploy_graph` returned, without `unroundable` layers.
        images: Array of images.
        pixels: Boolean. Whether the images are pixels 0-255.
        batch_size: Integer. Images that run at once. Defaults to `16`.

    Returns:
        A functional `keras.Model`.
    """
    with deep_recursion():
        read_by, bounds = consumers(deployed), _bounds(deployed)
        ranges = _ranges(deployed, read_by, bounds, images, batch_size)
        low, high = float(images.min()), float(images.max())
        inserter = _Inserter(
            read_by,
            bounds,
            ranges,
            _PIXELS if pixels else _with_zero(low, high),
            probabilities(deployed),
        )
        return keras.models.clone_model(
            deployed, clone_function=_aware_layer, call_function=inserter.call
        )


@standard_settings()
def convertible(aware):
    """A quantisation-aware model as LiteRT's converter can read it.

    The same layers, whose results are rounded, but not computed, as in
    integers: from these the converter takes kernels, biases and ranges.

    Args:
        aware: What `quantization_aware` returned.

    Returns:
        A functional `keras.Model`.
    """

    def call(layer, *args, **kwargs):
        if "input_step" in kwargs:
            kwargs["exact"] = False
        kwargs.pop("terms", None)
        kwargs.pop("half_up", None)
        return layer(*args, **kwargs)

    with deep_recursion():
        return keras.models.clone_model(
            aware, clone_function=lambda layer: layer, call_function=call
        )


def unroundable(model):
    """The layers and operations of a deploy graph without a rounding twin."""
    found = []

    def call(layer, *args, **kwargs):
        if not _can_round(layer, args, kwargs):
            found.append(layer)
        return layer(*args, **kwargs)

    with deep_recursion():
        keras.models.clone_model(
            model, clone_function=lambda layer: layer, call_function=call
        )
    return found


def is_quantization_aware(model):
    """Whether the model comes from `quantization_aware`."""
    return any(
        type(layer).__name__ == "FakeQuantization" for layer in model.layers
    )


def _can_round(layer, args, kwargs):
    """Whether a call has a rounding twin, or is one step of LiteRT's.

    Not what needs several steps there, such as an ELU or the mean of three
    tensors: nothing says how to round between them.
    """
    if symbolic_tensors(kwargs):
        return False  # such as the places that a softmax leaves out
    if not isinstance(layer, keras.Layer):
        return _is_one_step(layer, args)
    if isinstance(layer, keras.layers.Rescaling):
        return bool(np.all(np.asarray(layer.scale) == 1))
    if type(layer).__name__ in _AWARE:
        return True
    if isinstance(layer, keras.layers.Activation):
        return layer.activation in _ONE_STEP_FUNCTIONS
    if isinstance(layer, keras.layers.ReLU):
        has_kernel = layer.max_value in (None, 6)
        return has_kernel and not (layer.negative_slope or layer.threshold)
    if isinstance(layer, keras.layers.Softmax):
        return len(keras.tree.flatten(layer.axis)) == 1
    if isinstance(layer, keras.layers.UpSampling2D):
        return layer.interpolation in ("nearest", "bilinear")
    if isinstance(layer, keras.layers.Resizing):
        is_plain = layer.interpolation in ("nearest", "bilinear")
        fits = layer.crop_to_aspect_ratio or layer.pad_to_aspect_ratio
        return is_plain and not (layer.antialias or fits)
    if isinstance(layer, _OF_TWO):
        return len(symbolic_tensors(args)) == 2
    return isinstance(layer, _ONE_STEP_LAYERS)


def _is_one_step(operation, args):
    """Whether LiteRT rounds the result of an operation of `keras.ops` once."""
    name = type(operation).__name__
    if name in _KEEP_SCALE_OPERATIONS:
        return True
    # The converter fails on a range for an array.
    arrays = any(np.ndim(x) > 0 for x in args if not symbolic_tensors(x))
    return name in _ONE_STEP_OPERATIONS and not arrays


def _aware_layer(layer):
    """A layer that rounds its constants, in place of one that has some."""
    if not isinstance(layer, keras.Layer):
        return _Copy(layer, copied(layer))
    cls = _AWARE.get(type(layer).__name__, type(layer))
    return _Copy(layer, cls.from_config(layer.get_config()))


class _Copy:
    """A layer and its copy, until the copy is built and takes the weights."""

    def __init__(self, original, copy):
        self.original = original
        self.layer = copy

    def __call__(self, *args, **kwargs):
        outputs = self.layer(*args, **kwargs)
        if not isinstance(self.layer, keras.Layer):
            return outputs
        # A sum with constants has them as weights from its own build.
        if self.original.weights:
            self.layer.set_weights(self.original.get_weights())
        # Without bias: matrices that up-sample, not weights to be learned.
        if not getattr(self.original, "use_bias", True):
            self.layer.trainable = False
        return outputs


def _bounds(model):
    """The ReLUs that LiteRT computes with the pooling before them.

    They keep its scale.
    """
    made_by, read_by = connections(model)
    return {
        layer
        for layer in model.layers
        if isinstance(layer, keras.layers.ReLU)
        and isinstance(made_by[id(layer.input)], keras.layers.MaxPooling2D)
        and len(read_by[id(layer.input)]) == 1
    }


def _has_range(layer, read_by, bounds):
    """Whether the result of this call is rounded to a range of its own."""
    if isinstance(layer, _KEEP_SCALE) or layer in bounds:
        return False
    if type(layer).__name__ in _KEEP_SCALE_OPERATIONS:
        return False
    return not _is_fused(layer, read_by)


def _is_fused(layer, read_by):
    """Whether the next layer's rounding is the first for this result."""
    only = read_by[0] if len(read_by) == 1 else None
    if type(only).__name__ in _JOIN:
        return True
    fuses = type(layer).__name__ in _FUSE_RELU
    return fuses and isinstance(only, keras.layers.ReLU)


def _fixed_range(layer):
    if isinstance(layer, MaskActivation):
        return _SIGNED_UNIT_RANGE
    unit = (keras.activations.sigmoid, keras.activations.softmax)
    return _UNIT_RANGE if function_of(layer) in unit else None


def _with_zero(low, high):
    """The range widened so that zero, and something else, is in it."""
    low, high = min(float(low), 0.0), max(float(high), 0.0)
    return (low, high) if high > low else (0.0, 1e-6)


def _ranges(model, read_by, bounds, images, batch_size):
    """Smallest and largest value of each call's result, `None` if unused."""
    extremes, calls = [], []

    def call(layer, *args, **kwargs):
        outputs = layer(*args, **kwargs)
        learned = _has_range(layer, read_by[len(calls)], bounds)
        if learned and _fixed_range(layer) is None:
            extremes.append(ops.stack([ops.min(outputs), ops.max(outputs)]))
        calls.append(learned and _fixed_range(layer) is None)
        return outputs

    copy = keras.models.clone_model(
        model, clone_function=lambda layer: layer, call_function=call
    )
    observer = keras.Model(copy.inputs, extremes)
    seen = np.array(
        [
            observer.predict_on_batch(images[i : i + batch_size])
            for i in range(0, len(images), batch_size)
        ]
    )  # (batches, tensors, 2)
    learned = iter(zip(seen[..., 0].min(0), seen[..., 1].max(0)))
    return [next(learned) if wanted else None for wanted in calls]


class _Inserter:
    """Calls the layers of the new model, each followed by its rounding."""

    # XNNPACK refuses a file in which an operation has steps 256 times finer
    # than its input's: those of a ReLU that the images leave dead would be.
    NARROWEST = 1 / 128

    def __init__(self, read_by, bounds, ranges, input_range, probabilities):
        self.read_by = read_by
        self.bounds = bounds
        self.ranges = ranges
        self.probabilities = probabilities
        self.number = 0
        self.input_range = input_range
        self.rounded_input = None
        # id of a tensor -> the width of its range, what rounds it, the step of
        # that, and the terms whose sum it is.
        self.widths, self.rounders, self.steps = {}, {}, {}
        self.terms = {}

    def call(self, copy, *args, **kwargs):
        if self.number == 0:
            self._round_input(args[0])
        args = keras.tree.map_structure(
            lambda x: self.rounded_input if x is self.input else x, args
        )
        layer, read_by, count = copy.original, self.read_by[self.number], 1
        tensors = symbolic_tensors(args)
        ids = [id(x) for x in tensors]
        width = max(self.widths[key] for key in ids)
        rounder, step = self.rounders.get(ids[0]), self.steps.get(ids[0])
        if type(layer).__name__ in _WITH_KERNELS:
            outputs, own = copy(
                *args, **kwargs, input_step=step, return_step=True
            )
            terms = None if step is None else [[outputs, own]]
        elif isinstance(layer, keras.layers.Rescaling):
            outputs, *offset = copy(*args, **kwargs, return_offset=True)
            terms = None if step is None else [[tensors[0], step], offset]
        else:
            outputs = copy(*args, **kwargs)
            terms = self._terms(layer, tensors, outputs)
        if isinstance(layer, keras.layers.GlobalAveragePooling2D):
            count = math.prod(tensors[0].shape[1:3])
        if _has_range(layer, read_by, self.bounds):
            rounder, width = self._rounder(layer, width)
            outputs, step = rounder(
                outputs, terms=terms, count=count, return_step=True
            )
        elif rounder is not None and isinstance(layer, _MAKE_NEW_VALUES):
            outputs = rounder(outputs, half_up=True)
        for tensor in symbolic_tensors(outputs):
            self.widths[id(tensor)] = width
            if _is_fused(layer, read_by):
                self.terms[id(tensor)] = terms
            else:
                self.rounders[id(tensor)] = rounder
                self.steps[id(tensor)] = step
        self.kept += [outputs, step, terms]  # so that no id is given twice
        self.number += 1
        return outputs

    def _terms(self, layer, tensors, outputs):
        """What `outputs` is a sum of, in whole steps, or `None`.

        A ReLU goes to `FakeQuantization` as the sum before it: its range
        begins at zero.
        """
        if isinstance(layer, keras.layers.ReLU):
            return self.terms.get(id(tensors[0]))
        steps = [self.steps.get(id(x)) for x in tensors]
        if None in steps:
            return None
        two = len(steps) == 2
        if two and isinstance(layer, keras.layers.Add):
            return [[x, step] for x, step in zip(tensors, steps)]
        is_product = two and isinstance(layer, keras.layers.Multiply)
        is_mean = isinstance(layer, keras.layers.GlobalAveragePooling2D)
        return [[outputs, *steps]] if is_product or is_mean else None

    def _round_input(self, tensor):
        low, high = self.input_range
        rounder = FakeQuantization(low, high, fixed=True, name="images_range")
        self.input = tensor
        self.rounded_input, step = rounder(tensor, return_step=True)
        key = id(self.rounded_input)
        self.widths[key], self.rounders[key] = high - low, rounder
        self.steps[key], self.kept = step, [self.rounded_input, step]

    def _rounder(self, layer, width):
        fixed = _fixed_range(layer)
        narrowest = 0.0 if fixed else width * self.NARROWEST
        low, high = fixed or _with_zero(*self.ranges[self.number])
        rounder = FakeQuantization(
            low,
            high,
            fixed=fixed is not None,
            narrowest=narrowest,
            rounds_in_training=layer not in self.probabilities,
            name=f"{layer.name}_range",
        )
        return rounder, max(high - low, narrowest)
