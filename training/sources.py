"""Where images come from: TFDS, a folder, arrays, or scikit-learn's digits."""

import collections
import concurrent.futures
import dataclasses
import itertools
import pathlib
import sys
import zipfile
import zlib

import numpy as np

from .data import array_split
from .data import hold_out
from .data import noisy_labels
from .data import Source
from .data import Split
from .errors import RunError
from .streams import check_stream
from .streams import MEMORY_LIMIT
from .streams import Stream

IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp"}
IMAGE_SUFFIXES |= {".tif", ".tiff"}
# Names of folders, in any case.
_PARTS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val"),
    "test": ("test", "testing"),
}
# What NumPy raises for files that are damaged or not its own.
_UNREADABLE = (OSError, ValueError, KeyError, EOFError)
_UNREADABLE += (zipfile.BadZipFile, zlib.error)


def load_source(config, seed):
    """Reads what a `DataConfig` names.

    Args:
        config: `DataConfig`.
        seed: Integer. Of the held-out images and of label noise.

    Returns:
        A `Source`. Labels of the training images are those of the label file
        and with the noise that the config asks for; test labels never are.
    """
    source = _LOADERS[config.source](config)
    train = source.train
    if config.label_file is not None:
        train = dataclasses.replace(
            train, labels=read_labels(config.label_file, source)
        )
    if isinstance(train, Stream):
        if config.validation_fraction and source.validation is None:
            raise RunError(
                f"{config.location} is read from the disk in each epoch, and "
                "no images can be held out of it: "
                f"`data.validation_fraction` must be 0. Received: "
                f"{config.validation_fraction}"
            )
        return source
    test = source.test
    if test is None:
        # The same images of both: what is tested keeps its own labels.
        train, _ = hold_out(train, config.test_fraction, seed)
        _, test = hold_out(source.train, config.test_fraction, seed)
    if config.label_noise:
        train = dataclasses.replace(
            train,
            labels=noisy_labels(
                train.labels, config.label_noise, len(source.class_names), seed
            ).astype("int32"),
        )
    validation = source.validation
    if validation is None:
        # Another seed, or the test images would be drawn the same way.
        train, validation = hold_out(
            train, config.validation_fraction, seed + 1
        )
    splits = (train, validation, test)
    if config.max_images is not None:
        splits = (_first(s, config.max_images, seed) for s in splits)
    return Source(source.class_names, *splits, source.channels)


def _first(split, count, seed):
    if split is None or len(split) <= count:
        return split
    order = np.random.default_rng(seed).permutation(len(split))
    return split.subset(np.sort(order[:count]))


def read_labels(path, source):
    """Labels in a `.npy` file, or under the key of `FILE.npz:KEY`."""
    name, _, key = path.partition(".npz:")
    try:
        labels = np.load(f"{name}.npz" if key else path)
        if key:
            labels = labels[key]
        if not isinstance(labels, np.ndarray):
            raise ValueError(f"it holds the arrays {', '.join(labels)}")
    except _UNREADABLE as error:
        raise RunError(
            f"`data.label_file` cannot be read: {path}: {error}. Wanted: "
            "FILE.npy or FILE.npz:KEY."
        ) from error
    if labels.shape != source.train.labels.shape:
        raise RunError(
            f"`data.label_file` must hold one label for each of the "
            f"{len(source.train)} training images. Received: {path} with "
            f"labels of shape {labels.shape}"
        )
    _check_numbers(labels, "`data.label_file`")
    classes = len(source.class_names)
    if labels.min() < 0 or labels.max() >= classes:
        raise RunError(
            f"`data.label_file` must hold labels from 0 to {classes - 1}. "
            f"Received: {path} with labels from {labels.min()} to "
            f"{labels.max()}"
        )
    return labels.astype("int32")


