"""The images from which int8 learns the range of each tensor."""

import numpy as np

MIN_REPRESENTATIVE_IMAGES = 16
_NAMES = ("image", "images")


def representative_images(data, model, pixels=True):
    """Checks representative data and returns it as one array.

    Args:
        data: Iterable of batches of images, or one array of images. A batch
            may be a pair of images and labels, or a dictionary with the
            images under `"image"` or `"images"`, as those of TFDS are.
        model: Keras model that is to take them.
        pixels: Boolean. Whether they are to be pixels 0-255. Defaults to
            `True`.

    Returns:
        float32 NumPy array of images. Of pixels, the first image holds a 0
        and a 255 in its corner, so that 8 bits stand for exactly 0 to 255.
    """
    shape = tuple(model.inputs[0].shape[1:])
    if data is None:
        raise ValueError(
            "Int8 needs `representative_data`: images from which to learn "
            "the range of each tensor. Received: None. Pass some batches of "
            "training images, or `--data FOLDER` on the command line, where a "
            "model in its run folder finds them by itself."
        )
    batches = []
    for batch in data:
        batch = np.asarray(_images_of(batch), "float32")
        batch = batch[None] if batch.ndim == 3 else batch
        if batch.shape[1:] != shape:
            raise ValueError(
                "Representative images must have the size that the model "
                f"takes, {shape}. Received: images of {batch.shape[1:]}. "
                "Resize them first."
            )
        batches.append(batch)
    number = sum(map(len, batches))
    if number < MIN_REPRESENTATIVE_IMAGES:
        raise ValueError(
            f"`representative_data` must hold {MIN_REPRESENTATIVE_IMAGES} "
            "images or more, better some hundreds. "
            f"Received: {number} images"
        )
    images = np.concatenate(batches)
    if pixels:
        check_pixels(images)
        images[0, 0, 0], images[0, 0, 1] = 0, 255
    return images


def _images_of(batch):
    """The images of a batch, which may hold labels and more besides."""
    if isinstance(batch, (tuple, list)):  # (images, labels), as Keras has it
        return _images_of(batch[0])
    if not isinstance(batch, dict):
        return batch
    for name in _NAMES:  # by name, as TensorFlow Datasets has it
        if name in batch:
            return batch[name]
    raise ValueError(
        "Of representative data in dictionaries, the images are looked for "
        f"under {', '.join(map(repr, _NAMES))}. Received: a dictionary with "
        f"{', '.join(map(repr, batch)) or 'nothing in it'}. Pass the images "
        "alone: (batch[NAME] for batch in data)"
    )


def check_pixels(images):
    """Refuses an array of images that are no pixels from 0 to 255."""
    low, high = images.min(), images.max()
    # Written so that NaN is refused too.
    if not (low >= 0 and 1 < high <= 255):
        raise ValueError(
            "Images must be pixels from 0 to 255; the model scales them "
            f"itself. Received: values from {low:.3g} to {high:.3g}"
        )
