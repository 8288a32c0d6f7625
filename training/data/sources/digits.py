"""scikit-learn's handwritten digits."""

import numpy as np

from ...errors import RunError
from ..pixels import fit_arrays
from ..split import array_split
from ..split import Source


def load(config):
    """1,797 real handwritten digits of 8x8 pixels, enlarged."""
    try:
        from sklearn.datasets import load_digits
    except ModuleNotFoundError as error:
        raise RunError(
            "The digits come with scikit-learn: `pip install "
            f"keras_ratn[train]`. {error}"
        ) from error
    digits = load_digits()
    images = np.uint8(digits.images * (255 / 16))[..., None]
    images = fit_arrays(np.repeat(images, 3, axis=-1), config.image_size)
    names = [str(name) for name in digits.target_names]
    return Source(
        names,
        array_split(images[:-360], digits.target[:-360]),
        None,
        array_split(images[-360:], digits.target[-360:]),
    )
