"""Quantisation-aware models in Keras, by the rules of LiteRT's int8."""

import keras
import numpy as np
from keras import ops

from keras_ratn.layers import BilinearUpsampling2D
from keras_ratn.layers import FakeQuantization
from keras_ratn.layers import QuantizationAwareConv2D
from keras_ratn.layers import QuantizationAwareDense
from keras_ratn.layers import QuantizationAwareDepthwiseConv2D

from . import metadata
from .deploy_graph import deploy_graph
from .opened_graph import consumers
from .opened_graph import deep_recursion
from .tflite import representative_images

# LiteRT computes these with a scale of 1/256, whatever their inputs.
_UNIT_RANGE = (0.0, 255 / 256)
_PIXELS = (0.0, 255.0)

_AWARE = {
    "Conv2D": QuantizationAwareConv2D,
    "DepthwiseConv2D": QuantizationAwareDepthwiseConv2D,
    "Dense": QuantizationAwareDense,
    "ClassificationHead": QuantizationAwareDense,
}
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


def quantization_aware(
    model, representative_data, input_shape=None, batch_size=16
):
    """Rewrites a model so that it computes as its int8 file will.

    The deploy graph of the model, in which kernels and activations are
    rounded to 8 bits: kernels by output channel (that of a dense layer as a
    whole), activations by tensor, with ranges from `representative_data`. An
    activation that LiteRT fuses is rounded once, after it; pooling and
    resizing keep their input's scale; sigmoid and softmax have steps of
    1/256. Compile it with a small learning rate (1e-4 or less: batch
    normalization is folded, so its statistics are fixed), fit it for a few
    epochs, and give it to `to_tflite(..., quantize="int8")`.

    Masks other than `"mixed"` cannot be trained so: their norms and
    statistics have ranges inside one layer. Post-training int8 takes them.

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
    deployed = deploy_graph(model, input_shape)
    for layer in deployed.layers:
        if type(layer).__name__ == "MaskActivation":
            raise ValueError(
                "Quantisation-aware models need the mask activation 'mixed'. "
                f"Received: the layer {layer.name!r} with mode="
                f"{layer.mode!r}. Use post-training int8 instead."
            )
    pixels = metadata.takes_pixels(model)
    images = representative_images(representative_data, deployed, pixels)
    with deep_recursion():
        read_by = consumers(deployed)
        ranges = _ranges(deployed, read_by, images, batch_size)
        inserter = _Inserter(read_by, ranges)
        low, high = float(images.min()), float(images.max())
        inserter.input_range = _PIXELS if pixels else _with_zero(low, high)
        return keras.models.clone_model(
            deployed, clone_function=_aware_layer, call_function=inserter.call
        )


def _aware_layer(layer):
    """A layer that rounds its kernel, in place of one that has a kernel."""
    cls = _AWARE.get(type(layer).__name__, type(layer))
    return _Copy(layer, cls.from_config(layer.get_config()))


class _Copy:
    """A layer and its copy, until the copy is built and takes the weights."""

    def __init__(self, original, copy):
        self.original = original
        self.layer = copy

    def __call__(self, *args, **kwargs):
        outputs = self.layer(*args, **kwargs)
        self.layer.set_weights(self.original.get_weights())
        # Without bias: matrices that up-sample, not weights to be learned.
        if not getattr(self.original, "use_bias", True):
            self.layer.trainable = False
        return outputs


def _has_range(layer, read_by):
    """Whether the result of this call is rounded to a range of its own."""
    if isinstance(layer, _KEEP_SCALE):
        return False
    only = read_by[0] if len(read_by) == 1 else None
    if isinstance(only, keras.layers.Concatenate):
        return False  # all that is joined has the scale of the whole
    fuses = type(layer).__name__ in _FUSE_RELU
    return not (fuses and isinstance(only, keras.layers.ReLU))


def _is_softmax(layer):
    activation = getattr(layer, "activation", None)
    return (
        isinstance(layer, keras.layers.Softmax)
        or activation is keras.activations.softmax
    )


def _fixed_range(layer):
    activation = getattr(layer, "activation", None)
    is_sigmoid = activation is keras.activations.sigmoid
    return _UNIT_RANGE if is_sigmoid or _is_softmax(layer) else None


def _with_zero(low, high):
    """The range widened so that zero, and something else, is in it."""
    low, high = min(float(low), 0.0), max(float(high), 0.0)
    return (low, high) if high > low else (0.0, 1e-6)


def _ranges(model, read_by, images, batch_size):
    """Smallest and largest value of each call's result, `None` if unused."""
    extremes, calls = [], []

    def call(layer, *args, **kwargs):
        outputs = layer(*args, **kwargs)
        learned = _has_range(layer, read_by[len(calls)])
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

    def __init__(self, read_by, ranges):
        self.read_by = read_by
        self.ranges = ranges
        self.number = 0
        self.rounded_input = None
        self.input_range = None

    def call(self, copy, *args, **kwargs):
        if self.number == 0:
            self.input = args[0]
            self.rounded_input = FakeQuantization(
                *self.input_range, fixed=True, name="images_range"
            )(args[0])
        args = keras.tree.map_structure(
            lambda x: self.rounded_input if x is self.input else x, args
        )
        outputs = copy(*args, **kwargs)
        layer, read_by = copy.original, self.read_by[self.number]
        if _has_range(layer, read_by):
            fixed = _fixed_range(layer)
            ends = fixed or _with_zero(*self.ranges[self.number])
            outputs = FakeQuantization(
                *ends,
                fixed=fixed is not None,
                # The loss wants probabilities smaller than a step, too.
                rounds_in_training=not _is_softmax(layer),
                name=f"{layer.name}_range",
            )(outputs)
        self.number += 1
        return outputs
