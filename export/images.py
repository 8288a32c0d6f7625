"""Images for calibration, tuning and checks, wherever they are named."""

import pathlib

import numpy as np

from keras_ratn.training.data import pixels
from keras_ratn.training.data import places
from keras_ratn.training.errors import RunError

from . import training_runs

# What `ratn train` reads, and which to take for want of another.
_PARTS = {
    "train": ("train", "validation", "test"),
    "test": ("test", "validation", "train"),
}


def source_of(place):
    """What `--data PLACE` names, as `ratn train` calls its sources.

    Args:
        place: String or path.

    Returns:
        String: `"folder"`, `"npz"`, `"digits"` or, of anything else, `"tfds"`.
    """
    if pathlib.Path(place).expanduser().is_dir():
        return "folder"
    if str(place).endswith(".npz"):
        return "npz"
    return "digits" if str(place) == "digits" else "tfds"


def load_images(place, shape, limit=None, seed=0, part="train"):
    """Loads images and, where known, their classes.

    Args:
        place: A folder of images, or with one sub-folder of images for each
            class, or with `train`, `validation` and `test` of that kind; an
            `.npz` file with an array `x_train`, `x_test`, `images` or `x`
            and optionally the classes `y_train`, `y_test`, `labels` or `y`;
            a TFDS name; or `"digits"`.
        shape: Triple of integers, `(height, width, channels)`. Images in files
            are brought to it as `ratn train` does; arrays must have it.
        limit: Optional integer. How many images to draw at most.
        seed: Integer, for the draw. Defaults to `0`.
        part: String, `"train"` or `"test"`: which images to prefer where the
            place holds both. Defaults to `"train"`.

    Returns:
        Tuple of a float32 array of images, an integer array of classes or
        `None`, and a list of the classes' names or `None`.
    """
    path, source = pathlib.Path(place).expanduser(), source_of(place)
    if source == "folder":
        return _from_folder(path, shape, limit, seed, part)
    if source == "npz" and path.is_file():
        return _from_arrays(path, shape, limit, seed, part)
    # "./photos" is meant to be a folder, "photos" may be a data set.
    if source == "npz" or not str(place)[:1].isalnum():
        raise ValueError(
            "Images come from a folder, an .npz file or TFDS. "
            f"Received: {str(place)!r}, which is none of them."
        )
    try:
        return training_runs.stated_images(source, place, shape, limit, part)
    except ValueError as error:
        raise ValueError(
            f"{str(place)!r} is no folder and no .npz file. {error}"
        ) from error


def _chosen(number, limit, seed):
    """Which of `number` images to take, in an order without classes."""
    order = np.random.default_rng(seed).permutation(number)
    return order[:limit]


def _from_arrays(path, shape, limit, seed, part):
    first, *others = _PARTS[part]
    wanted = {f"x_{first}": f"y_{first}", "images": "labels", "x": "y"}
    wanted |= {f"x_{other}": f"y_{other}" for other in others}
    try:
        with np.load(path) as file:
            keys = list(file)
            found = next((key for key in wanted if key in keys), None)
            images = None if found is None else file[found]
            labels = file[wanted[found]] if wanted.get(found) in keys else None
            names = file["class_names"] if "class_names" in keys else None
    except (OSError, ValueError) as error:
        raise ValueError(f"{str(path)!r} cannot be read: {error}") from error
    if images is not None and images.ndim == 3:
        images = images[..., None]
    if images is None or images.ndim != 4:
        raise ValueError(
            "An .npz file of images must hold an array `images`, `x_train` or "
            "`x_test` of shape (number, height, width, channels). "
            f"Received: {str(path)!r} with the arrays {keys}"
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
    return images, labels, None if names is None else [str(n) for n in names]


def _from_folder(path, shape, limit, seed, part):
    pixels.check_channels(shape[-1])
    try:
        parts = places.part_folders(path)
    except RunError as error:
        raise ValueError(str(error)) from error
    folder = next((parts[p] for p in _PARTS[part] if p in parts), path)
    files = places.image_files(folder)
    if not files:
        suffixes = ", ".join(sorted(places.IMAGE_SUFFIXES))
        raise ValueError(
            f"There must be images ({suffixes}) in the folder. "
            f"Received: {str(folder)!r}, which has none."
        )
    files = [files[i] for i in _chosen(len(files), limit, seed)]
    images = np.stack([_read(file, shape) for file in files])
    if any(file.parent == folder for file in files):
        return images, None, None
    # Test images may lack some of the classes.
    names = [f.name for f in places.sub_folders(parts.get("train", path))]
    unknown = {f.name for f in places.sub_folders(folder)} - set(names)
    if unknown:
        raise ValueError(
            f"{str(folder)!r} must have the classes of the training images, "
            f"{', '.join(names)}. Received: {', '.join(sorted(unknown))}"
        )
    labels = [names.index(file.relative_to(folder).parts[0]) for file in files]
    return images, np.array(labels), names


def _read(file, shape):
    """The pixels that `ratn train` sees, as floats."""
    try:
        return pixels.read_image(file, shape).astype("float32")
    except ValueError as error:
        raise ValueError(
            f"{str(file)!r} cannot be read as an image: {error}. Mend it or "
            "remove it."
        ) from error
