"""Folders and files of images, for the tests of what reads them."""

import numpy as np
from PIL import Image

from training.config import DataConfig


def write_folder(root, parts=("",), classes=("cat", "dog"), count=4):
    for part in parts:
        for label, name in enumerate(classes):
            folder = root / part / name
            folder.mkdir(parents=True)
            for index in range(count):
                # Landscape, of one colour: red is the class, green the number.
                color = (100 * label, 10 * index, 0)
                Image.new("RGB", (64, 40), color).save(folder / f"{index}.png")
    return DataConfig(source="folder", location=str(root))


def write_npz(path, **arrays):
    rng = np.random.default_rng(0)
    defaults = {
        "x_train": rng.integers(0, 256, (20, 32, 32, 3), np.uint8),
        "y_train": np.arange(20)[:, None] % 4,
        "x_test": rng.integers(0, 256, (6, 32, 32, 3), np.uint8),
        "y_test": np.arange(6)[:, None] % 4,
    }
    arrays = {k: v for k, v in {**defaults, **arrays}.items() if v is not None}
    np.savez(path, **arrays)
    return DataConfig(source="npz", location=str(path)), arrays
