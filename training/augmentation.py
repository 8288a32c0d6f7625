"""Augmentation as Keras layers, on the device, its random state saved."""

import keras


def image_layers(config, seed):
    """The layers between pixels 0-255 and the network while it trains.

    Args:
        config: `AugmentationConfig`.
        seed: Integer. Each layer gets a seed of its own from it.

    Returns:
        List of Keras layers that keep the images' shape.
    """
    layers = keras.layers
    black = {"fill_mode": "constant", "fill_value": 0.0}
    # Applied only where the config asks for it.
    table = [
        (
            config.shift,
            layers.RandomTranslation,
            # Nearest neighbour: a shift by whole pixels, as of a crop.
            {
                "height_factor": config.shift,
                "width_factor": config.shift,
                "interpolation": "nearest",
                **black,
            },
        ),
        (
            config.zoom,
            layers.RandomZoom,
            {
                "height_factor": (-config.zoom, 0.0),
                "width_factor": (-config.zoom, 0.0),
            },
        ),
        (config.flip, layers.RandomFlip, {"mode": "horizontal"}),
        (
            config.color,
            layers.RandomColorJitter,
            {
                "brightness_factor": config.color,
                "contrast_factor": config.color,
                "saturation_factor": (0.5 - config.color / 4, 0.5),
                "hue_factor": config.color / 10,
            },
        ),
        (
            config.rand_augment,
            layers.RandAugment,
            {"factor": config.rand_augment},
        ),
        (config.cutout, layers.RandomErasing, {"factor": config.cutout}),
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
