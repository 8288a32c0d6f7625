"""A folder of images, with a sub-folder for each class."""

import collections
import concurrent.futures
import itertools
import pathlib
import sys

import numpy as np

from ...errors import RunError
from .. import fingerprint
from ..pixels import read_image
from ..places import image_files
from ..places import IMAGE_SUFFIXES
from ..places import part_folders
from ..places import report_unread
from ..places import sub_folders
from ..split import Source
from ..split import Split


def load(config):
    """The `Source` of a folder."""
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
    report_unread(root, unread)
    return Source(names, **splits)


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
        contents=lambda numbers: fingerprint.of_files(
            [paths[number] for number in numbers], reader.executor
        ),
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
        try:
            return read_image(path, (self.size, self.size, 3))
        except ValueError as error:
            return str(error)

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
