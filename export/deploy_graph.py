"""Any network of the package as a flat graph that phones run fast."""

import keras
import numpy as np
from keras import ops

from keras_ratn.keras_settings import standard_settings
from keras_ratn.layers import BilinearUpsampling2D
from keras_ratn.layers import ClassificationHead
from keras_ratn.layers import FakeQuantization
from keras_ratn.layers import QuantizationAwareConv2D
from keras_ratn.layers import QuantizationAwareDense
from keras_ratn.layers import QuantizationAwareDepthwiseConv2D
from keras_ratn.layers import QuantizationAwareRescaling

from .calls import call_arguments
from .calls import symbolic_tensors
from .layer_copies import copied
from .layer_copies import Names
from .layer_copies import take_weights
from .merged_normalization import merge_normalizations
from .opened_graph import channels_last_float32_copy
from .opened_graph import consumers
from .opened_graph import deep_recursion
from .opened_graph import elementary_layers
from .opened_graph import functional
from .opened_graph import input_tensor
from .opened_graph import open_up

# Of so few channels a plain convolution, with zeros off the diagonal, takes
# LiteRT half of the time of a depthwise one (`tests/benchmarks/README.md`).
MOST_COLOURS = 4
# What quantisation-aware models are made of.
_ROUNDING = (
    FakeQuantization,
    QuantizationAwareConv2D,
    QuantizationAwareDense,
    QuantizationAwareDepthwiseConv2D,
    QuantizationAwareRescaling,
)


@standard_settings()
def deploy_graph(
    model,
    input_shape=None,
    with_mask=False,
    depthwise_normalization=True,
    integers=False,
):
    """Rewrites a model for inference: plain layers, no batch normalization.

    The result computes what `model` computes in inference. Composite layers
    are opened up. A batch normalization after a convolution is folded into
    it; any other becomes a 1x1 depthwise convolution with bias, one operation
    together with its ReLU, which int8 quantises channel by channel (as a
    product and a sum it would get one scale for all channels), but for one of
    flat features, behind pooling, which stays. Scaling of the pixels is folded
    into the first convolution where that one does not pad: zeros padded after
    scaling mean the average colour, not black. Otherwise it becomes a 1x1
    convolution with zeros off the diagonal. Dropout and augmentation are
    gone, the layout is channels-last and the precision float32 whatever the
    source's. With `integers`, most batch normalizations of residual sums move
    into the convolutions around them (`merge_normalizations`): that leaves
    `MaxPooling2D` of single pixels with a ReLU (MAX_POOL_2D), or a sum with
    constants, `Rescaling` by 1, with a ReLU (ADD). Residual attention M T + T
    is computed as (M + 1) T then, and sums and products of more than two
    tensors as several of two.

    What the options of the networks become:

    * `"bilinear"`: `UpSampling2D`, or `BilinearUpsampling2D` to a size that
      is no multiple (RESIZE_BILINEAR in LiteRT either way)
    * `"bilinear_align_corners"`: `Dense` over rows and over columns
      (FULLY_CONNECTED, TRANSPOSE)
    * `"transpose"`: `DepthwiseConv2D` to four maps a channel, which are
      interleaved (DEPTHWISE_CONV_2D, RESHAPE, TRANSPOSE)
    * mask `"mixed"`: `Activation("sigmoid")` (LOGISTIC)
    * mask `"channel"`: `MaskActivation` as it is (L2_NORMALIZATION)
    * mask `"spatial"`: `GroupNormalization`, a group for each channel, and
      `Activation("sigmoid")`; with `integers` its steps one by one, of which
      the sum with epsilon and the root have no layer and stay `keras.ops`
      (MEAN, SUB, MUL, ADD, RSQRT, LOGISTIC)
    * with `integers`, the double normalization of external attention: a
      softmax of a log-softmax (LOG_SOFTMAX, SOFTMAX), which leaves out its
      epsilon; LiteRT's integer division fails where a sum rounds to zero

    So of this package's layers three can be left: `ClassificationHead`, a
    `Dense` that keeps the classes' names; `BilinearUpsampling2D`, because
    Keras's `Resizing` runs what follows it in training mode; `MaskActivation`
    for channels, because LiteRT does not know Keras's `UnitNormalization` as
    its L2_NORMALIZATION. Whatever else a model holds of Keras's own layers
    stays as it is, and so do layers of this package with weights of their
    own, such as memories.

    Args:
        model: A network of this package, or a functional or sequential model
            of Keras's own layers; either may call such a model like a layer.
        input_shape: Triple of integers, `(height, width, channels)`. Defaults
            to the model's own, if that is known.
        with_mask: Boolean. Whether to return the mask of the last Attention
            Module as a second output. Defaults to `False`.
        depthwise_normalization: Boolean. Whether batch normalizations that
            cannot be folded become depthwise convolutions; otherwise they
            stay. Defaults to `True`.
        integers: Boolean. Whether the graph is to be computed in integers.
            Defaults to `False`.

    Returns:
        A functional `keras.Model` that shares no weights with `model`.

    Example:

    >>> model = keras_ratn.CifarAttention56()
    >>> phone_model = keras_ratn.export.deploy_graph(model)
    """
    model = functional(model)
    _refuse_rounding(model)
    inputs = input_tensor(model, input_shape)
    with deep_recursion():
        flat = open_up(
            channels_last_float32_copy(model, inputs),
            lambda operation: _is_known(operation, integers),
            with_mask,
        )
        rewriter = _Rewriter(consumers(flat), depthwise_normalization, integers)
        rewritten = keras.models.clone_model(
            flat,
            clone_function=lambda layer: layer,
            call_function=rewriter.rewrite,
        )
        if not integers:
            return rewritten
        return merge_normalizations(rewritten, rewriter.widths)