def _digits(config):
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
    images = _resized(np.repeat(images, 3, axis=-1), config)
    names = [str(name) for name in digits.target_names]
    return Source(
        names,
        array_split(images[:-360], digits.target[:-360]),
        None,
        array_split(images[-360:], digits.target[-360:]),
    )


def _check_numbers(labels, name):
    whole = np.full(labels.shape, labels.dtype.kind in "biu")
    if labels.dtype.kind == "f":
        whole = np.isfinite(labels) & (labels == np.floor(labels))
    if not whole.all():
        raise RunError(
            f"{name} must hold the numbers of classes: 0, 1, 2, ... "
            f"Received: {labels.dtype}, such as {labels[~whole][0]}"
        )


def _npz(config):
    path = pathlib.Path(config.location).expanduser()
    wanted = "Wanted: x_train and y_train, and x_test and y_test if there are."
    try:
        file = np.load(path)
        if isinstance(file, np.ndarray):
            raise ValueError("it is one array without a name")
        arrays = {key: file[key] for key in file}
    except _UNREADABLE as error:
        raise RunError(f"{path} cannot be read: {error}. {wanted}") from error
    parts = ["train"]
    parts += [p for p in ("validation", "test") if f"x_{p}" in arrays]
    missing = {f"{x}_{part}" for part in parts for x in "xy"} - set(arrays)
    if missing:
        raise RunError(
            f"{path} lacks {', '.join(sorted(missing))} and holds the arrays "
            f"{', '.join(arrays) or 'none'}. {wanted}"
        )
    names = arrays.get("class_names")
    splits = {"train": None, "validation": None, "test": None}
    for part in parts:
        labels = arrays[f"y_{part}"].reshape(-1)
        images = _checked_images(arrays[f"x_{part}"], labels, part)
        if names is None:
            names = np.arange(int(labels.max()) + 1)
        if labels.min() < 0 or labels.max() >= len(names):
            raise RunError(
                f"y_{part} must hold labels from 0 to {len(names) - 1}. "
                f"Received: labels from {labels.min()} to {labels.max()}"
            )
        splits[part] = array_split(_resized(images, config), labels)
    channels = [splits[p].read(np.arange(1))[0].shape[-1] for p in parts]
    if len(set(channels)) > 1:
        raise RunError(
            f"The images of {path} must have the same number of channels. "
            f"Received: {dict(zip(parts, channels))}"
        )
    return Source([str(x) for x in names], **splits, channels=channels[0])


def _checked_images(images, labels, part):
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim != 4 or images.dtype != np.uint8:
        raise RunError(
            f"x_{part} must be uint8 of shape (images, height, width, "
            f"channels). Received: {images.dtype} of shape {images.shape}"
        )
    if len(images) != len(labels) or not len(images):
        raise RunError(
            f"y_{part} must hold one label for each image of x_{part}, one at "
            f"least. Received: {len(labels)} labels for {len(images)} images"
        )
    _check_numbers(labels, f"y_{part}")
    return images


def _resized(images, config):
    size = config.image_size
    if images.shape[1:3] == (size, size):
        return images
    return np.stack([_fit_array(image, size) for image in images])


def _fit_array(image, size):
    """`_fit_image` of an array with any number of channels."""
    from PIL import Image

    if image.shape[-1] == 3:
        return _fit_image(Image.fromarray(image), size)
    # One by one: of two or four Pillow takes the last for opacity, and clears
    # the others where it is 0.
    channels = np.moveaxis(image, -1, 0)
    return np.concatenate(
        [_fit_image(Image.fromarray(x), size) for x in channels], axis=-1
    )


def _fit_image(image, size):
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


