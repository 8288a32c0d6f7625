"""Folders of images: their parts, their classes and their files."""

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
