"""Layers that compute in floats the very integers of LiteRT's 8-bit kernels.

A tensor that has been rounded holds whole multiples of its step. Sums of
products of such tensors are whole multiples too, which 32-bit floats hold
exactly as long as they are below 2^24; so do the layers here compute them,
and round them to 8 bits in the way of XNNPACK, LiteRT's engine on CPUs.
"""

import math

import keras
import numpy as np
from keras import ops
from keras.quantizers import fake_quant_with_min_max_vars

from keras_ratn.layers import _common
from keras_ratn.layers.classification_head import ClassificationHead

# A channel of zeros has no range; this stands in for it.
_SMALLEST_RANGE = 1e-6


def _whole(values):
    """The nearest whole numbers; gradients pass straight through."""
    return values + ops.stop_gradient(ops.round(values) - values)


def _divided(width, steps, lost=0.0):
    """`(width + lost) / steps`, rounded once; `steps` is 2^n - 1.

    XLA multiplies by the reciprocal, whose last bit differs; that bit decides
    where a value half-way between two steps goes.
    """
    # The maximum is there so that the compiler makes no multiply-add of this
    # and the last line, which would skip a rounding.
    step = ops.maximum(width / steps, 0.0)
    rest = ((width - step * (steps + 1)) + step) + lost  # exactly
    return step + rest / steps


def _step(lower, upper):
    """`(upper - lower) / 255` as LiteRT's converter has it, from 64 bits."""
    width = upper - lower
    back = width - upper
    lost = (upper - (width - back)) - (lower + back)
    return _divided(width, 255, lost)