def _tfds(config):
    import os

    # Quiet, and without asking the network for what is on the disk.
    os.environ.setdefault("TFDS_GCS_DISABLED", "1")
    try:
        import tensorflow_datasets as tfds
    except ModuleNotFoundError as error:
        raise RunError(
            "Reading TensorFlow Datasets needs `pip install "
            f"keras_ratn[train]`: {error}"
        ) from error
    name = config.location
    try:
        builder = tfds.builder(name, data_dir=config.tfds_directory)
        if not builder.info.splits:
            builder.download_and_prepare()
    except Exception as error:  # each data set fails in its own way
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise RunError(
            f"TFDS has no prepared {name!r} in "
            f"{config.tfds_directory or 'its default folder'} and cannot "
            f"download it: {reason[0]}\nPrepare it where there is a network, "
            f'by `python -c "import tensorflow_datasets as tfds; '
            f"tfds.load('{name}')\"`, and copy the folder, or point "
            "--data.tfds-directory at it."
        ) from error
    missing = {"image", "label"} - set(builder.info.features)
    if missing:
        raise RunError(
            f"TFDS's {name!r} must have the features image and label. "
            f"Received: {', '.join(builder.info.features)}"
        )
    names = builder.info.features["label"].names
    if "train" not in builder.info.splits:
        raise RunError(
            f"TFDS's {name!r} must have a split `train`. Received: "
            f"{', '.join(builder.info.splits)}"
        )
    splits = {"train": "train", "validation": "validation", "test": "test"}
    if config.test_split != "test":
        splits |= {"test": config.test_split, "validation": None}
    for role, part in splits.items():
        splits[role] = None
        if part in builder.info.splits:
            splits[role] = _tfds_split(tfds, builder, part, config)
    channels = builder.info.features["image"].shape[-1]
    return Source(list(names), **splits, channels=channels)


def _tfds_split(tfds, builder, part, config):
    """A split in memory if it fits, in its original order where it says so."""
    if builder.info.splits[part].num_bytes > MEMORY_LIMIT:
        check_stream(config)
        return Stream(builder.info, part, config.image_size)
    dataset = builder.as_dataset(split=part, shuffle_files=False)
    images, labels, names = [], [], []
    size = config.image_size
    for example in tfds.as_numpy(dataset):
        image = example["image"]
        if image.shape[:2] != (size, size):
            image = _fit_array(image, size)
        images.append(image)
        labels.append(example["label"])
        names.append(example.get("id", b""))
    # TFDS shuffles what it stores; names such as `train_00012` give the order
    # back, which label files rely on.
    order = np.argsort(names, kind="stable")
    return array_split(np.stack(images)[order], np.asarray(labels)[order])


def _folder(config):
    root = pathlib.Path(config.location).expanduser()
    if not root.is_dir():
        raise RunError(
            f"`data.location` is no folder: {root}. Wanted: a folder with one "
            "sub-folder of images for each class, or with train/ (and "
            "validation/, test/) of that kind."
        )
    parts = part_folders(root) or {"train": root}
    names = _class_names(parts["train"])
    reader, unread = _Reader(config), collections.Counter()
    splits = {"train": None, "validation": None, "test": None}
    for part, folder in parts.items():
        splits[part] = _folder_split(part, folder, names, reader, unread)
    if unread:
        endings = ", ".join(f"{k} ({n})" for k, n in sorted(unread.items()))
        print(
            f"not read: {unread.total()} files below {root} that end in "
            f"{endings}",
            file=sys.stderr,
        )
    return Source(names, **splits)


def part_folders(root):
    """The folders of training, validation and test images, by part.

    Empty where there are no training images of that kind: all folders are
    classes then.
    """
    parts, classes = {}, []
    for folder in sub_folders(root):
        name = folder.name.lower()
        part = next((p for p, names in _PARTS.items() if name in names), None)
        if part in parts:
            raise RunError(
                f"{root} must have one folder of {part} images. Received: "
                f"{parts[part].name} and {folder.name}. Rename one."
            )
        if part is None:
            classes.append(folder)
        else:
            parts[part] = folder
    # A train is a vehicle, too.
    if "train" in parts and (sub_folders(parts["train"]) or not classes):
        return parts
    return {}


