"""Three ways to bring a mask back to the size of the level above."""

import keras
import numpy as np
from keras import ops

from keras_ratn.layers import _common
from keras_ratn.layers._composite import CompositeLayer


class _Upsampling2D(CompositeLayer):
    """What the up-sampling layers share: target size, shapes and config."""

    def __init__(self, size=2, data_format=None, **kwargs):
        super().__init__(**kwargs)
        self.size = _common.positive_integer("size", size)
        self.data_format = _common.standard_data_format(data_format)

    def _target_size(self, inputs, target_size):
        if target_size is not None:
            return tuple(target_size)
        shape = ops.shape(inputs)
        axes = _common.spatial_axes(self.data_format)
        return tuple(shape[axis] * self.size for axis in axes)

    def compute_output_spec(self, inputs, target_size=None):
        shape = list(inputs.shape)
        axes = _common.spatial_axes(self.data_format)
        if target_size is None:
            target_size = [
                None if shape[axis] is None else shape[axis] * self.size
                for axis in axes
            ]
        for axis, size in zip(axes, target_size):
            shape[axis] = size if isinstance(size, int) else None
        return keras.KerasTensor(tuple(shape), dtype=self.compute_dtype)

    def get_config(self):
        return {
            **super().get_config(),
            "size": self.size,
            "data_format": self.data_format,
        }


@keras.saving.register_keras_serializable(package="keras_ratn")
class BilinearUpsampling2D(_Upsampling2D):
    """Enlarges maps bilinearly, to any size.

    Two conventions exist for where the corners go. With `align_corners=False`
    pixels are areas whose outer edges meet (half-pixel centres: Keras,
    TensorFlow 2, LiteRT). With `align_corners=True` the centres of the corner
    pixels meet (the authors' Caffe networks).

    `keras.layers.Resizing` would do the first only, and in Keras 3.15 it
    turns every later layer of a model to training mode.

    Args:
        size: Integer. Factor by which to enlarge where the call names no
            `target_size`. Defaults to `2`.
        align_corners: Boolean. Whether corner centres map onto corner
            centres. Defaults to `False`.
        data_format: String, `"channels_last"` or `"channels_first"`. Defaults
            to Keras's global setting.
        **kwargs: Base layer arguments (`name`, `dtype`, ...).

    Call arguments:
        inputs: 4D tensor.
        target_size: Optional pair `(height, width)`, in pixels.

    Input shape:
        `(batch_size, height, width, channels)` for `"channels_last"`.

    Output shape:
        `(batch_size, target_height, target_width, channels)` for
        `"channels_last"`.

    Example:

    >>> x = keras.ops.ones((1, 4, 4, 3))
    >>> layer = keras_ratn.layers.BilinearUpsampling2D()
    >>> tuple(layer(x, target_size=(7, 9)).shape)
    (1, 7, 9, 3)
    """

    def __init__(self, size=2, align_corners=False, data_format=None, **kwargs):
        super().__init__(size, data_format, **kwargs)
        self.align_corners = align_corners

    def call(self, inputs, target_size=None):
        height, width = self._target_size(inputs, target_size)
        if not self.align_corners:
            return ops.image.resize(
                inputs,
                (height, width),
                interpolation="bilinear",
                data_format=self.data_format,
            )
        shape = ops.shape(inputs)
        h_axis, w_axis = _common.spatial_axes(self.data_format)
        # Bilinear resizing is a product with one small matrix per direction.
        rows = self._interpolation_matrix(height, shape[h_axis])
        columns = self._interpolation_matrix(width, shape[w_axis])
        if self.data_format == "channels_first":
            x = ops.matmul(rows, inputs)  # (B, C, H', W)
            return ops.matmul(x, ops.transpose(columns))  # (B, C, H', W')
        # (B, H, W, C) -> (B, H, W C) -> (B, H', W C) -> (B, H', W, C)
        channels = inputs.shape[-1]
        x = ops.reshape(inputs, (-1, shape[1], shape[2] * channels))
        x = ops.matmul(rows, x)
        x = ops.reshape(x, (-1, height, shape[2], channels))
        return ops.matmul(columns, x)  # (B, H', W', C)

    def _interpolation_matrix(self, target, source):
        """Weights `(target, source)` with corner centres aligned."""
        static = isinstance(target, int) and isinstance(source, int)
        xp = np if static else ops
        target_index = xp.arange(target, dtype="float32")
        source_index = xp.arange(source, dtype="float32")
        if static:
            step = (source - 1) / max(target - 1, 1)
        else:
            step = ops.cast(source - 1, "float32") / ops.cast(
                ops.maximum(target - 1, 1), "float32"
            )
        distance = xp.abs(
            xp.expand_dims(target_index * step, 1)
            - xp.expand_dims(source_index, 0)
        )
        weights = xp.maximum(1.0 - distance, 0.0)
        return ops.cast(weights, self.compute_dtype)

    def get_config(self):
        return {**super().get_config(), "align_corners": self.align_corners}


