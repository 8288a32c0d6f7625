"""The Attention Module: a trunk whose features a soft mask weighs."""

import keras
from keras import ops

from keras_ratn.layers import _common
from keras_ratn.layers import registry
from keras_ratn.layers._composite import CompositeLayer
from keras_ratn.layers._rematerialization import rematerialize
from keras_ratn.layers.mask_activation import MASK_ACTIVATIONS
from keras_ratn.layers.soft_mask_branch import LocalConvolutionMask
from keras_ratn.layers.soft_mask_branch import SoftMaskBranch
from keras_ratn.layers.trunk_units import UNITS
from keras_ratn.layers.upsampling import INTERPOLATIONS

ATTENTION_LEARNING = ("residual", "naive")
MASK_STRUCTURES = ("encoder_decoder", "local_convolution")


@keras.saving.register_keras_serializable(package="keras_ratn")
class AttentionModule(CompositeLayer):
    """Computes features in a trunk and weighs them by a soft mask.

    After `num_pre_units` units the input goes two ways: through the trunk
    branch *T(x)* and through the soft mask branch *M(x)*. They are combined
    to `(1 + M(x)) * T(x)` by attention residual learning, the paper's method,
    or to `M(x) * T(x)` by naive attention learning, its baseline, in which
    stacked masks between 0 and 1 fade the features out. As many units again
    as before follow.

    Reference:
    - [Residual Attention Network for Image Classification (Wang et al., 2017)](
        https://arxiv.org/abs/1704.06904), section 3

    Args:
        filters: Integer. Output channels. Defaults to the input's channels.
        mask_depth: Integer. How many times the mask halves its input.
            Defaults to `2`.
        num_pre_units: Integer. Units before the branches part, and again
            after they meet (*p* in the paper). Defaults to `1`.
        num_trunk_units: Integer. Units in the trunk branch (*t*). Defaults
            to `2`.
        num_mask_units: Integer. Units between adjacent poolings of the mask
            (*r*). Defaults to `1`.
        unit: String, the kind of unit: `"residual"`, `"resnext"` or
            `"inception"`. Defaults to `"residual"`.
        attention_learning: String, `"residual"` or `"naive"`. Defaults to
            `"residual"`.
        mask_activation: String, `"mixed"`, `"channel"` or `"spatial"`; see
            `MaskActivation`. Defaults to `"mixed"`.
        mask_structure: String, `"encoder_decoder"` (`SoftMaskBranch`) or
            `"local_convolution"` (`LocalConvolutionMask`). Defaults to
            `"encoder_decoder"`.
        interpolation: String, how the mask enlarges its maps: `"bilinear"`,
            `"bilinear_align_corners"` or `"transpose"`. Defaults to
            `"bilinear"`.
        data_format: String, `"channels_last"` or `"channels_first"`. Defaults
            to Keras's global setting.
        remat: Boolean. Whether training forgets the activations inside the
            module and computes them again for the backward pass: less memory
            for more time, the same gradients. Defaults to `False`.
        unit_attention: `None` or the short name of an attention layer for the
            units before, in and after the trunk (not those of the mask), see
            `keras_ratn.layers.get`. Defaults to `None`.
        unit_attention_options: Optional dictionary of options of that layer's
            class. Defaults to `None`.
        **kwargs: Base layer arguments (`name`, `dtype`, ...).

    Call arguments:
        inputs: 4D tensor.
        training: Boolean. Whether batch normalization uses and learns from
            the batch's own statistics.
        return_attention_mask: Boolean. Whether to return a pair `(outputs,
            mask)`, the mask being *M(x)*. Defaults to `False`.

    Input shape:
        `(batch_size, height, width, channels)` for `"channels_last"`.

    Output shape:
        `(batch_size, height, width, filters)` for `"channels_last"`; the mask
        has the same shape.

    Example:

    >>> x = keras.random.normal((1, 8, 8, 16))
    >>> module = keras_ratn.layers.AttentionModule(32, mask_depth=1)
    >>> outputs, mask = module(x, return_attention_mask=True)
    >>> tuple(outputs.shape), tuple(mask.shape)
    ((1, 8, 8, 32), (1, 8, 8, 32))
    """

    def __init__(
        self,
        filters=None,
        mask_depth=2,
        num_pre_units=1,
        num_trunk_units=2,
        num_mask_units=1,
        unit="residual",
        attention_learning="residual",
        mask_activation="mixed",
        mask_structure="encoder_decoder",
        interpolation="bilinear",
        data_format=None,
        remat=False,
        unit_attention=None,
        unit_attention_options=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if filters is not None:
            _common.positive_integer("filters", filters)
        self.filters = filters
        self.mask_depth = _common.positive_integer("mask_depth", mask_depth)
        self.num_pre_units = _common.positive_integer(
            "num_pre_units", num_pre_units, minimum=0
        )
        self.num_trunk_units = _common.positive_integer(
            "num_trunk_units", num_trunk_units
        )
        self.num_mask_units = _common.positive_integer(
            "num_mask_units", num_mask_units
        )
        self.unit = _common.one_of("unit", unit, UNITS)
        self.attention_learning = _common.one_of(
            "attention_learning", attention_learning, ATTENTION_LEARNING
        )
        self.mask_activation = _common.one_of(
            "mask_activation", mask_activation, MASK_ACTIVATIONS
        )
        self.mask_structure = _common.one_of(
            "mask_structure", mask_structure, MASK_STRUCTURES
        )
        self.interpolation = _common.one_of(
            "interpolation", interpolation, INTERPOLATIONS
        )
        self.data_format = _common.standard_data_format(data_format)
        self.remat = bool(remat)
        self.unit_attention = registry.checked_attention(
            "unit_attention", unit_attention
        )
        self.unit_attention_options = dict(unit_attention_options or {})

    def build(self, input_shape):
        filters = self._output_filters(input_shape)
        channels = input_shape[_common.channel_axis(self.data_format)]
        if self.num_pre_units == 0 and channels != filters:
            raise ValueError(
                "An AttentionModule without pre-processing units cannot "
                "change the number of channels, because its mask must have "
                "the shape of its trunk. Use num_pre_units=1 or more, or "
                f"filters={channels}. Received: filters={filters}, "
                f"num_pre_units=0, input_shape={tuple(input_shape)}"
            )
        shape = self.compute_output_shape(input_shape)
        self.pre_units = self._make_units(
            "pre_unit", self.num_pre_units, input_shape
        )
        self.trunk_units = self._make_units(
            "trunk_unit", self.num_trunk_units, shape
        )
        self.post_units = self._make_units(
            "post_unit", self.num_pre_units, shape
        )
        self.soft_mask = self._make_mask()
        self.soft_mask.build(shape)

    def _output_filters(self, input_shape):
        if self.filters is not None:
            return self.filters
        return input_shape[_common.channel_axis(self.data_format)]

    def _make_units(self, name, number, input_shape):
        """A chain of built units; only the first may change the channels."""
        units = []
        for index in range(number):
            unit = UNITS[self.unit](
                self._output_filters(input_shape),
                data_format=self.data_format,
                attention=self.unit_attention,
                attention_options=self.unit_attention_options,
                dtype=self.dtype_policy,
                name=f"{name}{index + 1}",
            )
            unit.build(input_shape)
            input_shape = unit.compute_output_shape(input_shape)
            units.append(unit)
        return units

    def _make_mask(self):
        common = {
            "unit": self.unit,
            "mask_activation": self.mask_activation,
            "data_format": self.data_format,
            "dtype": self.dtype_policy,
            "name": "soft_mask",
        }
        if self.mask_structure == "local_convolution":
            return LocalConvolutionMask(**common)
        return SoftMaskBranch(
            self.mask_depth,
            self.num_mask_units,
            interpolation=self.interpolation,
            **common,
        )

    def call(self, inputs, training=None, return_attention_mask=False):
        if self.remat and training:
            outputs, mask = rematerialize(self, self._forward, inputs)
        else:
            outputs, mask = self._forward(inputs, training)
        return (outputs, mask) if return_attention_mask else outputs

    def _forward(self, inputs, training):
        trunk, mask = self.branches(inputs, training=training)
        x = self.combine(trunk, mask)
        for unit in self.post_units:
            x = unit(x, training=training)
        return x, mask

    def branches(self, inputs, training=None):
        """The pair *T(x)*, *M(x)*: features and mask before they meet."""
        x = inputs
        for unit in self.pre_units:
            x = unit(x, training=training)
        mask = self.soft_mask(x, training=training)
        for unit in self.trunk_units:
            x = unit(x, training=training)
        return x, mask

    def combine(self, trunk, mask):
        """What the mask makes of the features, by `attention_learning`."""
        weighted = ops.multiply(mask, trunk)
        if self.attention_learning == "residual":
            return ops.add(weighted, trunk)
        return weighted

    def compute_output_shape(self, input_shape):
        return _common.with_channels(
            input_shape, self._output_filters(input_shape), self.data_format
        )

    def compute_output_spec(
        self, inputs, training=None, return_attention_mask=False
    ):
        shape = self.compute_output_shape(inputs.shape)
        outputs = keras.KerasTensor(shape, dtype=self.compute_dtype)
        if not return_attention_mask:
            return outputs
        return outputs, keras.KerasTensor(shape, dtype=self.compute_dtype)

    def get_config(self):
        return {
            **super().get_config(),
            "filters": self.filters,
            "mask_depth": self.mask_depth,
            "num_pre_units": self.num_pre_units,
            "num_trunk_units": self.num_trunk_units,
            "num_mask_units": self.num_mask_units,
            "unit": self.unit,
            "attention_learning": self.attention_learning,
            "mask_activation": self.mask_activation,
            "mask_structure": self.mask_structure,
            "interpolation": self.interpolation,
            "data_format": self.data_format,
            "remat": self.remat,
            "unit_attention": self.unit_attention,
            "unit_attention_options": self.unit_attention_options,
        }
