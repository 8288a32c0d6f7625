"""Augmentation as Keras layers, on the device, its random state saved.

Keras's own layers are used where they compile. `RandomTranslation`,
`RandomZoom`, `RandomCrop` and `RandAugment` do not: they switch XLA off for
the whole model, which on JAX means running it operation by operation. Where a
layer of Keras takes one number for a range, the range often begins at "as it
is"; so here both ends are given. `tests/training/test_augmentation.py` measures
what comes out.
"""

import math

import keras
from keras import ops


class RandomCropping(keras.Layer):
    """Shows a random part of each image at the image's own size.

    The part is drawn by area, evenly, and by aspect ratio among those that fit
    into the image (Inception's augmentation), then moved by whole pixels; what
    lies outside the image is black, or the image mirrored at its outermost
    pixels. Rows and columns are resampled by two products with interpolation
    matrices, which every backend compiles, and which are exact copies where
    nothing is scaled: then this is "pad and crop".

    Reference:
    - [Going Deeper with Convolutions (Szegedy et al., 2014)](
        https://arxiv.org/abs/1409.4842), section 6

    Args:
        shift: Float. Largest move, as a share of the size. Defaults to `0.0`.
        min_area: Float. Smallest share of the image's area. Defaults to `1.0`,
            the whole image.
        border: String, `"black"` or `"reflect"`. Defaults to `"black"`.
        seed: Integer. Defaults to `None`.

    Input shape:
        `(batch_size, height, width, channels)`.

    Output shape:
        The same.

    Example:

    >>> x = keras.random.uniform((2, 32, 32, 3))
    >>> tuple(RandomCropping(shift=0.125)(x, training=True).shape)
    (2, 32, 32, 3)
    """

    MAX_ASPECT_RATIO = 4 / 3  # and 3 / 4 the smallest

    def __init__(
        self, shift=0.0, min_area=1.0, border="black", seed=None, **kwargs
    ):
        super().__init__(**kwargs)
        self.shift = shift
        self.border = border
        self.min_area = min_area
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, inputs, training=False):
        if not training:
            return inputs
        batch, height, width = ops.shape(inputs)[:3]
        height_share, width_share = self._shares(batch)
        rows = self._interpolation(batch, height, height_share)
        columns = self._interpolation(batch, width, width_share)
        x = ops.einsum("bij,bjwc->biwc", rows, inputs)
        return ops.einsum("bij,bhjc->bhic", columns, x)

    def _uniform(self, batch, low=0.0, high=1.0):
        return keras.random.uniform(
            (batch, 1), low, high, dtype="float32", seed=self.seed_generator
        )

    def _shares(self, batch):
        """Height and width of the parts, as shares of the image's."""
        if self.min_area == 1.0:
            return ops.ones((batch, 1)), ops.ones((batch, 1))
        area = self._uniform(batch, self.min_area, 1.0)
        # Both sides, sqrt(area) times or by sqrt(aspect), are 1 at most.
        widest = ops.minimum(math.log(self.MAX_ASPECT_RATIO), -ops.log(area))
        root = ops.exp(self._uniform(batch, -1.0, 1.0) * widest / 2)
        side = ops.sqrt(area)
        return ops.minimum(side / root, 1.0), ops.minimum(side * root, 1.0)

    def _interpolation(self, batch, size, share):
        """Weights `(batch, size, size)` of the old pixels in the new ones."""
        start = self._uniform(batch) * (1.0 - share) * size
        pixels = ops.arange(size, dtype="float32")
        moves = ops.floor(
            self._uniform(batch) * (2 * math.floor(self.shift * size) + 1)
        ) - math.floor(self.shift * size)
        # Half-pixel centres: new pixel i is at start + (i + 1/2) share - 1/2.
        centres = start + (pixels[None] + 0.5) * share - 0.5
        if self.min_area < 1.0:
            # Between the outermost centres and the border: the border pixel.
            centres = ops.clip(centres, 0.0, size - 1.0)
        centres = centres + moves
        if self.border == "reflect":
            last = size - 1.0
            centres = last - ops.abs(last - ops.abs(centres))
        distance = ops.abs(centres[:, :, None] - pixels[None, None])
        return ops.maximum(1.0 - distance, 0.0)

    def compute_output_shape(self, input_shape):
        return input_shape


def image_layers(config, seed):
    """The layers between pixels 0-255 and the network while it trains.

    Args:
        config: `AugmentationConfig`.
        seed: Integer. Each layer gets a seed of its own from it.

    Returns:
        List of Keras layers that keep the images' shape.
    """
    last = {"data_format": "channels_last"}  # whatever Keras's default
    color = config.color
    # (whether the config asks for it, layer, its arguments)
    table = [
        (
            config.shift > 0 or config.min_area < 1,
            RandomCropping,
            {
                "shift": config.shift,
                "min_area": config.min_area,
                "border": config.border,
            },
        ),
        # Alternating images come mirrored from the batches.
        (
            config.flip and not config.alternate_flip,
            keras.layers.RandomFlip,
            {"mode": "horizontal", **last},
        ),
        (
            color > 0,
            keras.layers.RandomBrightness,
            {"factor": (-color, color), **last},
        ),
        # What is subtracted from 1 and what is added.
        (
            color > 0,
            keras.layers.RandomContrast,
            {"factor": (color, color), **last},
        ),
        (
            color > 0,
            keras.layers.RandomSaturation,
            {
                # A factor f / (1 - f): 0.5 is "as it is".
                "factor": (0.5 - color / 4, 0.5 + color / 4),
                # Of the saturation, not of the pixels.
                "value_range": (0, 1),
                **last,
            },
        ),
        # In both directions, and 1 is half of the circle.
        (
            color > 0,
            keras.layers.RandomHue,
            {"factor": (0.0, color / 10), **last},
        ),
        (
            config.cutout > 0,
            keras.layers.RandomErasing,
            {"factor": (config.cutout, config.cutout), **last},
        ),
    ]
    return [
        layer(**arguments, seed=seed + index, dtype="float32")
        for index, (wanted, layer, arguments) in enumerate(table)
        if wanted
    ]


def mixing_layers(config, seed):
    """The layers that mix images and, by the same shares, their labels."""
    common = {"data_format": "channels_last", "dtype": "float32"}
    layers = []
    if config.mixup:
        layers.append(
            keras.layers.MixUp(config.mixup, seed=seed + 101, **common)
        )
    if config.cutmix:
        # Beta(1, 1), as in its paper; of one number Keras draws the alpha.
        layers.append(
            keras.layers.CutMix((1.0, 1.0), seed=seed + 102, **common)
        )
    return layers