def image_files(root, unread=None):
    """All images below a folder, sorted; hidden files do not count.

    Args:
        root: `pathlib.Path`.
        unread: Optional `Counter` of the endings of other files, to add to.
    """
    images = []
    for path in root.rglob("*"):
        # Such as macOS's ._1.jpg and .ipynb_checkpoints/.
        if any(p.startswith(".") for p in path.relative_to(root).parts):
            continue
        if path.suffix.lower() in IMAGE_SUFFIXES:
            images.append(path)
        elif unread is not None and path.is_file():
            unread[path.suffix.lower() or "nothing"] += 1
    return sorted(images)


def sub_folders(root):
    """Those in a folder, sorted; hidden ones do not count."""
    return sorted(
        path
        for path in root.iterdir()
        if path.is_dir() and not path.name.startswith(".")
    )


def _class_names(root):
    names = [folder.name for folder in sub_folders(root)]
    if len(names) < 2:
        raise RunError(
            f"{root} must hold a folder for each class, two at least. "
            f"Received: {', '.join(names) or 'none'}"
        )
    return names


def _folder_split(part, root, names, reader, unread):
    unknown = {folder.name for folder in sub_folders(root)} - set(names)
    if unknown:
        raise RunError(
            f"{root} must have the classes of the training images, "
            f"{', '.join(names)}. Received: {', '.join(sorted(unknown))}"
        )
    files = [image_files(root / name, unread) for name in names]
    wanted = f"Wanted: files ending in {', '.join(sorted(IMAGE_SUFFIXES))}"
    for name, found in zip(names, files):
        if part == "train" and not found:
            raise RunError(
                f"There are no images in {root / name}. {wanted}; or remove "
                "the class."
            )
    if not any(files):
        raise RunError(
            f"There are no images in {root}. {wanted}; or remove the folder."
        )
    paths = list(itertools.chain(*files))
    labels = np.repeat(np.arange(len(names)), [len(found) for found in files])
    return Split(
        labels.astype("int32"),
        lambda numbers: reader.read([paths[number] for number in numbers]),
        # Objects: an array of strings has all of them as long as the longest.
        names=np.array([p.relative_to(root).as_posix() for p in paths], object),
    )


class _Reader:
    """Decodes image files in threads; names and counts those it cannot."""

    def __init__(self, config):
        self.size = config.image_size
        self.limit = config.max_corrupt_images
        self.corrupt = set()
        self.executor = concurrent.futures.ThreadPoolExecutor(config.workers)

    def read(self, paths):
        images = list(self.executor.map(self._decode, paths))
        readable = np.array([isinstance(x, np.ndarray) for x in images])
        blank = np.zeros((self.size, self.size, 3), np.uint8)
        for number in np.flatnonzero(~readable):
            self._count(paths[number], images[number])
            images[number] = blank
        return np.stack(images), readable

    def _decode(self, path):
        """The image, or a string: why there is none."""
        from PIL import Image

        try:
            with Image.open(path) as image:
                # Lets JPEG decode at a fraction of the size where it can.
                image.draft("RGB", (self.size, self.size))
                image = eight_bits(upright(image)).convert("RGB")
                return _fit_image(image, self.size)
        except Exception as error:  # Pillow's decoders raise almost anything
            return str(error) or type(error).__name__

    def _count(self, path, reason):
        if path in self.corrupt:
            return
        self.corrupt.add(path)
        print(
            f"skipped: {path} cannot be read: {reason} "
            f"({len(self.corrupt)} of at most {self.limit})",
            file=sys.stderr,
        )
        if len(self.corrupt) > self.limit:
            raise RunError(
                f"{len(self.corrupt)} images cannot be read, the last one "
                f"{path}. Remove them, or allow more by "
                "--data.max-corrupt-images."
            )


_LOADERS = {
    "digits": _digits,
    "npz": _npz,
    "tfds": _tfds,
    "folder": _folder,
}
