"""The soft mask branch, in its two structures: what M(x) is computed by."""

import keras
from keras import ops

from keras_ratn.layers import _common
from keras_ratn.layers._composite import CompositeLayer
from keras_ratn.layers.mask_activation import MASK_ACTIVATIONS
from keras_ratn.layers.mask_activation import MaskActivation
from keras_ratn.layers.trunk_units import UNITS
from keras_ratn.layers.upsampling import INTERPOLATIONS
from keras_ratn.layers.upsampling import upsampling


class _MaskBranch(CompositeLayer):
    """What both structures share: their units, their head and their shape."""

    def __init__(self, unit, mask_activation, data_format, **kwargs):
        super().__init__(**kwargs)
        self.unit = _common.one_of("unit", unit, UNITS)
        self.mask_activation = _common.one_of(
            "mask_activation", mask_activation, MASK_ACTIVATIONS
        )
        self.data_format = _common.standard_data_format(data_format)

    def _make_units(self, names, shape):
        """Built units that keep `shape`, one for each name."""
        channels = shape[_common.channel_axis(self.data_format)]
        units = [
            UNITS[self.unit](
                channels,
                data_format=self.data_format,
                dtype=self.dtype_policy,
                name=name,
            )
            for name in names
        ]
        for unit in units:
            unit.build(shape)
        return units

    def _build_head(self, shape):
        """[BN, ReLU, 1x1 convolution] twice, then the mask activation.

        Units that end activated need no BN and ReLU before the first one.
        """
        channels = shape[_common.channel_axis(self.data_format)]
        common = {"data_format": self.data_format, "dtype": self.dtype_policy}
        self.head_bn1 = None
        if not UNITS[self.unit].ends_activated:
            self.head_bn1 = _common.batch_normalization(
                name="head_bn1", **common
            )
            self.head_bn1.build(shape)
        self.head_conv1 = _common.convolution(
            channels, 1, name="head_conv1", **common
        )
        self.head_bn2 = _common.batch_normalization(name="head_bn2", **common)
        self.head_conv2 = _common.convolution(
            channels, 1, name="head_conv2", **common
        )
        self.activation = MaskActivation(
            self.mask_activation, name="activation", **common
        )
        for layer in (
            self.head_conv1,
            self.head_bn2,
            self.head_conv2,
            self.activation,
        ):
            layer.build(shape)

    def _head(self, x, training):
        if self.head_bn1 is not None:
            x = ops.relu(self.head_bn1(x, training=training))
        x = self.head_conv1(x)
        x = ops.relu(self.head_bn2(x, training=training))
        return self.activation(self.head_conv2(x))

    def compute_output_shape(self, input_shape):
        return input_shape

    def compute_output_spec(self, inputs, training=None):
        return keras.KerasTensor(inputs.shape, dtype=self.compute_dtype)

    def get_config(self):
        return {
            **super().get_config(),
            "unit": self.unit,
            "mask_activation": self.mask_activation,
            "data_format": self.data_format,
        }


