"""Layers that compute in floats as LiteRT will compute in 8-bit integers."""

import keras
from keras import ops
from keras.quantizers import fake_quant_with_min_max_vars

from keras_ratn.layers import _common
from keras_ratn.layers.classification_head import ClassificationHead

# A channel of zeros has no range; this stands in for it.
_SMALLEST_RANGE = 1e-6


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

    def call(self, inputs, training=False, return_step=False):
        if training and not self.fixed:
            self._follow(self.lower, ops.minimum(ops.min(inputs), 0))
            self._follow(self.upper, ops.maximum(ops.max(inputs), 0))
        lower = ops.convert_to_tensor(self.lower)
        upper = ops.convert_to_tensor(self.upper)
        if not self.fixed:
            upper = ops.maximum(upper, ops.add(lower, self.narrowest))
        outputs = inputs
        if self.rounds_in_training or not training:
            outputs = fake_quant_with_min_max_vars(inputs, lower, upper)
        if return_step:
            return outputs, ops.subtract(upper, lower) / 255
        return outputs

    def _follow(self, variable, value):
        value = ops.cast(ops.stop_gradient(value), "float32")
        variable.assign(variable * self.momentum + value * (1 - self.momentum))

    def compute_output_spec(self, inputs, training=False, return_step=False):
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
    return rounded, limit / 127


def _rounded_bias(bias, input_step, kernel_step):
    """A bias in LiteRT's steps: the product of the input's and the kernel's.

    Gradients pass straight through. The step is known only where the input
    has been rounded.
    """
    bias = ops.convert_to_tensor(bias)
    if input_step is None:
        return bias
    step = ops.cast(input_step, bias.dtype) * kernel_step
    rounded = ops.round(bias / step) * step
    return bias + ops.stop_gradient(rounded - bias)


@keras.saving.register_keras_serializable(package="keras_ratn")
class QuantizationAwareConv2D(keras.layers.Conv2D):
    """A convolution with a kernel of 8 bits, a scale for each output channel.

    Arguments, shapes and weights are those of `keras.layers.Conv2D`, without
    an activation. The output is not rounded: `FakeQuantization` after the
    activation does that.

    Call arguments:
        inputs: 4D tensor.
        input_step: Optional scalar tensor, the step of the input's rounding:
            with it, the bias is rounded as LiteRT does. Defaults to `None`.

    Example:

    >>> layer = keras_ratn.layers.QuantizationAwareConv2D(4, 3)
    >>> tuple(layer(keras.ops.ones((1, 8, 8, 3))).shape)
    (1, 6, 6, 4)
    """

    def call(self, inputs, input_step=None):
        kernel, step = _fake_quantized(self.kernel)
        outputs = self.convolution_op(inputs, kernel)
        if not self.use_bias:
            return outputs
        bias = _rounded_bias(self.bias, input_step, step)
        return ops.add(outputs, _as_channels(bias, self.data_format))


def _as_channels(bias, data_format):
    """A bias in the shape that adds to maps of this layout."""
    if _common.standard_data_format(data_format) == "channels_first":
        return ops.reshape(bias, (-1, 1, 1))
    return bias


@keras.saving.register_keras_serializable(package="keras_ratn")
class QuantizationAwareDepthwiseConv2D(keras.layers.DepthwiseConv2D):
    """A depthwise convolution with a kernel of 8 bits, scaled by channel.

    Arguments, shapes and weights are those of `keras.layers.DepthwiseConv2D`,
    without an activation.

    Call arguments:
        inputs: 4D tensor.
        input_step: As for `QuantizationAwareConv2D`.

    Example:

    >>> layer = keras_ratn.layers.QuantizationAwareDepthwiseConv2D(1)
    >>> tuple(layer(keras.ops.ones((1, 8, 8, 3))).shape)
    (1, 8, 8, 3)
    """

    def call(self, inputs, input_step=None):
        # (h, w, channels, multiplier): each output channel has a scale.
        shape = self.kernel.shape
        kernel = ops.reshape(self.kernel, (*shape[:2], shape[2] * shape[3]))
        kernel, step = _fake_quantized(kernel)
        outputs = ops.depthwise_conv(
            inputs,
            ops.reshape(kernel, shape),
            strides=self.strides,
            padding=self.padding,
            dilation_rate=self.dilation_rate,
            data_format=self.data_format,
        )
        if not self.use_bias:
            return outputs
        bias = _rounded_bias(self.bias, input_step, step)
        return ops.add(outputs, _as_channels(bias, self.data_format))


@keras.saving.register_keras_serializable(package="keras_ratn")
class QuantizationAwareDense(ClassificationHead):
    """A dense layer with a kernel of 8 bits, one scale for all of it.

    Arguments, shapes and weights are those of `ClassificationHead`, without
    an activation. (LiteRT's converter fails on a scale for each unit.)

    Call arguments:
        inputs: Tensor of any rank from 2.
        input_step: As for `QuantizationAwareConv2D`.

    Example:

    >>> layer = keras_ratn.layers.QuantizationAwareDense(4)
    >>> tuple(layer(keras.ops.ones((1, 8))).shape)
    (1, 4)
    """

    def call(self, inputs, input_step=None, training=None):
        kernel, step = _fake_quantized(self.kernel, per_channel=False)
        outputs = ops.matmul(inputs, kernel)
        if not self.use_bias:
            return outputs
        return ops.add(outputs, _rounded_bias(self.bias, input_step, step))
