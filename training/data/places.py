"""Folders of images: their parts, their classes and their files."""

import os
import sys

from ..errors import RunError

IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp"}
IMAGE_SUFFIXES |= {".tif", ".tiff"}
# Names of folders, in any case.
_PARTS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val"),
    "test": ("test", "testing"),
}

# Of these names, those that a class may have: a vehicle, a verdict.
_MAY_BE_CLASSES = {"train", "valid"}


def part_folders(root):
    """The folders of training, validation and test images, by part.

    Empty where there are no training images of that kind: all folders are
    classes then.
    """
    parts, others = {}, []
    for folder in sub_folders(root):
        name = folder.name.lower()
        part = next((p for p, names in _PARTS.items() if name in names), None)
        if part in parts:
            raise RunError(
                f"{root} must have one folder of {part} images. Received: "
                f"{parts[part].name} and {folder.name}. Rename one."
            )
        if part is None:
            others.append(folder)
        else:
            parts[part] = folder
    # A train is a vehicle, too.
    if "train" in parts and (sub_folders(parts["train"]) or not others):
        _refuse_others(root, parts, others)
        return parts
    _refuse_parts_alone(root, parts)
    return {}


def _refuse_others(root, parts, others):
    """What holds images beside the parts would be dropped without a word."""
    others = [folder.name for folder in others if image_files(folder)]
    if others:
        raise RunError(
            f"{root} has {_listed(parts)} and, beside them, images in "
            f"{', '.join(others)}. Call these validation or test, or move "
            "them away."
        )


def _refuse_parts_alone(root, parts):
    """Parts without training images would become classes."""
    alone = {
        part: folder
        for part, folder in parts.items()
        if folder.name.lower() not in _MAY_BE_CLASSES or sub_folders(folder)
    }
    if alone:
        raise RunError(
            f"{root} has {_listed(alone)}, but no train with a folder of "
            "images for each class. Call the training images train; or, if "
            "it is a class, give it another name."
        )


def _listed(parts):
    return ", ".join(folder.name for folder in parts.values())


def image_files(root, unread=None):
    """All images below a folder, sorted; hidden files do not count.

    Linked folders are read, too, but for links to a folder around them.

    Args:
        root: `pathlib.Path`.
        unread: Optional `Counter` of the endings of other files, to add to.
    """
    images = []
    if not root.is_dir():  # a class without test images
        return images
    for path in _files(root, tuple(root.resolve().parents)):
        if path.suffix.lower() in IMAGE_SUFFIXES:
            images.append(path)
        elif unread is not None and path.is_file():
            unread[path.suffix.lower() or "nothing"] += 1
    return sorted(images)


def _files(folder, around):
    """Files below a folder that stands in the folders `around`."""
    around = (*around, folder.resolve())
    with os.scandir(folder) as entries:
        for entry in entries:
            path = folder / entry.name
            # Such as macOS's ._1.jpg and .ipynb_checkpoints/.
            if entry.name.startswith("."):
                continue
            if not entry.is_dir():
                yield path
            elif path.resolve() not in around:
                yield from _files(path, around)


def report_unread(root, unread):
    """Says which files `image_files` passed over, if any."""
    if unread:
        endings = ", ".join(f"{k} ({n})" for k, n in sorted(unread.items()))
        print(
            f"not read: {unread.total()} files below {root} that end in "
            f"{endings}",
            file=sys.stderr,
        )


def sub_folders(root):
    """Those in a folder, sorted; hidden ones do not count."""
    return sorted(
        path
        for path in root.iterdir()
        if path.is_dir() and not path.name.startswith(".")
    )
