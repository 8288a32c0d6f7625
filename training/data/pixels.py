"""The pixels of an image: the one decoder of every command.

Upright, 8 bits a channel, the shorter side brought to the wanted one
(bilinear, antialiased), then the centre.
"""

import numpy as np

# How Pillow calls images of so many channels.
_MODES = {1: "L", 3: "RGB", 4: "RGBA"}
# A fraction of a JPEG's pixels is decoded as long as so many times the wanted
# ones are left. Fewer would be sharper than what a whole photo is resized to,
# as apps and servers do: at 1, photos of clothing differed by 4.5 of 255.
_MARGIN = 2
# An image so many times as long as it is wide is cut before it is enlarged.
_STRIP = 16


def read_image(path, shape):
    """Reads an image file.

    Args:
        path: Path of the file.
        shape: Triple of integers, `(height, width, channels)`; image files
            hold 1, 3 or 4 channels.

    Returns:
        Array of that shape, uint8.

    Raises:
        ValueError: The file cannot be read; the message is the reason alone.
    """
    height, width, channels = shape
    image, _ = open_image(path, max(height, width), _MODES[channels])
    if channels == 4:
        return fit_array(np.asarray(image), height, width)
    return fit_image(image, height, width)


def check_channels(channels):
    """Refuses numbers of channels that image files do not hold."""
    if channels not in _MODES:
        raise ValueError(
            "Image files hold 1, 3 or 4 channels. Received: a model for "
            f"images of {channels} channels. Pass an .npz file."
        )


def open_image(path, size, mode="RGB"):
    """Decodes an image file, as its photographer saw it.

    Args:
        path: Path of the file.
        size: Integer. Of a JPEG whose sides are at least four times as long, a
            fraction of the pixels is decoded: a half, a quarter or an eighth.
        mode: String, Pillow's. Defaults to `"RGB"`.

    Returns:
        The pair of Pillow's image and the `(width, height)` of the whole.

    Raises:
        ValueError: As for `read_image`.
    """
    from PIL import Image

    try:
        with Image.open(path) as image:
            width, height = image.size
            image.draft("RGB", (_MARGIN * size, _MARGIN * size))
            if _turn_upright(image):
                width, height = height, width
            image = _eight_bits(image)
            if mode != "RGBA":
                # Else Pillow warns that it will be lost.
                image.info.pop("transparency", None)
            return image.convert(mode), (width, height)
    except Exception as error:  # Pillow's decoders raise almost anything
        raise ValueError(str(error) or type(error).__name__) from error


def _turn_upright(image):
    """Turns it as the camera was held, where the photo says so.

    Returns whether it lay on its side.
    """
    from PIL import ExifTags
    from PIL import ImageOps

    sideways = False
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation)
        sideways = orientation in (5, 6, 7, 8)
        ImageOps.exif_transpose(image, in_place=True)
    except Exception:  # its notes are damaged, the image need not be
        pass
    return sideways


def _eight_bits(image):
    """Pixels 0-255: `convert` clips those of 16 bits, and all become white."""
    from PIL import Image

    # Older Pillow opens PNGs of 16 bits as mode I.
    sixteen = image.mode == "I" and image.format == "PNG"
    if sixteen or image.mode.startswith("I;16"):
        return Image.fromarray(np.uint8(np.asarray(image) >> 8))
    if image.mode in ("I", "F"):
        raise ValueError(f"pixels of unknown range (mode {image.mode})")
    return image


def fit_arrays(images, size):
    """`fit_array` of each of many images of one size, to squares."""
    if images.shape[1:3] == (size, size):
        return images
    return np.stack([fit_array(image, size, size) for image in images])


def fit_array(image, height, width):
    """`fit_image` of an array with any number of channels."""
    from PIL import Image

    if image.shape[-1] == 3:
        return fit_image(Image.fromarray(image), height, width)
    # One by one: of two or four Pillow takes the last for opacity, and clears
    # the others where it is 0.
    channels = [Image.fromarray(x) for x in np.moveaxis(image, -1, 0)]
    return np.concatenate(
        [fit_image(x, height, width) for x in channels], axis=-1
    )


def fit_image(image, height, width, bilinear=True):
    """The shorter side to the wanted one, then the centre.

    Args:
        image: `PIL.Image.Image`.
        height, width: Integers.
        bilinear: Boolean. Whether to mix pixels; else the nearest counts, as
            it must for numbers of classes. Defaults to `True`.

    Returns:
        Array `(height, width, channels)`.
    """
    from PIL import Image

    how = Image.Resampling.BILINEAR if bilinear else Image.Resampling.NEAREST
    actual_width, actual_height = image.size
    scale = max(width / actual_width, height / actual_height)
    full_width = max(width, round(actual_width * scale))
    full_height = max(height, round(actual_height * scale))
    left, top = (full_width - width) // 2, (full_height - height) // 2
    if full_width > _STRIP * width or full_height > _STRIP * height:
        # A line of 5,000 pixels would fill gigabytes. The same to a rounding.
        across, down = actual_width / full_width, actual_height / full_height
        right = min((left + width) * across, actual_width)
        bottom = min((top + height) * down, actual_height)
        box = (left * across, top * down, right, bottom)
        image = image.resize((width, height), how, box)
    else:
        if image.size != (full_width, full_height):
            image = image.resize((full_width, full_height), how)
        image = image.crop((left, top, left + width, top + height))
    array = np.asarray(image)
    return array if array.ndim == 3 else array[..., None]
