"""From pixels to what the networks take, and from their outputs to names."""

import keras

from keras_ratn.layers import _common
from keras_ratn.models.architecture import FAMILIES


def preprocessing_layer(family, channels, data_format, **kwargs):
    """The layer that scales pixels 0-255 as the family's networks want it."""
    if channels != 3:
        return keras.layers.Rescaling(1 / 127.5, offset=-1.0, **kwargs)
    statistics = FAMILIES[family]
    return keras.layers.Normalization(
        axis=_common.channel_axis(data_format),
        mean=statistics.mean,
        # Normalization takes variances.
        variance=tuple(d**2 for d in statistics.deviation),
        **kwargs,
    )
