"""The classes of a data set as a model counts them."""

import dataclasses

import numpy as np

from .data import Split
from .errors import RunError


def in_order_of(source, names):
    """A source whose labels are the numbers that a model gives the classes.

    Classes are matched by their names. Images of classes that the model does
    not know are left out, which is said in a line. Only where no name is the
    same and the numbers of classes are, the order counts, which is said, too.

    Args:
        source: `Source`.
        names: List of strings, the model's classes in the order of its
            scores; `None` if it does not name them.

    Returns:
        `Source` with the model's classes; the same one where the model names
        none or where no name is the same.
    """
    given = list(source.class_names)
    if names is None or list(names) == given:
        return source
    numbers = _numbers(given, list(names))
    if numbers.max() >= 0:
        return _renumbered(source, list(names), numbers)
    if len(names) == len(given):
        print(
            f"The data's classes, {_some(given)}, are not called as the "
            f"model's, {_some(names)}: they are matched by their order."
        )
    return source


def _numbers(given, names):
    """The model's number of each class of the data; -1 of unknown ones."""
    for name in given:
        if names.count(name) > 1:
            raise RunError(
                f"{names.count(name)} classes of the model are called "
                f"{name!r}, and nobody can say which of them the data's is. "
                "Name the data's classes exactly as the model's, in its "
                "order, or otherwise than any of them."
            )
    known = {name: number for number, name in enumerate(names)}
    return np.array([known.get(name, -1) for name in given], "int32")


def _renumbered(source, names, numbers):
    splits, left_out = {}, []
    for part in ("train", "validation", "test"):
        split = getattr(source, part)
        if isinstance(split, Split):
            labels = numbers[split.labels]
            known = np.flatnonzero(labels >= 0)
            if len(known) < len(labels):
                left_out.append(f"{len(labels) - len(known):,} {part}")
                split = split.subset(known)
            split = dataclasses.replace(split, labels=labels[known])
        elif split is not None:  # a `data.Stream`
            raise RunError(
                "Data sets that are read from the disk in each epoch must "
                f"have the model's classes in its order, {_some(names)}. "
                f"Received: {_some(source.class_names)}"
            )
        splits[part] = split or None
    unknown = [n for n, i in zip(source.class_names, numbers) if i < 0]
    if unknown:
        print(
            f"The model does not know {', '.join(unknown)}: their images are "
            f"left out ({', '.join(left_out) or 'none'})."
        )
    return dataclasses.replace(source, class_names=names, **splits)


def _some(names):
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
