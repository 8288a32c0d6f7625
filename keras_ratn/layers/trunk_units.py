"""The units that trunks and masks are made of: one contract, three kinds.

A unit maps `(height, width, any channels)` to `(ceil(height / strides),
ceil(width / strides), filters)`. `ends_activated` says whether its output is
already normalised and activated, so that what follows need not do it again.
"""

import math

import keras
from keras import ops

from keras_ratn.layers import _common
from keras_ratn.layers import registry
from keras_ratn.layers._composite import CompositeLayer


class _Unit(CompositeLayer):
    """What the three units share: arguments, shapes, shortcut and config."""

    ends_activated = False

    def __init__(
        self,
        filters,
        strides=1,
        data_format=None,
        attention=None,
        attention_options=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.filters = _common.positive_integer("filters", filters)
        self.strides = _common.positive_integer("strides", strides)
        self.data_format = _common.standard_data_format(data_format)
        self.attention = registry.checked_attention("attention", attention)
        self.attention_options = dict(attention_options or {})

    def _changes_shape(self, input_shape):
        channels = input_shape[_common.channel_axis(self.data_format)]
        return self.strides > 1 or channels != self.filters

    def _convolution(self, filters, kernel_size, name, strides=1, **kwargs):
        return _common.convolution(
            filters,
            kernel_size,
            strides,
            data_format=self.data_format,
            dtype=self.dtype_policy,
            name=name,
            **kwargs,
        )

    def _batch_normalization(self, name):
        return _common.batch_normalization(
            data_format=self.data_format, dtype=self.dtype_policy, name=name
        )

    def _padding(self):
        """Symmetric padding for a strided 3x3 convolution, else nothing."""
        if self.strides == 1:
            return None
        return keras.layers.ZeroPadding2D(
            1,
            data_format=self.data_format,
            dtype=self.dtype_policy,
            name="padding",
        )

    @property
    def branch_end(self):
        """The weight that scales what a built unit adds to its input."""
        raise NotImplementedError

    def _build_attention(self, input_shape):
        """The layer that weighs the residual before it is added, if any."""
        self.attention_layer = None
        if self.attention is not None:
            self.attention_layer = registry.get(
                self.attention,
                **self.attention_options,
                data_format=self.data_format,
                dtype=self.dtype_policy,
                name="attention",
            )
            self.attention_layer.build(self.compute_output_shape(input_shape))

    def _attend(self, residual, training):
        if self.attention_layer is None:
            return residual
        return self.attention_layer(residual, training=training)

    def _build_chain(self, layers, shape):
        for layer in layers:
            if layer is not None:
                layer.build(shape)
                shape = layer.compute_output_shape(shape)
        return shape

    def compute_output_shape(self, input_shape):
        shape = _common.strided_shape(
            input_shape, self.strides, self.data_format
        )
        return _common.with_channels(shape, self.filters, self.data_format)

    def compute_output_spec(self, inputs, training=None):
        return keras.KerasTensor(
            self.compute_output_shape(inputs.shape), dtype=self.compute_dtype
        )

    def get_config(self):
        return {
            **super().get_config(),
            "filters": self.filters,
            "strides": self.strides,
            "data_format": self.data_format,
            "attention": self.attention,
            "attention_options": self.attention_options,
        }


@keras.saving.register_keras_serializable(package="keras_ratn")
class ResidualUnit(_Unit):
    """Adds to its input what a pre-activation bottleneck makes of it.

    Batch normalization and ReLU come before each of the three convolutions
    (1x1 to a quarter of the channels, 3x3, 1x1 back). The shortcut is the raw
    input; where the shape changes it is a 1x1 convolution of the input after
    its first batch normalization and ReLU.

    Reference:
    - [Residual Attention Network for Image Classification (Wang et al., 2017)](
        https://arxiv.org/abs/1704.06904), section 3
    - [Identity Mappings in Deep Residual Networks (He et al., 2016)](
        https://arxiv.org/abs/1603.05027)

    Args:
        filters: Integer, a multiple of 4. Output channels.
        strides: Integer. Stride of the 3x3 convolution and of the shortcut.
            Defaults to `1`.
        data_format: String, `"channels_last"` or `"channels_first"`. Defaults
            to Keras's global setting.
        attention: `None` or the short name of an attention layer that weighs
            the residual before it is added, see `keras_ratn.layers.get`.
            Defaults to `None`.
        attention_options: Optional dictionary of options of the attention's
            class. Defaults to `None`.
        **kwargs: Base layer arguments (`name`, `dtype`, ...).

    Call arguments:
        inputs: 4D tensor.
        training: Boolean. Whether batch normalization uses and learns from
            the batch's own statistics.

    Input shape:
        `(batch_size, height, width, channels)` for `"channels_last"`.

    Output shape:
        `(batch_size, ceil(height / strides), ceil(width / strides), filters)`
        for `"channels_last"`.

    Example:

    >>> x = keras.random.normal((1, 8, 8, 16))
    >>> tuple(keras_ratn.layers.ResidualUnit(32, strides=2)(x).shape)
    (1, 4, 4, 32)
    """

    def __init__(self, filters, strides=1, data_format=None, **kwargs):
        super().__init__(filters, strides, data_format, **kwargs)
        if filters % 4:
            raise ValueError(
                "`filters` of a ResidualUnit must be a multiple of 4, since "
                "its bottleneck has a quarter of them. "
                f"Received: filters={filters}"
            )

    def build(self, input_shape):
        bottleneck = self.filters // 4
        self.bn1 = self._batch_normalization("bn1")
        self.conv1 = self._convolution(bottleneck, 1, "conv1")
        self.bn2 = self._batch_normalization("bn2")
        self.padding = self._padding()
        self.conv2 = self._convolution(bottleneck, 3, "conv2", self.strides)
        self.bn3 = self._batch_normalization("bn3")
        self.conv3 = self._convolution(self.filters, 1, "conv3")
        self.projection = None
        if self._changes_shape(input_shape):
            self.projection = self._convolution(
                self.filters, 1, "projection", self.strides
            )
            self.projection.build(input_shape)
        self._build_chain(
            [
                self.bn1,
                self.conv1,
                self.bn2,
                self.padding,
                self.conv2,
                self.bn3,
                self.conv3,
            ],
            input_shape,
        )
        self._build_attention(input_shape)

    @property
    def branch_end(self):
        return self.conv3.kernel

    def call(self, inputs, training=None):
        activated = ops.relu(self.bn1(inputs, training=training))
        shortcut = inputs
        if self.projection is not None:
            shortcut = self.projection(activated)
        x = self.conv1(activated)
        x = ops.relu(self.bn2(x, training=training))
        if self.padding is not None:
            x = self.padding(x)
        x = self.conv2(x)
        x = ops.relu(self.bn3(x, training=training))
        x = self._attend(self.conv3(x), training)
        return ops.add(x, shortcut)


@keras.saving.register_keras_serializable(package="keras_ratn")
class ResNeXtUnit(_Unit):
    """Adds to its input what a grouped bottleneck makes of it, then ReLU.

    The unit of AttentionNeXt, activated after each convolution: 1x1 to half
    of the channels, 3x3 in groups, 1x1 back, each with batch normalization.
    The shortcut is the raw input, or a 1x1 convolution with batch
    normalization where the shape changes.

    Reference:
    - [Residual Attention Network for Image Classification (Wang et al., 2017)](
        https://arxiv.org/abs/1704.06904), table 6
    - [Aggregated Residual Transformations for Deep Neural Networks (Xie et
        al., 2017)](https://arxiv.org/abs/1611.05431)

    Args:
        filters: Integer, a multiple of 2. Output channels.
        strides: Integer. Stride of the 3x3 convolution and of the shortcut.
            Defaults to `1`.
        groups: Integer. Largest number of groups of the 3x3 convolution; a
            narrow unit whose `filters // 2` it does not divide takes the
            greatest common divisor. Defaults to `32`.
        data_format: String, `"channels_last"` or `"channels_first"`. Defaults
            to Keras's global setting.
        attention: `None` or the short name of an attention layer that weighs
            the residual before it is added, see `keras_ratn.layers.get`.
            Defaults to `None`.
        attention_options: Optional dictionary of options of the attention's
            class. Defaults to `None`.
        **kwargs: Base layer arguments (`name`, `dtype`, ...).

    Call arguments:
        inputs: 4D tensor.
        training: Boolean. Whether batch normalization uses and learns from
            the batch's own statistics.

    Input shape:
        `(batch_size, height, width, channels)` for `"channels_last"`.

    Output shape:
        `(batch_size, ceil(height / strides), ceil(width / strides), filters)`
        for `"channels_last"`.

    Example:

    >>> x = keras.random.normal((1, 8, 8, 64))
    >>> tuple(keras_ratn.layers.ResNeXtUnit(64)(x).shape)
    (1, 8, 8, 64)
    """

    ends_activated = True

    def __init__(
        self, filters, strides=1, groups=32, data_format=None, **kwargs
    ):
        super().__init__(filters, strides, data_format, **kwargs)
        self.groups = _common.positive_integer("groups", groups)
        if filters % 2:
            raise ValueError(
                "`filters` of a ResNeXtUnit must be a multiple of 2, since "
                "its grouped convolution has half of them. "
                f"Received: filters={filters}"
            )

    def build(self, input_shape):
        width = self.filters // 2
        self.conv1 = self._convolution(width, 1, "conv1")
        self.bn1 = self._batch_normalization("bn1")
        self.padding = self._padding()
        self.conv2 = self._convolution(
            width,
            3,
            "conv2",
            self.strides,
            groups=math.gcd(self.groups, width),
        )
        self.bn2 = self._batch_normalization("bn2")
        self.conv3 = self._convolution(self.filters, 1, "conv3")
        self.bn3 = self._batch_normalization("bn3")
        self.projection = self.projection_bn = None
        if self._changes_shape(input_shape):
            self.projection = self._convolution(
                self.filters, 1, "projection", self.strides
            )
            self.projection_bn = self._batch_normalization("projection_bn")
            self._build_chain(
                [self.projection, self.projection_bn], input_shape
            )
        self._build_chain(
            [
                self.conv1,
                self.bn1,
                self.padding,
                self.conv2,
                self.bn2,
                self.conv3,
                self.bn3,
            ],
            input_shape,
        )
        self._build_attention(input_shape)

    @property
    def branch_end(self):
        return self.bn3.gamma

    def call(self, inputs, training=None):
        shortcut = inputs
        if self.projection is not None:
            shortcut = self.projection_bn(
                self.projection(inputs), training=training
            )
        x = ops.relu(self.bn1(self.conv1(inputs), training=training))
        if self.padding is not None:
            x = self.padding(x)
        x = ops.relu(self.bn2(self.conv2(x), training=training))
        x = self.bn3(self.conv3(x), training=training)
        return ops.relu(ops.add(self._attend(x, training), shortcut))

    def get_config(self):
        return {**super().get_config(), "groups": self.groups}


@keras.saving.register_keras_serializable(package="keras_ratn")
class InceptionUnit(_Unit):
    """Adds to its input what three convolution branches make of it.

    A pre-activation Inception-ResNet unit: after batch normalization and
    ReLU the branches {1x1}, {1x1, 3x3} and {1x1, 3x3, 3x3} run side by side
    and are merged by a linear 1x1 convolution. Shortcut as in `ResidualUnit`.

    This is a **reconstruction**: the authors name AttentionInception but
    released no definition. `BRANCH_WIDTHS` is chosen so that
    AttentionInception-56 has the parameters and multiply-accumulates that the
    paper prints.

    Reference:
    - [Residual Attention Network for Image Classification (Wang et al., 2017)](
        https://arxiv.org/abs/1704.06904), table 6
    - [Inception-v4, Inception-ResNet and the Impact of Residual Connections
        on Learning (Szegedy et al., 2017)](https://arxiv.org/abs/1602.07261)

    Args:
        filters: Integer. Output channels.
        strides: Integer. Stride of the first 3x3 convolution of each branch
            (the 1x1 where there is none) and of the shortcut. Defaults to
            `1`.
        data_format: String, `"channels_last"` or `"channels_first"`. Defaults
            to Keras's global setting.
        attention: `None` or the short name of an attention layer that weighs
            the residual before it is added, see `keras_ratn.layers.get`.
            Defaults to `None`.
        attention_options: Optional dictionary of options of the attention's
            class. Defaults to `None`.
        **kwargs: Base layer arguments (`name`, `dtype`, ...).

    Call arguments:
        inputs: 4D tensor.
        training: Boolean. Whether batch normalization uses and learns from
            the batch's own statistics.

    Input shape:
        `(batch_size, height, width, channels)` for `"channels_last"`.

    Output shape:
        `(batch_size, ceil(height / strides), ceil(width / strides), filters)`
        for `"channels_last"`.

    Example:

    >>> x = keras.random.normal((1, 8, 8, 32))
    >>> tuple(keras_ratn.layers.InceptionUnit(32)(x).shape)
    (1, 8, 8, 32)
    """

    # Kernel sizes of each branch, and its width in 64ths of `filters`.
    BRANCH_KERNELS = ((1,), (1, 3), (1, 3, 3))
    BRANCH_WIDTHS = (5, 8, 8)

    def build(self, input_shape):
        self.bn = self._batch_normalization("bn")
        self.bn.build(input_shape)
        self.padding = self._padding()
        # Flat lists, one branch after the other: Keras saves no nested ones.
        self.branch_convolutions = []
        self.branch_bns = []
        shapes = [self._build_branch(i, input_shape) for i in range(3)]
        axis = _common.channel_axis(self.data_format)
        merged = _common.with_channels(
            shapes[0], sum(s[axis] for s in shapes), self.data_format
        )
        self.merge = self._convolution(self.filters, 1, "merge")
        self.merge.build(merged)
        self.projection = None
        if self._changes_shape(input_shape):
            self.projection = self._convolution(
                self.filters, 1, "projection", self.strides
            )
            self.projection.build(input_shape)
        self._build_attention(input_shape)

    @staticmethod
    def _strided_depth(kernels):
        """A branch shrinks its map at its first 3x3 convolution, if any."""
        return min(2, len(kernels))

    def _build_branch(self, index, shape):
        kernels = self.BRANCH_KERNELS[index]
        width = max(1, self.filters * self.BRANCH_WIDTHS[index] // 64)
        for depth, kernel_size in enumerate(kernels, start=1):
            name = f"branch{index + 1}_{depth}"
            strided = depth == self._strided_depth(kernels)
            strides = self.strides if strided else 1
            layers = [
                self._convolution(width, kernel_size, f"{name}_conv", strides)
            ]
            self.branch_convolutions.append(layers[0])
            if depth > 1:
                bn = self._batch_normalization(f"{name}_bn")
                self.branch_bns.append(bn)
                layers.insert(0, bn)
                if strides > 1:
                    layers.insert(1, self.padding)
            shape = self._build_chain(layers, shape)
        return shape

    @property
    def branch_end(self):
        return self.merge.kernel

    def call(self, inputs, training=None):
        activated = ops.relu(self.bn(inputs, training=training))
        shortcut = inputs
        if self.projection is not None:
            shortcut = self.projection(activated)
        convolutions = iter(self.branch_convolutions)
        bns = iter(self.branch_bns)
        branches = []
        for kernels in self.BRANCH_KERNELS:
            x = next(convolutions)(activated)
            for depth in range(2, len(kernels) + 1):
                x = ops.relu(next(bns)(x, training=training))
                strided = depth == self._strided_depth(kernels)
                if strided and self.padding is not None:
                    x = self.padding(x)
                x = next(convolutions)(x)
            branches.append(x)
        axis = _common.channel_axis(self.data_format)
        merged = self.merge(ops.concatenate(branches, axis=axis))
        return ops.add(self._attend(merged, training), shortcut)


UNITS = {
    "residual": ResidualUnit,
    "resnext": ResNeXtUnit,
    "inception": InceptionUnit,
}