@keras.saving.register_keras_serializable(package="keras_ratn")
class BilinearInitializer(keras.initializers.Initializer):
    """Fills each channel of a depthwise kernel with bilinear weights.

    A transposed convolution of stride 2 with such a 4x4 kernel is bilinear
    enlargement by two (half-pixel centres, zeros beyond the border).

    Example:

    >>> kernel = keras_ratn.layers.BilinearInitializer()((4, 4, 1, 1))
    >>> float(keras.ops.sum(kernel))
    4.0
    """

    def __call__(self, shape, dtype=None):
        def triangle(length):
            centre = (length - 1) / 2
            return 1 - np.abs(np.arange(length) - centre) / (length / 2)

        kernel = np.outer(triangle(shape[0]), triangle(shape[1]))
        kernel = np.broadcast_to(kernel[:, :, None, None], shape)
        return ops.convert_to_tensor(
            kernel.astype("float32"), dtype=dtype or keras.config.floatx()
        )


@keras.saving.register_keras_serializable(package="keras_ratn")
class TransposedUpsampling2D(_Upsampling2D):
    """Doubles maps by a learned transposed convolution, one kernel a channel.

    The classic deconvolution of segmentation networks: 4x4, stride 2,
    depthwise, without bias, initialised to bilinear enlargement. It learns
    16 numbers a channel. A `target_size` that is odd loses the last row or
    column of the doubled map.

    Reference:
    - [Fully Convolutional Networks for Semantic Segmentation (Long et al.,
        2015)](https://arxiv.org/abs/1411.4038), section 3.3

    Args:
        data_format: String, `"channels_last"` or `"channels_first"`. Defaults
            to Keras's global setting.
        **kwargs: Base layer arguments (`name`, `dtype`, ...).

    Call arguments:
        inputs: 4D tensor.
        target_size: Optional pair `(height, width)`, in pixels, of at most
            twice the input's size.

    Input shape:
        `(batch_size, height, width, channels)` for `"channels_last"`.

    Output shape:
        `(batch_size, target_height, target_width, channels)` for
        `"channels_last"`.

    Example:

    >>> x = keras.ops.ones((1, 4, 4, 3))
    >>> tuple(keras_ratn.layers.TransposedUpsampling2D()(x).shape)
    (1, 8, 8, 3)
    """

    def __init__(self, data_format=None, **kwargs):
        super().__init__(2, data_format, **kwargs)

    def build(self, input_shape):
        channels = input_shape[_common.channel_axis(self.data_format)]
        self.convolution = keras.layers.DepthwiseConv2D(
            4,
            use_bias=False,
            depthwise_initializer=BilinearInitializer(),
            data_format="channels_last",
            dtype=self.dtype_policy,
            name="convolution",
        )
        self.convolution.build((None, None, None, channels))

    def call(self, inputs, target_size=None):
        height, width = self._target_size(inputs, target_size)
        x = inputs
        if self.data_format == "channels_first":
            x = ops.transpose(x, (0, 2, 3, 1))
        for wanted, given in zip((height, width), x.shape[1:3]):
            known = isinstance(wanted, int) and isinstance(given, int)
            if known and wanted > 2 * given:
                raise ValueError(
                    "`target_size` must be at most twice the input's size. "
                    f"Received: target_size={(height, width)} for an input "
                    f"of {tuple(x.shape[1:3])} pixels"
                )
        x = self._interleave_zeros(self._interleave_zeros(x, 1), 2)
        # A convolution over the zero-interleaved map is the transposed one.
        x = self.convolution(ops.pad(x, ((0, 0), (2, 1), (2, 1), (0, 0))))
        x = x[:, :height, :width, :]
        if self.data_format == "channels_first":
            x = ops.transpose(x, (0, 3, 1, 2))
        return x

    def _interleave_zeros(self, x, axis):
        shape = list(ops.shape(x))
        shape[axis] = shape[axis] * 2
        stacked = ops.stack([x, ops.zeros_like(x)], axis=axis + 1)
        return ops.reshape(stacked, shape)

    def get_config(self):
        config = super().get_config()
        del config["size"]  # always 2
        return config


INTERPOLATIONS = ("bilinear", "bilinear_align_corners", "transpose")


def upsampling(interpolation, data_format, **kwargs):
    """The up-sampling layer that the `interpolation` option names."""
    _common.one_of("interpolation", interpolation, INTERPOLATIONS)
    if interpolation == "transpose":
        return TransposedUpsampling2D(data_format=data_format, **kwargs)
    return BilinearUpsampling2D(
        align_corners=interpolation == "bilinear_align_corners",
        data_format=data_format,
        **kwargs,
    )
