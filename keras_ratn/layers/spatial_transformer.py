"""The Spatial Transformer: a layer that moves its input about."""

import keras
from keras import ops

from keras_ratn.layers import _attention_layer
from keras_ratn.layers import _common


@keras.saving.register_keras_serializable(package="keras_ratn")
class SpatialTransformer(_attention_layer.MapLayer):
    """Samples its input on a grid that the input itself determines.

    A localisation network computes the 2x3 matrix of an affine map from
    output to input coordinates; the input is sampled there bilinearly, as 0
    outside. Coordinates run from -1 to 1, *x* to the right and *y* down, as
    in the paper. The matrix starts as the identity.

    The localisation network is small and works at any size: two strided 3x3
    convolutions with ReLU, of whose maps a dense layer sees the mean and the
    first moments in *x* and in *y*. To use another one, call the layer with
    its result as `theta`.

    Reference:
    - [Spatial Transformer Networks (Jaderberg et al., 2015)](
        https://arxiv.org/abs/1506.02025)

    Args:
        output_size: Optional pair of integers `(height, width)`. Defaults to
            the input's size.
        filters: Integer. Channels of the localisation network. Defaults to
            `16`.
        align_corners: Boolean. Whether -1 and 1 are the centres of the border
            pixels (the authors' code) or their outer edges. Defaults to
            `True`.
        data_format: String, `"channels_last"` or `"channels_first"`. Defaults
            to Keras's global setting.
        **kwargs: Base layer arguments (`name`, `dtype`, ...).

    Call arguments:
        inputs: 4D tensor.
        theta: Optional tensor `(batch_size, 2, 3)`, in place of what the
            localisation network computes.
        return_theta: Boolean. Whether to return a pair `(outputs, theta)`.
            Defaults to `False`.

    Input shape:
        `(batch_size, height, width, channels)` for `"channels_last"`.

    Output shape:
        `(batch_size, output_height, output_width, channels)` for
        `"channels_last"`.

    Example:

    >>> x = keras.random.normal((1, 8, 8, 3))
    >>> layer = keras_ratn.layers.SpatialTransformer()
    >>> bool(keras.ops.max(keras.ops.abs(layer(x) - x)) < 1e-5)
    True
    """

    IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)

    def __init__(
        self,
        output_size=None,
        filters=16,
        align_corners=True,
        data_format=None,
        **kwargs,
    ):
        super().__init__(data_format, **kwargs)
        if output_size is not None:
            if not isinstance(output_size, (list, tuple)) or (
                len(output_size) != 2
            ):
                raise ValueError(
                    "`output_size` must be a pair of integers (height, "
                    f"width). Received: output_size={output_size!r}"
                )
            height, width = output_size
            output_size = (
                _common.positive_integer("output_size", height),
                _common.positive_integer("output_size", width),
            )
        self.output_size = output_size
        self.filters = _common.positive_integer("filters", filters)
        self.align_corners = bool(align_corners)

    def build(self, input_shape):
        self.padding = self._padding(1, "padding", input_shape)
        self.conv1 = self._convolution(
            self.filters, 3, "conv1", 2, use_bias=True, activation="relu"
        )
        self.conv2 = self._convolution(
            self.filters, 3, "conv2", 2, use_bias=True, activation="relu"
        )
        shape = self._any_size(input_shape)
        self.conv1.build(shape)
        self.conv2.build(
            _common.with_channels(shape, self.filters, self.data_format)
        )
        # In float32: a position needs more digits than half precision has.
        self.localization = keras.layers.Dense(
            6,
            kernel_initializer="zeros",
            bias_initializer=_identity_bias,
            dtype="float32",
            name="localization",
        )
        self.localization.build((None, 3 * self.filters))

    def call(self, inputs, theta=None, return_theta=False):
        if theta is None:
            theta = self._locate(inputs)
        x = _attention_layer.to_channels_last(inputs, self.data_format)
        shape = ops.shape(x)
        size = self.output_size or (shape[1], shape[2])
        grid = self._grid(ops.cast(theta, "float32"), size)
        outputs = _attention_layer.from_channels_last(
            self._sample(x, grid, size), self.data_format
        )
        return (outputs, theta) if return_theta else outputs

    def _locate(self, inputs):
        """The matrix `(B, 2, 3)` from mean and first moments of features."""
        x = self.conv2(self.padding(self.conv1(self.padding(inputs))))
        x = _attention_layer.to_channels_last(x, self.data_format)
        x = ops.cast(x, "float32")
        shape = ops.shape(x)
        rows = ops.reshape(_coordinates(shape[1], False), (1, -1, 1, 1))
        columns = ops.reshape(_coordinates(shape[2], False), (1, 1, -1, 1))
        moments = [
            ops.mean(maps, axis=(1, 2)) for maps in (x, x * columns, x * rows)
        ]
        theta = self.localization(ops.concatenate(moments, axis=-1))
        return ops.reshape(theta, (-1, 2, 3))

    def _grid(self, theta, size):
        """Where to sample: `(B, height * width, 2)`, *x* before *y*."""
        height, width = size
        y = ops.reshape(_coordinates(height, self.align_corners), (-1, 1))
        x = ops.reshape(_coordinates(width, self.align_corners), (1, -1))
        x, y = x + ops.zeros_like(y), y + ops.zeros_like(x)
        x, y = ops.reshape(x, (-1,)), ops.reshape(y, (-1,))
        target = ops.stack([x, y, ops.ones_like(x)], axis=-1)  # (P, 3)
        return ops.matmul(target, ops.transpose(theta, (0, 2, 1)))

    def _sample(self, x, grid, size):
        shape, channels = ops.shape(x), x.shape[-1]
        column = self._to_pixels(grid[..., 0], shape[2])
        row = self._to_pixels(grid[..., 1], shape[1])
        left, top = ops.floor(column), ops.floor(row)
        # One long list of pixels: sample b starts at b * H * W.
        pixels = ops.reshape(x, (-1, channels))
        start = ops.arange(shape[0], dtype="int32") * shape[1] * shape[2]
        start = ops.expand_dims(start, 1)
        outputs = 0.0
        for c, r in (
            (left, top),
            (left + 1, top),
            (left, top + 1),
            (left + 1, top + 1),
        ):
            weight = (1 - ops.abs(column - c)) * (1 - ops.abs(row - r))
            inside = ops.logical_and(
                ops.logical_and(c >= 0, c < shape[2]),
                ops.logical_and(r >= 0, r < shape[1]),
            )
            weight = weight * ops.cast(inside, weight.dtype)
            # Neither is NaN, of which an index would fail the whole batch.
            c = ops.cast(ops.where(inside, c, 0.0), "int32")
            r = ops.cast(ops.where(inside, r, 0.0), "int32")
            corner = ops.take(pixels, start + r * shape[2] + c, axis=0)
            weight = ops.cast(weight, x.dtype)
            outputs = outputs + ops.expand_dims(weight, -1) * corner
        return ops.reshape(outputs, (-1, *size, channels))

    def _to_pixels(self, coordinates, size):
        size = ops.cast(size, "float32")
        if self.align_corners:
            return (coordinates + 1) * (size - 1) / 2
        return ((coordinates + 1) * size - 1) / 2

    def compute_output_shape(self, input_shape):
        shape = list(input_shape)
        if self.output_size is not None:
            axes = _common.spatial_axes(self.data_format)
            for axis, size in zip(axes, self.output_size):
                shape[axis] = size
        return tuple(shape)

    def compute_output_spec(self, inputs, theta=None, return_theta=False):
        outputs = keras.KerasTensor(
            self.compute_output_shape(inputs.shape), dtype=self.compute_dtype
        )
        if not return_theta:
            return outputs
        dtype = "float32" if theta is None else theta.dtype
        return outputs, keras.KerasTensor((inputs.shape[0], 2, 3), dtype=dtype)

    def get_config(self):
        return {
            **super().get_config(),
            "output_size": self.output_size,
            "filters": self.filters,
            "align_corners": self.align_corners,
        }


def _identity_bias(shape, dtype=None):
    return ops.convert_to_tensor(SpatialTransformer.IDENTITY, dtype=dtype)


def _coordinates(size, align_corners):
    """`size` coordinates from -1 to 1: pixel centres, or edge to edge."""
    index = ops.arange(size, dtype="float32")
    size = ops.cast(size, "float32")
    if align_corners:
        return 2 * index / ops.maximum(size - 1, 1) - 1
    return (2 * index + 1) / size - 1