def _refuse_rounding(model):
    for layer in elementary_layers(model):
        if isinstance(layer, _ROUNDING):
            raise ValueError(
                "A quantisation-aware model computes as one int8 file and "
                "becomes no other: write that by `to_tflite(..., "
                "quantize='int8')`; anything else needs the model that it "
                f"was made of. Received: {model.name!r} with the layer "
                f"{layer.name!r} of class {type(layer).__name__}"
            )


def _kind(operation):
    return type(operation).__name__


def _is_known(operation, integers):
    """Whether a rewrite or the layer itself takes it over in one piece."""
    if _kind(operation) == "DoubleNormalization":
        return integers
    if _kind(operation) == "MaskActivation":
        return operation.mode != "spatial" or not integers
    return _kind(operation) in _REWRITES


def _is_float(dtype):
    return "float" in keras.backend.standardize_dtype(dtype)


def _array(value):
    return ops.convert_to_numpy(value).astype("float64")


class _Rewriter:
    """Emits one or more plain layers for each call of the opened graph."""

    def __init__(self, consumers, depthwise_normalization, integers):
        self.uses = [len(layers) for layers in consumers]
        self.depthwise_normalization = depthwise_normalization
        self.integers = integers
        self.number = 0
        # id of a tensor -> (layer, channel axis of its kernel): what a
        # following scale and shift may be folded into.
        self.foldable = {}
        # id of a tensor -> (source tensor, scale, shift): affine maps of the
        # pixels that a following convolution may take in.
        self.affine = {}
        # name of a normalization -> `widths` of `merge_normalizations`
        self.widths = {}
        # ids of tensors that are masks; id of a product -> its factors
        self.masks, self.factors = set(), {}
        self.name = Names()
        self.kept = []

    def rewrite(self, layer, *args, **kwargs):
        before = set(self.foldable)
        args, kwargs = call_arguments(layer, args, kwargs)
        if _is_rewritable(layer, args, kwargs):
            x = symbolic_tensors(args)
            tensor = x[0] if len(x) == 1 else x
            outputs = _REWRITES[_kind(layer)](self, layer, tensor, **kwargs)
        else:
            outputs = self.kept_as_it_is(layer, *args, **kwargs)
        if self.uses[self.number] != 1:
            for key in set(self.foldable) - before:
                del self.foldable[key]
        self.number += 1
        self.kept.append(outputs)
        return outputs

    # === Convolutions and what folds into them ===

    def weighted(self, layer, x, kernel, bias, axis):
        """Applies a new layer with these weights, open to folding."""
        outputs = layer(x)
        layer.set_weights([kernel.astype("float32"), bias.astype("float32")])
        self.foldable[id(outputs)] = (layer, axis)
        return outputs

    def convolution(self, layer, x, **_):
        kernel, bias = self._weights(layer, layer.filters)
        x, kernel, bias = self._absorb_affine(layer, x, kernel, bias)
        new = keras.layers.Conv2D(
            layer.filters,
            layer.kernel_size,
            layer.strides,
            layer.padding,
            dilation_rate=layer.dilation_rate,
            groups=layer.groups,
            kernel_initializer="zeros",
            name=self.name(layer.name),
        )
        return self._activated(
            layer, self.weighted(new, x, kernel, bias, axis=3)
        )

    def _absorb_affine(self, layer, x, kernel, bias):
        """Folds a scale and shift of the pixels into the convolution."""
        source, scale, shift = self.affine.get(id(x), (None, None, None))
        pads = layer.padding == "same" and max(layer.kernel_size) > 1
        if source is None or layer.groups > 1 or (pads and np.any(shift)):
            return x, kernel, bias
        # (h, w, in, out): the shift reaches the output through every tap.
        bias = bias + np.einsum("hwio,i->o", kernel, shift)
        return source, kernel * scale[:, None], bias

    def depthwise_convolution(self, layer, x, **_):
        channels = x.shape[-1] * layer.depth_multiplier
        kernel, bias = self._weights(layer, channels)
        new = keras.layers.DepthwiseConv2D(
            layer.kernel_size,
            layer.strides,
            layer.padding,
            layer.depth_multiplier,
            dilation_rate=layer.dilation_rate,
            depthwise_initializer="zeros",
            name=self.name(layer.name),
        )
        axis = 2 if layer.depth_multiplier == 1 else None
        return self._activated(layer, self.weighted(new, x, kernel, bias, axis))

    def dense(self, layer, x, **_):
        kernel, bias = self._weights(layer, layer.units)
        # Still a Dense, and the place where the classes' names are kept.
        new = ClassificationHead(
            layer.units,
            getattr(layer, "class_names", None),
            kernel_initializer="zeros",
            name=self.name(layer.name),
        )
        return self._activated(
            layer, self.weighted(new, x, kernel, bias, axis=1)
        )

    def _weights(self, layer, channels):
        weights = layer.get_weights()
        kernel = weights[0].astype("float64")
        bias = weights[1] if layer.use_bias else np.zeros(channels)
        return kernel, bias.astype("float64")

    def _activated(self, layer, x):
        """The activation as a layer of its own, which quantisers can see."""
        if layer.activation in (None, keras.activations.linear):
            return x
        name = self.name(f"{layer.name}_activation")
        return self._activation(layer.activation, name)(x)

    def _activation(self, function, name):
        if function is keras.activations.relu:
            return keras.layers.ReLU(name=name)
        return keras.layers.Activation(function, name=name)

    def batch_normalization(self, layer, x, **kwargs):
        if layer.axis not in (-1, len(x.shape) - 1):
            return self.kept_as_it_is(layer, x, **kwargs)
        channels = x.shape[-1]
        gamma = _array(layer.gamma) if layer.scale else np.ones(channels)
        beta = _array(layer.beta) if layer.center else np.zeros(channels)
        variance = _array(layer.moving_variance)
        scale = gamma / np.sqrt(variance + layer.epsilon)
        shift = beta - scale * _array(layer.moving_mean)
        # How far the channels go before the scale: mostly three deviations.
        width = np.abs(beta) + 3 * np.abs(gamma)
        width = width / np.maximum(np.abs(scale), 1e-9)
        return self.scale_and_shift(layer, x, scale, shift, width)

    def normalization(self, layer, x, **_):
        mean, variance = _array(layer.mean), _array(layer.variance)
        *others, channels = mean.shape  # mostly (1, 1, 1, channels)
        if set(others) != {1} or channels not in (1, x.shape[-1]):
            return self.kept_as_it_is(layer, x)  # of single pixels, or rows
        deviation = np.maximum(np.sqrt(variance), 1e-7)
        mean = np.broadcast_to(mean.ravel(), x.shape[-1])
        deviation = np.broadcast_to(deviation.ravel(), x.shape[-1])
        if layer.invert:
            return self.scale_and_shift(layer, x, deviation, mean)
        return self.scale_and_shift(layer, x, 1 / deviation, -mean / deviation)

    def rescaling(self, layer, x, **_):
        if self.integers and id(x) in self.masks and np.all(layer.scale == 1):
            return self.same(layer, x)  # of a deploy graph
        channels = x.shape[-1]
        scale = np.broadcast_to(np.asarray(layer.scale, "float64"), channels)
        shift = np.broadcast_to(np.asarray(layer.offset, "float64"), channels)
        return self.scale_and_shift(layer, x, scale, shift)

    def scale_and_shift(self, layer, x, scale, shift, width=None):
        if id(x) in self.foldable:
            producer, axis = self.foldable[id(x)]
            if axis is not None:
                return self._fold(producer, axis, x, scale, shift)
        flat = len(x.shape) != 4  # features of an image, not of its places
        normalizes = width is not None
        if flat or (normalizes and not self.depthwise_normalization):
            return self._kept_normalization(layer, x, scale, shift)
        name, channels = self.name(layer.name), x.shape[-1]
        if normalizes or channels > MOST_COLOURS:
            new = keras.layers.DepthwiseConv2D(
                1, depthwise_initializer="zeros", name=name
            )
            kernel, axis = scale.reshape(1, 1, -1, 1), 2
            if normalizes:
                self.widths[name] = width
        else:
            new = keras.layers.Conv2D(
                channels, 1, kernel_initializer="zeros", name=name
            )
            kernel, axis = np.diag(scale)[None, None], 3
        outputs = self.weighted(new, x, kernel, shift, axis)
        if self.uses[self.number] == 1:
            self.affine[id(outputs)] = (x, scale, shift)
        return outputs

    def _fold(self, producer, axis, x, scale, shift):
        kernel, bias = (w.astype("float64") for w in producer.get_weights())
        shape = [1] * kernel.ndim
        shape[axis] = -1
        kernel = kernel * scale.reshape(shape)
        bias = bias * scale + shift
        producer.set_weights([kernel.astype("float32"), bias.astype("float32")])
        if id(x) in self.affine:
            source, before, offset = self.affine[id(x)]
            self.affine[id(x)] = (
                source,
                before * scale,
                offset * scale + shift,
            )
        # The same tensor now also stands for the normalised one, which may
        # be used more often.
        del self.foldable[id(x)]
        return x

    def _kept_normalization(self, layer, x, scale, shift):
        new = keras.layers.BatchNormalization(
            epsilon=0.0, name=self.name(layer.name)
        )
        outputs = new(x, training=False)
        zeros, ones = np.zeros_like(shift), np.ones_like(shift)
        new.set_weights([scale, shift, zeros, ones])
        return outputs

    # === What takes over unchanged ===

    def same(self, layer, x, **_):
        return copied(layer, name=self.name(layer.name))(x)

    def kept_as_it_is(self, layer, *args, **kwargs):
        """Another layer of Keras, an operation, or one that stays closed."""
        new = copied(layer, name=self.name(layer.name))
        outputs = new(*args, **kwargs)
        if isinstance(layer, keras.Layer):
            take_weights(new, layer)
        return outputs

    def cast(self, layer, x, **kwargs):
        dtype = keras.backend.standardize_dtype(layer.dtype)
        if x.dtype == dtype or (_is_float(x.dtype) and _is_float(dtype)):
            return x  # there is one precision here
        return self.kept_as_it_is(layer, x, **kwargs)

    def activation(self, layer, x, **_):
        x = self._activation(layer.activation, self.name(layer.name))(x)
        is_mask = layer.activation is keras.activations.sigmoid
        return self._mask(x) if is_mask else x

    def double_normalization(self, layer, x, **_):
        # Shares of the sum of softmaxes are a softmax of their logarithms.
        x = ops.log_softmax(x, axis=-2)
        return keras.layers.Softmax(name=self.name(layer.name))(x)

    def nothing(self, layer, x, **_):
        return x

    def relu(self, layer, x, **_):
        return keras.layers.ReLU(name=self.name("relu"))(x)

    def relu_layer(self, layer, x, **_):
        only_slopes = not layer.threshold and layer.max_value is None
        if self.integers and layer.negative_slope and only_slopes:
            return keras.layers.LeakyReLU(
                layer.negative_slope, name=self.name(layer.name)
            )(x)
        return self.same(layer, x)

    def sigmoid(self, layer, x, **_):
        name = self.name("sigmoid")
        return self._mask(keras.layers.Activation("sigmoid", name=name)(x))

    def add(self, layer, x, **_):
        if self.integers and len(x) > 2:
            return self.add(layer, [self.add(layer, x[:2]), *x[2:]])
        if self.integers:
            for product, trunk in (x, x[::-1]):
                mask = self._mask_of(product, trunk)
                if mask is not None:
                    return self._one_plus_mask(mask, trunk)
        return keras.layers.Add(name=self.name("add"))(x)

    def _mask_of(self, product, trunk):
        """M, if `product` is M T, `trunk` is T and M is a mask."""
        masks = [x for x in self.factors.get(id(product), ()) if x is not trunk]
        found = len(masks) == 1 and id(masks[0]) in self.masks
        return masks[0] if found else None

    def _one_plus_mask(self, mask, trunk):
        """(M + 1) T for M T + T: a sum with a number is the faster one."""
        one = keras.layers.Rescaling(1.0, 1.0, name=self.name("one_plus_mask"))
        multiply = keras.layers.Multiply(name=self.name("residual_attention"))
        return multiply([one(mask), trunk])

    def multiply(self, layer, x, **_):
        if self.integers and len(x) > 2:
            return self.multiply(layer, [self.multiply(layer, x[:2]), *x[2:]])
        outputs = keras.layers.Multiply(name=self.name("multiply"))(x)
        self.factors[id(outputs)] = x
        return outputs

    def subtract(self, layer, x, **_):
        return keras.layers.Subtract(name=self.name("subtract"))(x)

    def mean(self, layer, x, **_):
        return keras.layers.GlobalAveragePooling2D(
            keepdims=True, name=self.name("mean")
        )(x)

    def concatenate(self, layer, x, **_):
        return keras.layers.Concatenate(name=self.name("concatenate"))(x)

    # === Mask activations ===

    def mask_activation(self, layer, x, **_):
        if layer.mode == "channel":
            return self._mask(self.same(layer, x))
        name = self.name(layer.name)
        if layer.mode == "spatial":
            # A group for each channel. (`LayerNormalization` over positions
            # is the same, but fails on PyTorch.)
            x = keras.layers.GroupNormalization(
                groups=-1,
                epsilon=layer.EPSILON,
                center=False,
                scale=False,
                name=f"{name}_normalization",
            )(x)
        return self._mask(keras.layers.Activation("sigmoid", name=name)(x))

    def _mask(self, x):
        self.masks.add(id(x))
        return x

    # === Up-sampling ===

    def bilinear(self, layer, x, target_size=None, **_):
        height, width = x.shape[1:3]
        size = target_size or (height * layer.size, width * layer.size)
        name = self.name(layer.name)
        if layer.align_corners:
            return self._align_corners(x, size, name)
        if size[0] % height == 0 and size[1] % width == 0:
            return keras.layers.UpSampling2D(
                (size[0] // height, size[1] // width),
                interpolation="bilinear",
                name=name,
            )(x)
        return BilinearUpsampling2D(name=name)(x, target_size=tuple(size))

    def _align_corners(self, x, size, name):
        """One small matrix over the rows, one over the columns."""

        def dense(x, target, direction):
            weights = _align_corners_matrix(x.shape[-1], target)
            new = keras.layers.Dense(
                target,
                use_bias=False,
                kernel_initializer="zeros",
                name=f"{name}_{direction}",
            )
            x = new(x)
            new.set_weights([weights.astype("float32")])
            return x

        def permute(x, axes, step):
            return keras.layers.Permute(axes, name=f"{name}_permute{step}")(x)

        x = permute(x, (3, 2, 1), 1)  # (B, C, W, H)
        x = dense(x, size[0], "rows")  # (B, C, W, H')
        x = permute(x, (1, 3, 2), 2)  # (B, C, H', W)
        x = dense(x, size[1], "columns")  # (B, C, H', W')
        return permute(x, (2, 3, 1), 3)  # (B, H', W', C)

    def transposed(self, layer, x, target_size=None, **_):
        """Four 3x3 convolutions a channel, one for each output parity."""
        height, width, channels = x.shape[1:]
        name = self.name(layer.name)
        new = keras.layers.DepthwiseConv2D(
            3,
            padding="same",
            depth_multiplier=4,
            use_bias=False,
            depthwise_initializer="zeros",
            name=name,
        )
        x = new(x)  # (B, H, W, C 4)
        new.set_weights([_parity_kernels(layer.get_weights()[0])])
        shape = (height, width, channels, 2, 2)
        x = keras.layers.Reshape(shape, name=f"{name}_split")(x)
        x = keras.layers.Permute((1, 4, 2, 5, 3), name=f"{name}_interleave")(x)
        shape = (2 * height, 2 * width, channels)
        x = keras.layers.Reshape(shape, name=f"{name}_merge")(x)
        target = target_size or shape[:2]
        surplus = [(0, s - t) for s, t in zip(shape[:2], target)]
        if surplus == [(0, 0), (0, 0)]:
            return x
        return keras.layers.Cropping2D(surplus, name=f"{name}_crop")(x)


def _is_rewritable(operation, args, kwargs):
    """Whether there is a rewrite for what is called, with these arguments."""
    is_plain = set(kwargs) <= {"target_size"}
    if isinstance(operation, keras.Layer) and not is_plain:
        return False
    known = _kind(operation) in _REWRITES
    return known and not _is_more_than_its_layer(operation, args)


def _is_more_than_its_layer(operation, args):
    """Whether an operation does what the rewrite of its kind does not."""
    kind, x = _kind(operation), symbolic_tensors(args)
    if kind == "Concatenate":
        return operation.axis not in (-1, len(x[0].shape) - 1)
    if isinstance(operation, keras.Layer):
        return kind in ("Add", "Multiply", "Subtract") and len(x) < 2
    if kind == "Mean":
        over_positions = len(x[0].shape) == 4 and operation.keepdims
        return not over_positions or tuple(operation.axis or ()) != (1, 2)
    if kind in ("Add", "Multiply", "Subtract"):
        # A number beside the tensor, or tensors of different ranks.
        return len(x) < 2 or len(x[0].shape) != len(x[1].shape)
    return kind not in ("Cast", "Relu", "Sigmoid")


def _align_corners_matrix(source, target):
    """`(source, target)` weights that map corner centres onto each other."""
    step = (source - 1) / max(target - 1, 1)
    distance = np.arange(source)[:, None] - step * np.arange(target)
    return np.maximum(1 - np.abs(distance), 0)


def _parity_kernels(kernel):
    """The 4x4 kernels `(4, 4, C, 1)` as 3x3 ones, `(3, 3, C, 4)`.

    Output row 2i sees the input rows i-1 and i through the kernel's taps 0
    and 2, and row 2i+1 sees i and i+1 through its taps 1 and 3. Likewise the
    columns.
    """
    taps = ((0, 2, None), (None, 1, 3))
    kernels = np.zeros((3, 3, kernel.shape[2], 4), "float32")
    for row_parity, rows in enumerate(taps):
        for column_parity, columns in enumerate(taps):
            parity = 2 * row_parity + column_parity
            for i, row in enumerate(rows):
                for j, column in enumerate(columns):
                    if row is not None and column is not None:
                        kernels[i, j, :, parity] = kernel[row, column, :, 0]
    return kernels


# Class of a layer or of a `keras.ops` operation -> what to emit for it.
_REWRITES = {
    "Conv2D": _Rewriter.convolution,
    "DepthwiseConv2D": _Rewriter.depthwise_convolution,
    "Dense": _Rewriter.dense,
    "ClassificationHead": _Rewriter.dense,
    "BatchNormalization": _Rewriter.batch_normalization,
    "Normalization": _Rewriter.normalization,
    "Rescaling": _Rewriter.rescaling,
    "Activation": _Rewriter.activation,
    "ClassScores": _Rewriter.activation,
    "MaskActivation": _Rewriter.mask_activation,
    "BilinearUpsampling2D": _Rewriter.bilinear,
    "TransposedUpsampling2D": _Rewriter.transposed,
    "Relu": _Rewriter.relu,
    "ReLU": _Rewriter.relu_layer,
    "Sigmoid": _Rewriter.sigmoid,
    "Add": _Rewriter.add,
    "Multiply": _Rewriter.multiply,
    "Subtract": _Rewriter.subtract,
    "Mean": _Rewriter.mean,
    "Cast": _Rewriter.cast,
    "Concatenate": _Rewriter.concatenate,
    "DoubleNormalization": _Rewriter.double_normalization,
    **dict.fromkeys(
        (
            "AveragePooling2D",
            "Flatten",
            "GlobalAveragePooling2D",
            "GlobalMaxPooling2D",
            "MaxPooling2D",
            "Softmax",
            "UpSampling2D",
            "ZeroPadding2D",
        ),
        _Rewriter.same,
    ),
    **dict.fromkeys(
        (
            "ActivityRegularization",
            "AlphaDropout",
            "Dropout",
            "GaussianDropout",
            "GaussianNoise",
            "Identity",
            "RandomBrightness",
            "RandomContrast",
            "RandomFlip",
            "RandomRotation",
            "RandomTranslation",
            "RandomZoom",
            "SpatialDropout2D",
        ),
        _Rewriter.nothing,
    ),
}