def _requantized(terms, count, step):
    """The sum of terms in whole steps, rounded as XNNPACK does.

    Args:
        terms: As `FakeQuantization` takes them.
        count: As `FakeQuantization` takes it.
        step: Scalar tensor.
    """
    steps = [math.prod(factors) * (1 / count) for _, *factors in terms]
    whole = [ops.round(values / own) for (values, *_), own in zip(terms, steps)]
    ratios = [ops.cast(own / step, "float32") for own in steps]
    if len(terms) == 1:
        return ops.round(whole[0] * ratios[0])
    # Sums are computed in integers: the larger ratio gets 21 bits.
    exponent = ops.floor(ops.log2(ops.maximum(*ratios)))
    shift = ops.cast(20 - ops.clip(exponent, -10, 8), "int32")
    one = ops.left_shift(ops.ones_like(shift), shift)
    ratios = [ops.round(ratio * ops.cast(one, "float32")) for ratio in ratios]
    first, second = (
        ops.cast(x, "int32") * ops.cast(ratio, "int32")
        for x, ratio in zip(whole, ratios)
    )
    total = ops.right_shift(first + second + one // 2, shift)
    return ops.cast(total, "float32")


@keras.saving.register_keras_serializable(package="keras_ratn")
class FakeQuantization(keras.layers.Layer):
    """Rounds a tensor to the 256 values that 8 bits have in its range.

    The range is either fixed or a moving average of the smallest and largest
    values seen in training; it always includes zero. Gradients pass straight
    through, except for values out of range, which have none.

    Reference:
    - [Quantization and Training of Neural Networks for Efficient
        Integer-Arithmetic-Only Inference (Jacob et al., 2018)](
        https://arxiv.org/abs/1712.05877), section 3

    Args:
        minimum: Float. The range's lower end, at first. Defaults to `-6.0`.
        maximum: Float. The range's upper end, at first. Defaults to `6.0`.
        fixed: Boolean. Whether training leaves the range alone. Defaults to
            `False`.
        momentum: Float. How much of the range each training batch leaves.
            Defaults to `0.99`.
        narrowest: Float. The least width of the range, which it keeps where
            training shows nothing but zeros. Defaults to `1e-6`.
        rounds_in_training: Boolean. Whether training rounds too. After a
            softmax that would hide small probabilities from the loss.
            Defaults to `True`.
        **kwargs: Base layer arguments (`name`, `dtype`, ...).

    Call arguments:
        inputs: Tensor of any shape.
        terms: Optional list of one or two lists, each of a tensor and of the
            factors (scalars, or one for each channel) of the step of which it
            holds whole multiples; `inputs` is the tensors' sum, or the ReLU
            of it. With `terms`, the rounding outside training is that of
            LiteRT, to the last integer. Defaults to `None`.
        count: Integer. Of how many such multiples each value is the mean.
            Defaults to `1`.
        half_up: Boolean. Whether half a step is rounded up, as LiteRT does
            when it enlarges maps that have steps of this range, which these
            then leave alone. Defaults to `False`.
        training: Boolean. Whether the range follows the batch's.
        return_step: Boolean. Whether to return the distance between two
            values too, a scalar. Defaults to `False`.

    Input shape:
        Any.

    Output shape:
        The same as the input's.

    Example:

    >>> layer = keras_ratn.layers.FakeQuantization(0.0, 255.0)
    >>> [float(value) for value in layer(keras.ops.array([3.4, 300.0]))]
    [3.0, 255.0]
    """

    def __init__(
        self,
        minimum=-6.0,
        maximum=6.0,
        fixed=False,
        momentum=0.99,
        narrowest=_SMALLEST_RANGE,
        rounds_in_training=True,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if not minimum <= 0 <= maximum or minimum == maximum:
            raise ValueError(
                "The range must include zero and more. Received: "
                f"minimum={minimum}, maximum={maximum}"
            )
        self.minimum = float(minimum)
        self.maximum = float(maximum)
        self.fixed = bool(fixed)
        self.momentum = float(momentum)
        self.narrowest = max(float(narrowest), _SMALLEST_RANGE)
        self.rounds_in_training = bool(rounds_in_training)

    def build(self, input_shape):
        self.lower = self._end("lower", self.minimum)
        self.upper = self._end("upper", self.maximum)

    def _end(self, name, value):
        return self.add_weight(
            name=name,
            shape=(),
            initializer=keras.initializers.Constant(value),
            trainable=False,
            dtype="float32",
            aggregation="mean",  # of what several devices see
        )

    def call(
        self,
        inputs,
        terms=None,
        count=1,
        half_up=False,
        training=False,
        return_step=False,
    ):
        # What is enlarged has been followed before. (Models hand `training` to
        # each of their calls, and PyTorch allows one change a step.)
        if training and not (self.fixed or half_up):
            self._follow(self.lower, ops.minimum(ops.min(inputs), 0))
            self._follow(self.upper, ops.maximum(ops.max(inputs), 0))
        lower = ops.convert_to_tensor(self.lower)
        upper = ops.convert_to_tensor(self.upper)
        if not self.fixed:
            upper = ops.maximum(upper, ops.add(lower, self.narrowest))
        step = _step(lower, upper)
        if training and not self.rounds_in_training:
            outputs = inputs
        elif terms is not None and not training:
            steps = _requantized(terms, count, step)
            outputs = self._rounded(inputs, steps, lower, step)
        elif half_up:
            # Float errors keep halves from being exact.
            steps = ops.floor(inputs / step + (0.5 + 1e-4))
            outputs = self._rounded(inputs, steps, lower, step)
        else:
            outputs = fake_quant_with_min_max_vars(inputs, lower, upper)
        return (outputs, step) if return_step else outputs

    def _rounded(self, inputs, steps, lower, step):
        lowest = ops.round(lower / step)
        steps = ops.clip(steps, lowest, lowest + 255)
        # Gradients are those of the clipped inputs.
        inside = ops.clip(inputs, lowest * step, (lowest + 255) * step)
        return inside + ops.stop_gradient(steps * step - inside)

    def _follow(self, variable, value):
        value = ops.cast(ops.stop_gradient(value), "float32")
        variable.assign(variable * self.momentum + value * (1 - self.momentum))

    def compute_output_spec(
        self,
        inputs,
        terms=None,
        count=1,
        half_up=False,
        training=False,
        return_step=False,
    ):
        outputs = keras.KerasTensor(inputs.shape, dtype=self.compute_dtype)
        if return_step:
            return outputs, keras.KerasTensor((), dtype="float32")
        return outputs

    def get_config(self):
        return {
            **super().get_config(),
            "minimum": self.minimum,
            "maximum": self.maximum,
            "fixed": self.fixed,
            "momentum": self.momentum,
            "narrowest": self.narrowest,
            "rounds_in_training": self.rounds_in_training,
        }


def _fake_quantized(kernel, per_channel=True):
    """A kernel rounded to -127..127, by its last axis or as a whole.

    Returns:
        Pair of the kernel and its step, `(channels,)` or a scalar.
    """
    kernel = ops.convert_to_tensor(kernel)
    axes = tuple(range(len(kernel.shape) - 1)) if per_channel else None
    limit = ops.max(ops.abs(ops.stop_gradient(kernel)), axis=axes)
    limit = ops.maximum(limit, _SMALLEST_RANGE)
    rounded = fake_quant_with_min_max_vars(
        kernel,
        -limit,
        limit,
        narrow_range=True,
        axis=-1 if per_channel else None,
    )
    return rounded, _divided(limit, 127)


class _SumsOfProducts:
    """What layers share whose outputs are sums of products with a kernel."""

    def call(
        self,
        inputs,
        input_step=None,
        exact=True,
        training=False,
        return_step=False,
    ):
        kernel, step = self._rounded_kernel()
        bias = self.bias if self.use_bias else None
        if input_step is None:
            outputs = self._products(inputs, kernel)
        else:
            kernel_step, step = step, ops.cast(input_step, step.dtype) * step
            if bias is not None:
                bias = _whole(bias / step) * step
            if exact and not training:
                # Sums of whole numbers; then in the units of the inputs.
                outputs = self._products(
                    inputs / input_step, kernel / kernel_step
                ) * self._as_channels(step)
            else:
                outputs = self._products(inputs, kernel)
        if bias is not None:
            outputs = ops.add(outputs, self._as_channels(bias))
        return (outputs, self._as_channels(step)) if return_step else outputs

    def compute_output_spec(
        self,
        inputs,
        input_step=None,
        exact=True,
        training=False,
        return_step=False,
    ):
        outputs = super().compute_output_spec(inputs)
        if not return_step:
            return outputs
        return outputs, keras.KerasTensor(
            self._step_shape(outputs.shape), dtype=self.compute_dtype
        )

    def _rounded_kernel(self):
        return _fake_quantized(self.kernel)

    def _as_channels(self, values):
        """Values for each channel, in the shape that goes with maps."""
        layout = _common.standard_data_format(self.data_format)
        if layout == "channels_first":
            return ops.reshape(values, (-1, 1, 1))
        return values

    def _step_shape(self, shape):
        layout = _common.standard_data_format(self.data_format)
        return (shape[1], 1, 1) if layout == "channels_first" else shape[-1:]


@keras.saving.register_keras_serializable(package="keras_ratn")
class QuantizationAwareConv2D(_SumsOfProducts, keras.layers.Conv2D):
    """A convolution with a kernel of 8 bits, a scale for each output channel.

    Arguments, shapes and weights are those of `keras.layers.Conv2D`, without
    an activation. The output is not rounded: `FakeQuantization` after the
    activation does that.

    Call arguments:
        inputs: 4D tensor.
        input_step: Optional scalar tensor, the step of the input's rounding:
            with it, the bias is rounded too. Defaults to `None`.
        exact: Boolean. Whether sums are computed in whole numbers where
            `input_step` is known: those of LiteRT, to the last one. Its
            converter can only read what is not. Defaults to `True`.
        training: Boolean. Training computes in plain floats, which is faster.
        return_step: Boolean. Whether to return the step too of which the
            outputs are whole multiples, one for each channel: the product of
            the input's (1 without `input_step`) and the kernel's. Defaults to
            `False`.

    Example:

    >>> layer = keras_ratn.layers.QuantizationAwareConv2D(4, 3)
    >>> tuple(layer(keras.ops.ones((1, 8, 8, 3))).shape)
    (1, 6, 6, 4)
    """

    def _products(self, inputs, kernel):
        return self.convolution_op(inputs, kernel)


@keras.saving.register_keras_serializable(package="keras_ratn")
class QuantizationAwareDepthwiseConv2D(
    _SumsOfProducts, keras.layers.DepthwiseConv2D
):
    """A depthwise convolution with a kernel of 8 bits, scaled by channel.

    Arguments, shapes and weights are those of `keras.layers.DepthwiseConv2D`,
    without an activation.

    Call arguments:
        inputs: 4D tensor.
        input_step, exact, training: As for `QuantizationAwareConv2D`.
        return_step: As for `QuantizationAwareConv2D`.

    Example:

    >>> layer = keras_ratn.layers.QuantizationAwareDepthwiseConv2D(1)
    >>> tuple(layer(keras.ops.ones((1, 8, 8, 3))).shape)
    (1, 8, 8, 3)
    """

    def _rounded_kernel(self):
        # (h, w, channels, multiplier): each output channel has a scale.
        height, width, channels, multiplier = self.kernel.shape
        return _fake_quantized(
            ops.reshape(self.kernel, (height, width, channels * multiplier))
        )

    def _products(self, inputs, kernel):
        return ops.depthwise_conv(
            inputs,
            ops.reshape(kernel, self.kernel.shape),
            strides=self.strides,
            padding=self.padding,
            dilation_rate=self.dilation_rate,
            data_format=self.data_format,
        )


@keras.saving.register_keras_serializable(package="keras_ratn")
class QuantizationAwareDense(_SumsOfProducts, ClassificationHead):
    """A dense layer with a kernel of 8 bits, one scale for all of it.

    Arguments, shapes and weights are those of `ClassificationHead`, without
    an activation. (LiteRT's converter fails on a scale for each unit.)

    Call arguments:
        inputs: Tensor of any rank from 2.
        input_step, exact, training: As for `QuantizationAwareConv2D`.
        return_step: As for `QuantizationAwareConv2D`; the step is one for all
            units.

    Example:

    >>> layer = keras_ratn.layers.QuantizationAwareDense(4)
    >>> tuple(layer(keras.ops.ones((1, 8))).shape)
    (1, 4)
    """

    def _rounded_kernel(self):
        return _fake_quantized(self.kernel, per_channel=False)

    def _products(self, inputs, kernel):
        return ops.matmul(inputs, kernel)

    def _as_channels(self, values):
        return values

    def _step_shape(self, shape):
        return ()


@keras.saving.register_keras_serializable(package="keras_ratn")
class QuantizationAwareRescaling(keras.layers.Rescaling):
    """A sum with constants of 8 bits, which have one range for all of them.

    The rounding twin of a `keras.layers.Rescaling` by 1. Constants of channels
    are weights, which training tunes; a single one stays as it is.

    Args:
        scale: Float, `1.0`: nothing else can be rounded here.
        offset: Float, or list with one for each channel: where training
            begins. Defaults to `0.0`.
        **kwargs: Base layer arguments (`name`, `dtype`, ...).

    Call arguments:
        inputs: Tensor, channels-last if there is an offset for each channel.
        training: Boolean. Gradients pass straight through the rounding.
        return_offset: Boolean. Whether to return the rounded offset and its
            step, a scalar, too. Defaults to `False`.

    Input shape:
        Any.

    Output shape:
        The same as the input's.

    Example:

    >>> layer = keras_ratn.layers.QuantizationAwareRescaling(1.0, [0.0, 2.55])
    >>> tuple(layer(keras.ops.ones((1, 8, 8, 2))).shape)
    (1, 8, 8, 2)
    """

    def __init__(self, scale=1.0, offset=0.0, **kwargs):
        super().__init__(scale, offset, **kwargs)
        if np.any(np.asarray(self.scale) != 1):
            raise ValueError(
                "Only offsets are rounded to 8 bits; a scale belongs into a "
                f"DepthwiseConv2D. Received: scale={scale}"
            )

    def build(self, input_shape):
        self.constants = self.offset
        if np.ndim(self.offset) > 0:
            self.constants = self.add_weight(
                shape=np.shape(self.offset),
                initializer=lambda _, dtype: ops.array(self.offset, dtype),
                name="bias",  # by which optimizers tell what not to decay
            )

    def call(self, inputs, training=False, return_offset=False):
        exact = ops.cast(self.constants, self.compute_dtype)
        lower = ops.minimum(ops.min(exact), 0.0)
        upper = ops.maximum(ops.max(exact), 0.0)
        upper = ops.maximum(upper, lower + _SMALLEST_RANGE)
        offset = fake_quant_with_min_max_vars(exact, lower, upper)
        if training:
            # The smallest and the largest learn too, which the range, moved so
            # that zero is one of its values, can leave out.
            offset = exact + ops.stop_gradient(offset - exact)
        outputs = ops.add(inputs, offset)
        if not return_offset:
            return outputs
        return outputs, offset, _step(lower, upper)

    def compute_output_spec(self, inputs, training=False, return_offset=False):
        outputs = keras.KerasTensor(inputs.shape, dtype=self.compute_dtype)
        if not return_offset:
            return outputs
        offset = keras.KerasTensor(np.shape(self.offset), self.compute_dtype)
        return outputs, offset, keras.KerasTensor((), dtype="float32")