@keras.saving.register_keras_serializable(package="keras_ratn")
class SoftMaskBranch(_MaskBranch):
    """Looks at its input from afar and returns a mask of the same shape.

    The bottom-up top-down branch *M(x)* of an Attention Module. It shrinks
    the input `mask_depth` times by max-pooling, each time followed by
    `num_mask_units` units, then enlarges it as often, with a unit on each
    skip connection, and ends in two 1x1 convolutions and the mask activation.
    Any height and width work: each enlargement goes to the exact size of the
    level above.

    Reference:
    - [Residual Attention Network for Image Classification (Wang et al., 2017)](
        https://arxiv.org/abs/1704.06904), section 3.1

    Args:
        mask_depth: Integer. How many times the input is halved. Defaults to
            `2`.
        num_mask_units: Integer. Units between adjacent poolings (*r* in the
            paper). Defaults to `1`.
        unit: String, the kind of unit: `"residual"`, `"resnext"` or
            `"inception"`. Defaults to `"residual"`.
        mask_activation: String, `"mixed"`, `"channel"` or `"spatial"`; see
            `MaskActivation`. Defaults to `"mixed"`.
        interpolation: String, how maps are enlarged: `"bilinear"` (half-pixel
            centres), `"bilinear_align_corners"` (as the authors' code does)
            or `"transpose"` (learned). Defaults to `"bilinear"`.
        data_format: String, `"channels_last"` or `"channels_first"`. Defaults
            to Keras's global setting.
        **kwargs: Base layer arguments (`name`, `dtype`, ...).

    Call arguments:
        inputs: 4D tensor.
        training: Boolean. Whether batch normalization uses and learns from
            the batch's own statistics.

    Input shape:
        4D tensor.

    Output shape:
        The same as the input's.

    Example:

    >>> x = keras.random.normal((1, 14, 14, 8))
    >>> tuple(keras_ratn.layers.SoftMaskBranch(mask_depth=1)(x).shape)
    (1, 14, 14, 8)
    """

    def __init__(
        self,
        mask_depth=2,
        num_mask_units=1,
        unit="residual",
        mask_activation="mixed",
        interpolation="bilinear",
        data_format=None,
        **kwargs,
    ):
        super().__init__(unit, mask_activation, data_format, **kwargs)
        self.mask_depth = _common.positive_integer("mask_depth", mask_depth)
        self.num_mask_units = _common.positive_integer(
            "num_mask_units", num_mask_units
        )
        self.interpolation = _common.one_of(
            "interpolation", interpolation, INTERPOLATIONS
        )

    def build(self, input_shape):
        # The sizes of the levels do not matter to any weight.
        shape = input_shape
        self.pool = _common.max_pooling(
            data_format=self.data_format,
            dtype=self.dtype_policy,
            name="pool",
        )
        self.pool.build(shape)
        self.down_units = self._make_units(
            self._unit_names("down", range(1, self.mask_depth + 1)), shape
        )
        self.bottom_units = self._make_units(
            self._unit_names("bottom", [self.mask_depth]), shape
        )
        upper_levels = range(1, self.mask_depth)
        self.skip_units = self._make_units(
            [f"skip{level}" for level in upper_levels], shape
        )
        self.up_units = self._make_units(
            self._unit_names("up", upper_levels), shape
        )
        self.upsamplings = [
            upsampling(
                self.interpolation,
                self.data_format,
                dtype=self.dtype_policy,
                name=f"upsampling{level}",
            )
            for level in range(self.mask_depth)
        ]
        for layer in self.upsamplings:
            layer.build(shape)
        self._build_head(shape)

    def _unit_names(self, prefix, levels):
        return [
            f"{prefix}{level}_unit{index + 1}"
            for level in levels
            for index in range(self.num_mask_units)
        ]

    def _run(self, units, level, x, training):
        """Applies the units of one level (0 is the first in the list)."""
        first = level * self.num_mask_units
        for unit in units[first : first + self.num_mask_units]:
            x = unit(x, training=training)
        return x

    def _size(self, x):
        shape = ops.shape(x)
        return tuple(shape[a] for a in _common.spatial_axes(self.data_format))

    def call(self, inputs, training=None):
        x = inputs
        sizes, kept = [], []
        for level in range(self.mask_depth):
            sizes.append(self._size(x))
            x = self._run(self.down_units, level, self.pool(x), training)
            kept.append(x)
        x = self._run(self.bottom_units, 0, x, training)
        for level in reversed(range(self.mask_depth)):
            x = self.upsamplings[level](x, target_size=sizes[level])
            if level > 0:
                skip = self.skip_units[level - 1]
                x = ops.add(x, skip(kept[level - 1], training=training))
                x = self._run(self.up_units, level - 1, x, training)
        return self._head(x, training)

    def get_config(self):
        return {
            **super().get_config(),
            "mask_depth": self.mask_depth,
            "num_mask_units": self.num_mask_units,
            "interpolation": self.interpolation,
        }


@keras.saving.register_keras_serializable(package="keras_ratn")
class LocalConvolutionMask(_MaskBranch):
    """The paper's ablation of the soft mask: local convolutions only.

    Three units at full size, with no pooling and no enlarging, then the same
    head and activation as `SoftMaskBranch`. What it cannot do is look afar.

    Reference:
    - [Residual Attention Network for Image Classification (Wang et al., 2017)](
        https://arxiv.org/abs/1704.06904), section 4.1 and table 4

    Args:
        unit: String, the kind of unit: `"residual"`, `"resnext"` or
            `"inception"`. Defaults to `"residual"`.
        mask_activation: String, `"mixed"`, `"channel"` or `"spatial"`; see
            `MaskActivation`. Defaults to `"mixed"`.
        data_format: String, `"channels_last"` or `"channels_first"`. Defaults
            to Keras's global setting.
        **kwargs: Base layer arguments (`name`, `dtype`, ...).

    Call arguments:
        inputs: 4D tensor.
        training: Boolean. Whether batch normalization uses and learns from
            the batch's own statistics.

    Input shape:
        4D tensor.

    Output shape:
        The same as the input's.

    Example:

    >>> x = keras.random.normal((1, 8, 8, 8))
    >>> tuple(keras_ratn.layers.LocalConvolutionMask()(x).shape)
    (1, 8, 8, 8)
    """

    NUM_UNITS = 3

    def __init__(
        self,
        unit="residual",
        mask_activation="mixed",
        data_format=None,
        **kwargs,
    ):
        super().__init__(unit, mask_activation, data_format, **kwargs)

    def build(self, input_shape):
        names = [f"unit{index + 1}" for index in range(self.NUM_UNITS)]
        self.units = self._make_units(names, input_shape)
        self._build_head(input_shape)

    def call(self, inputs, training=None):
        x = inputs
        for unit in self.units:
            x = unit(x, training=training)
        return self._head(x, training)
