"""What export takes from the training package: its runs and their images.

Neither package imports the other as a whole; export can do without training,
and its parts are fetched here when they are wanted.
"""

import contextlib
import dataclasses
import importlib
import pathlib

import numpy as np

CONFIG = "config.json"


def training(module):
    """A module of the training package, installed or in the checkout."""
    package = __package__.removesuffix("export") + "training"
    try:
        return importlib.import_module(f"{package}.{module}")
    except ModuleNotFoundError as error:
        raise ValueError(
            "Training data and schedules need `pip install "
            f"keras_ratn[train]`: {error}"
        ) from error


def experiment_of(path):
    """The experiment that a model file came from, `None` if unknown.

    Args:
        path: Path of a file in a run folder of `ratn train`.
    """
    folder = _run_folder(path)
    if folder is None:
        return None
    with _told_apart():
        return training("run_folder").read_experiment(
            folder, "Move the model elsewhere, or remove the file."
        )


def _run_folder(path):
    """The folder of the run that a model file stands in, if it is one."""
    path = pathlib.Path(path).absolute()
    # Weights by name are no file, wherever the command is called.
    is_in_run = path.is_file() and (path.parent / CONFIG).exists()
    return path.parent if is_in_run else None


def run_of(path):
    """Which run a model file came from, for the records of exported files.

    Args:
        path: Path of the model file, or `None`.

    Returns:
        Dict with the run's `folder` and the git `commit` that it was made
        with, where `ratn train` noted it; `None` outside of run folders.
    """
    folder = None if path is None else _run_folder(path)
    if folder is None:
        return None
    commit = None
    if (folder / "results.json").exists():
        with _told_apart():
            results = training("run_folder").read_results(folder)
        commit = results.get("environment", {}).get("commit")
    return {"folder": str(folder), "commit": commit}


def open_source(data, seed):
    """The images that a `DataConfig` names."""
    with _told_apart():
        return training("data.sources").load_source(data, seed)


@contextlib.contextmanager
def _told_apart():
    """Errors of the training package as those that export raises."""
    try:
        yield
    except training("errors").RunError as error:
        raise ValueError(str(error)) from error


def drawn(split, limit=None, seed=0):
    """Some images of a split and their classes, readable ones only.

    Args:
        split: `Split` or `Stream` of a training source.
        limit: Optional integer. How many to draw at most.
        seed: Integer, for the draw. Defaults to `0`.

    Returns:
        Pair of a float32 array of pixels and an integer array.
    """
    limit = len(split) if limit is None else min(limit, len(split))
    with _told_apart():
        if hasattr(split, "read"):
            order = np.random.default_rng(seed).permutation(len(split))
            numbers = order[:limit]
            images, readable = split.read(numbers)
            images, labels = images[readable], split.labels[numbers][readable]
        else:  # read from the disk, batch by batch
            inputs, labels = next(iter(split.training_batches(limit, seed, 1)))
            images, labels = np.asarray(inputs["images"]), np.asarray(labels)
    return images.astype("float32"), labels.astype("int64")


def stated_images(source, location, shape, limit, part):
    """Images of a source that `ratn train` reads too.

    Args:
        source: String, such as `"tfds"`.
        location: String, its name there.
        shape: Triple of integers, `(height, width, channels)`.
        limit: Optional integer. How many to draw at most.
        part: String, `"train"` or `"test"`.

    Returns:
        As `images.load_images`.
    """
    data = training("config").DataConfig(
        source, str(location), image_size=_side(shape)
    )
    return _part(open_source(data, 0), limit, part)


def images_of_run(path, shape, limit=None, part="train"):
    """The images of the run that a model file came from.

    Args:
        path: Path of the model file.
        shape: Triple of integers, `(height, width, channels)`.
        limit: Optional integer. How many to draw at most.
        part: String, `"train"` or `"test"`. Defaults to `"train"`.

    Returns:
        As `images.load_images`; `None` if the file is in no run folder.
    """
    experiment = experiment_of(path)
    if experiment is None:
        return None
    data = dataclasses.replace(experiment.data, image_size=_side(shape))
    try:
        return _part(open_source(data, experiment.seed_of_images), limit, part)
    except ValueError as error:
        raise ValueError(
            f"The training images of {path} cannot be read; pass others by "
            f"--data. {error}"
        ) from error


def test_split(source):
    """The test images of a source, or for want of them some others."""
    return source.test or source.validation or source.train


def _part(source, limit, part):
    split = test_split(source) if part == "test" else source.train
    return (*drawn(split, limit), list(source.class_names))


def _side(shape):
    height, width, _ = shape
    if height != width:
        raise ValueError(
            "Training images are square. Received: a model for images of "
            f"{height}x{width}. Pass others of that size by --data."
        )
    return height
