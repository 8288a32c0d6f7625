"""Images for calibration, tuning and checks, from a folder or an .npz file."""

import pathlib

import keras
import numpy as np

SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png")


def load_images(path, shape, limit=None, seed=0):
    """Loads images and, where known, their classes.

    Args:
        path: Path of a folder of images, of a folder with one sub-folder of
            images for each class, or of an `.npz` file with an array
            `images` or `x` and optionally one `labels` or `y`.
        shape: Triple of integers, `(height, width, channels)`. The centre of
            images in files is resized to it; arrays must have it.
        limit: Optional integer. How many images to draw at most.
        seed: Integer, for the draw. Defaults to `0`.

    Returns:
        Tuple of a float32 array of images, an integer array of classes or
        `None`, and a list of the classes' names or `None`.
    """
    path = pathlib.Path(path)
    if path.suffix == ".npz" and path.is_file():
        return _from_arrays(path, shape, limit, seed)
    if path.is_dir():
        return _from_folder(path, shape, limit, seed)
    raise ValueError(
        "Images come from a folder or an .npz file. "
        f"Received: {str(path)!r}, which is neither."
    )


def _chosen(number, limit, seed):
    """Which of `number` images to take, in an order without classes."""
    order = np.random.default_rng(seed).permutation(number)
    return order[:limit]


def _from_arrays(path, shape, limit, seed):
    with np.load(path) as arrays:
        images = next((arrays[k] for k in ("images", "x") if k in arrays), None)
        labels = next((arrays[k] for k in ("labels", "y") if k in arrays), None)
        keys = list(arrays)
    if images is None or images.ndim != 4:
        raise ValueError(
            "An .npz file of images must hold an array `images` of shape "
            f"(number, height, width, channels). Received: {str(path)!r} with "
            f"the arrays {keys}"
        )
    if images.shape[1:] != tuple(shape):
        raise ValueError(
            f"The model takes images of the shape {tuple(shape)}. Received: "
            f"images of {images.shape[1:]} in {str(path)!r}. Resize them."
        )
    chosen = _chosen(len(images), limit, seed)
    images = images[chosen].astype("float32")
    if labels is not None:
        labels = np.asarray(labels).reshape(-1)[chosen].astype("int64")
    return images, labels, None


def _from_folder(path, shape, limit, seed):
    files = sorted(f for f in path.rglob("*") if f.suffix.lower() in SUFFIXES)
    if not files:
        raise ValueError(
            f"There must be images ({', '.join(SUFFIXES)}) in the folder. "
            f"Received: {str(path)!r}, which has none."
        )
    files = [files[i] for i in _chosen(len(files), limit, seed)]
    height, width, channels = shape
    mode = {1: "grayscale", 3: "rgb", 4: "rgba"}.get(channels, "rgb")
    images = np.stack(
        [
            keras.utils.img_to_array(
                keras.utils.load_img(
                    file,
                    color_mode=mode,
                    target_size=(height, width),
                    interpolation="bilinear",
                    keep_aspect_ratio=True,
                ),
                data_format="channels_last",
            )
            for file in files
        ]
    )
    if any(file.parent == path for file in files):
        return images, None, None
    names = sorted(f.name for f in path.iterdir() if f.is_dir())
    labels = [names.index(file.relative_to(path).parts[0]) for file in files]
    return images, np.array(labels), names
