"""Pixels 0-255 of the wanted size, from files and arrays."""

import numpy as np


def fit_arrays(images, size):
    """`fit_array` of each of many images of one size."""
    if images.shape[1:3] == (size, size):
        return images
    return np.stack([fit_array(image, size) for image in images])


def fit_array(image, size):
    """`fit_image` of an array with any number of channels."""
    from PIL import Image

    if image.shape[-1] == 3:
        return fit_image(Image.fromarray(image), size)
    # One by one: of two or four Pillow takes the last for opacity, and clears
    # the others where it is 0.
    channels = np.moveaxis(image, -1, 0)
    return np.concatenate(
        [fit_image(Image.fromarray(x), size) for x in channels], axis=-1
    )


def fit_image(image, size):
    """The shorter side to `size`, then the centre: `(size, size, channels)`."""
    from PIL import Image

    width, height = image.size
    scale = size / min(width, height)
    width = max(size, round(width * scale))
    height = max(size, round(height * scale))
    if image.size != (width, height):
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    left, top = (width - size) // 2, (height - size) // 2
    image = image.crop((left, top, left + size, top + size))
    array = np.asarray(image)
    return array if array.ndim == 3 else array[..., None]


def upright(image):
    """As the camera was held, where the photo says so."""
    from PIL import ImageOps

    try:
        ImageOps.exif_transpose(image, in_place=True)
    except Exception:  # its notes are damaged, the image need not be
        pass
    return image


def eight_bits(image):
    """Pixels 0-255: `convert` clips those of 16 bits, and all become white."""
    from PIL import Image

    # Older Pillow opens PNGs of 16 bits as mode I.
    sixteen = image.mode == "I" and image.format == "PNG"
    if sixteen or image.mode.startswith("I;16"):
        return Image.fromarray(np.uint8(np.asarray(image) >> 8))
    if image.mode in ("I", "F"):
        raise ValueError(f"pixels of unknown range (mode {image.mode})")
    return image
