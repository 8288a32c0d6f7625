"""Labelled images that are read by number, and what an experiment is made of.

A `Split` is a list of labelled images; a `Source` is the three of them that
an experiment works with.
"""

import contextlib
import dataclasses
import hashlib
from collections.abc import Callable

import numpy as np

from ..errors import RunError
from . import fingerprint

# Streams of random numbers that must not coincide.
ORDER, HOLD_OUT, LABEL_NOISE, MIRROR = range(4)


def random(seed, *stream):
    """A NumPy generator of its own for each stream."""
    return np.random.default_rng([seed, *stream])


@dataclasses.dataclass(frozen=True)
class Split:
    """Labelled images that are read by number.

    Args:
        labels: Integer array, `(images,)`.
        read: Function from an array of numbers to the pair `(images,
            readable)`: uint8 `(n, size, size, channels)`, boolean `(n,)`.
        errors: List. The `RunError`s of its batches, see `own_errors`.
        names: Optional array of strings, what the images are called.
        contents: Optional function from an array of numbers to a checksum of
            these images, see `fingerprint`.
    """

    labels: np.ndarray
    read: Callable
    errors: list = dataclasses.field(default_factory=list, compare=False)
    names: np.ndarray | None = None
    contents: Callable | None = None

    def __len__(self):
        return len(self.labels)

    def subset(self, numbers):
        """The split of these images only."""
        numbers = np.asarray(numbers)
        contents = self.contents
        return Split(
            self.labels[numbers],
            lambda chosen: self.read(numbers[chosen]),
            names=None if self.names is None else self.names[numbers],
            contents=contents and (lambda chosen: contents(numbers[chosen])),
        )

    def fingerprint(self):
        """What tells it from other splits, as JSON takes it."""
        digest = hashlib.sha256(np.asarray(self.labels, "<i4").tobytes())
        if self.names is not None:
            names = "\n".join(self.names)
            digest.update(names.encode("utf-8", "surrogateescape"))
        found = {"images": len(self), "sha256": digest.hexdigest()}
        if self.contents is not None:
            found["pixels"] = self.contents(np.arange(len(self)))
        return found

    def explain(self, error):
        """The `RunError` that TensorFlow's error stands for, or `None`."""
        return self.errors[0] if self.errors else None

    @contextlib.contextmanager
    def keeping_errors(self):
        """Notes each `RunError` on its way."""
        try:
            yield
        except RunError as error:
            self.errors.append(error)
            raise


@contextlib.contextmanager
def own_errors(split):
    """Raises the `RunError` of a split's batches as what it was.

    TensorFlow reads them in threads of its own and makes errors of its own of
    what comes from there, with a traceback for a message.
    """
    try:
        yield
    except Exception as error:
        own = split.explain(error) if split is not None else None
        if own is None:
            raise
        raise own from None


def array_split(images, labels):
    """A split over images in memory."""

    def read(numbers):
        return images[numbers], np.ones(len(numbers), bool)

    return Split(
        np.asarray(labels, "int32"),
        read,
        contents=lambda numbers: fingerprint.of_arrays(images, numbers),
    )


@dataclasses.dataclass(frozen=True)
class Source:
    """The images of an experiment.

    Args:
        class_names: List of strings.
        train, validation, test: `Split`; the last two may be `None`.
        channels: Integer.
    """

    class_names: list
    train: Split
    validation: Split | None
    test: Split | None
    channels: int = 3

    def fingerprint(self):
        """What tells these images from others, as JSON takes it."""
        found = {"classes": list(self.class_names)}
        for part in ("train", "validation", "test"):
            split = getattr(self, part)
            found[part] = None if split is None else split.fingerprint()
        return found


def hold_out(split, fraction, seed):
    """Takes the share `fraction` of a split away, the same for a seed.

    Returns:
        The pair (rest, held out); the second is `None` for a share of 0.
    """
    count = round(len(split) * fraction)
    if count == 0:
        return split, None
    order = random(seed, HOLD_OUT).permutation(len(split))
    # In order, so that what is left reads its files in order too.
    return split.subset(np.sort(order[count:])), split.subset(
        np.sort(order[:count])
    )


def first_of(split, count, seed):
    """So many images of a split, drawn by the seed, or all there are."""
    if split is None or len(split) <= count:
        return split
    order = np.random.default_rng(seed).permutation(len(split))
    return split.subset(np.sort(order[:count]))
