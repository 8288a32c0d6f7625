"""The classes of a data set as a model counts them."""

import dataclasses

import numpy as np

from .data import Split
from .errors import RunError


def in_order_of(source, names):
    """A source whose labels are the numbers that a model gives the classes.

    Args:
        source: `Source`.
        names: List of strings, the model's classes in the order of its
            scores; `None` if it does not name them.

    Returns:
        The source as it is where the model names no classes, the same ones,
        or as many others, which is said in a line. Where all classes of the
        data are among the model's, in whatever order, a source with the
        model's classes.
    """
    given = list(source.class_names)
    if names is None or list(names) == given:
        return source
    if len(set(names)) == len(names) and set(given) <= set(names):
        return _renumbered(source, list(names))
    if len(names) == len(given):
        print(
            f"The data's classes, {_some(given)}, are not called as the "
            f"model's, {_some(names)}: they are matched by their order."
        )
    return source


def _renumbered(source, names):
    places = np.array([names.index(n) for n in source.class_names], "int32")
    splits = {}
    for part in ("train", "validation", "test"):
        split = getattr(source, part)
        if isinstance(split, Split):
            split = dataclasses.replace(split, labels=places[split.labels])
        elif split is not None:  # a `data.Stream`
            raise RunError(
                "Data sets that are read from the disk in each epoch must "
                f"have the model's classes in its order, {_some(names)}. "
                f"Received: {_some(source.class_names)}"
            )
        splits[part] = split
    return dataclasses.replace(source, class_names=names, **splits)


def _some(names):
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
