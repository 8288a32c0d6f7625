"""Augmentation as Keras layers, on the device, its random state saved.

Keras's own layers are used where they compile. `RandomTranslation`,
`RandomZoom`, `RandomCrop` and `RandAugment` do not: they switch XLA off for
the whole model, which on JAX means running it operation by operation.
"""

import math

import keras
from keras import ops


class RandomCropping(keras.Layer):
    """Shows a random part of each image at the image's own size.

    The part is drawn by area and aspect ratio (Inception's augmentation),
    then moved by whole pixels; what lies outside the image is black, or the
    image mirrored at its outermost pixels. Rows and columns are resampled by
    two products with interpolation matrices, which every backend compiles, and
    which are exact copies where nothing is scaled: then this is "pad and crop".

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

    ASPECT_RATIOS = (3 / 4, 4 / 3)

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
        low, high = map(math.log, self.ASPECT_RATIOS)
        root = ops.exp(self._uniform(batch, low, high) / 2)
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
            {"mode": "horizontal"},
        ),
        (
            config.color > 0,
            keras.layers.RandomColorJitter,
            {
                "brightness_factor": config.color,
                "contrast_factor": config.color,
                # Keras's 0.5 is "as it is".
                "saturation_factor": (
                    0.5 - config.color / 4,
                    0.5 + config.color / 4,
                ),
                "hue_factor": config.color / 10,
            },
        ),
        (
            config.cutout > 0,
            keras.layers.RandomErasing,
            {"factor": config.cutout},
        ),
    ]
    return [
        layer(**arguments, seed=seed + index, dtype="float32")
        for index, (wanted, layer, arguments) in enumerate(table)
        if wanted
    ]


def mixing_layers(config, seed):
    """The layers that mix images and, by the same shares, their labels."""
    layers = []
    if config.mixup:
        layers.append(
            keras.layers.MixUp(config.mixup, seed=seed + 101, dtype="float32")
        )
    if config.cutmix:
        layers.append(keras.layers.CutMix(seed=seed + 102, dtype="float32"))
    return layers
