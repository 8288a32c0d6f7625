"""Batches of images, in an order that is a function of seed and epoch.

Everything here is NumPy and threads, so it is the same on every backend; on
TensorFlow the training batches go through `tf.data`.
"""

import concurrent.futures
import math

import keras
import numpy as np

from ..errors import RunError
from .split import MIRROR
from .split import ORDER
from .split import random
from .split import Split


def num_steps(split, batch_size):
    """Full batches in an epoch; what is left over waits for another one."""
    if len(split) < batch_size:
        raise RunError(
            f"`batch_size` is {batch_size}, but there are only {len(split)} "
            "training images. Choose a smaller --batch-size."
        )
    return len(split) // batch_size


def epoch_order(num_images, seed, epoch):
    """The order of the images in an epoch, whatever ran before it."""
    return random(seed, ORDER, epoch).permutation(num_images)


def mirrored(num_images, seed, epoch):
    """Whether each image is mirrored in an epoch: in every second one.

    Half of them begin as they are. In two epochs the network sees both sides
    of all, where chance shows it the same side of every second image twice.
    """
    first = random(seed, MIRROR).random(num_images) < 0.5
    return first ^ (epoch % 2 == 1)


def check_alternating(split):
    """Refuses images without numbers, whose turn is not known."""
    if not isinstance(split, Split):
        raise RunError(
            "`augmentation.alternate_flip` needs images that can be read by "
            "number, and these are read from the disk in the order of their "
            "files. Leave it out to mirror half of them at random."
        )


def replace_unreadable(images, labels, readable):
    """Puts a readable image of the batch in the place of each other one."""
    good = np.flatnonzero(readable)
    if len(good) == 0:
        raise RunError("All images of a batch are unreadable.")
    bad = np.flatnonzero(~readable)
    substitutes = good[np.arange(len(bad)) % len(good)]
    images[bad], labels[bad] = images[substitutes], labels[substitutes]


def count_readable(split, batch_size):
    """Reads all images of a split, as many at a time, to count them."""
    count = 0
    for first in range(0, len(split), batch_size):
        numbers = np.arange(first, min(first + batch_size, len(split)))
        count += int(split.read(numbers)[1].sum())
    if count == 0:
        raise RunError(f"None of the {len(split)} images can be read.")
    return count


def _next_readable(split, number):
    """Image and label of the next number whose image can be read."""
    for other in range(number + 1, number + len(split)):
        other = np.array([other % len(split)])
        images, readable = split.read(other)
        if readable[0]:
            return images[0], split.labels[other[0]]
    raise RunError(f"None of the {len(split)} images can be read.")


def training_arrays(
    split, batch_size, seed, epochs, first_epoch=0, shard=None, alternate=False
):
    """Generates batches of all epochs from `first_epoch` on, and reads ahead.

    Args:
        split: `Split`.
        batch_size: Integer, over all processes.
        seed: Integer.
        epochs: Integer. Where to stop.
        first_epoch: Integer. Where to begin. Defaults to `0`.
        shard: Optional pair (number of this process, number of processes):
            yield this process's part of each batch only.
        alternate: Boolean. Whether to mirror the images by `mirrored`.
            Defaults to `False`.

    Yields:
        Pairs `({"images": ..., "labels": ...}, labels)`.
    """
    first, last = _shard_bounds(batch_size, shard)

    def numbers():
        for epoch in range(first_epoch, epochs):
            order = epoch_order(len(split), seed, epoch)
            turned = mirrored(len(split), seed, epoch) & alternate
            for step in range(num_steps(split, batch_size)):
                batch = order[step * batch_size : (step + 1) * batch_size]
                batch = batch[first:last]
                yield batch, turned[batch]

    def batch(chosen):
        chosen, turned = chosen
        images, readable = split.read(chosen)
        labels = split.labels[chosen]
        images[turned] = images[turned, :, ::-1]
        if not readable.any():
            images[0], labels[0] = _next_readable(split, chosen[0])
            readable[0] = True
        if not readable.all():
            replace_unreadable(images, labels, readable)
        return {"images": images, "labels": labels}, labels

    with split.keeping_errors():
        yield from _read_ahead(batch, numbers())


def _shard_bounds(batch_size, shard):
    if shard is None:
        return 0, batch_size
    process, processes = shard
    size = batch_size // processes
    return process * size, (process + 1) * size


def _read_ahead(function, arguments, depth=2):
    """`map` with a thread that is `depth` results ahead."""
    with concurrent.futures.ThreadPoolExecutor(1) as executor:
        waiting = []
        for argument in arguments:
            waiting.append(executor.submit(function, argument))
            if len(waiting) > depth:
                yield waiting.pop(0).result()
        for future in waiting:
            yield future.result()


def training_batches(
    split, batch_size, seed, epochs, first_epoch=0, shard=None, alternate=False
):
    """What `fit` takes: `tf.data` on TensorFlow, else a generator."""
    num_steps(split, batch_size)
    if alternate:
        check_alternating(split)
    if not isinstance(split, Split):  # a `Stream`
        return split.training_batches(
            batch_size, seed, epochs, first_epoch, shard
        )
    arguments = (split, batch_size, seed, epochs, first_epoch, shard, alternate)
    if keras.backend.backend() != "tensorflow":
        return training_arrays(*arguments)
    import tensorflow as tf

    images, _ = split.read(np.arange(1))
    image_spec = tf.TensorSpec((batch_size, *images.shape[1:]), tf.uint8)
    label_spec = tf.TensorSpec((batch_size,), tf.int32)
    return tf.data.Dataset.from_generator(
        lambda: training_arrays(*arguments),
        output_signature=(
            {"images": image_spec, "labels": label_spec},
            label_spec,
        ),
    ).prefetch(tf.data.AUTOTUNE)


class EvaluationBatches(keras.utils.PyDataset):
    """All images of a split in order, in batches of one size.

    The last batch is filled up with copies of weight 0, and unreadable images
    have weight 0 too: one compiled graph serves all batches. The others weigh
    a little more than 1, so that the mean over all places, whatever devices
    share them, is the mean over the images. For that all are read once before,
    to know how many can be.

    Args:
        split: `Split`.
        batch_size: Integer, over all processes.
        shard: As for `training_arrays`.
    """

    def __init__(self, split, batch_size, shard=None):
        super().__init__()
        self.split = split
        self.batch_size = batch_size
        self.bounds = _shard_bounds(batch_size, shard)
        with split.keeping_errors():
            readable = count_readable(split, batch_size)
        self.weight = np.float32(len(self) * batch_size / readable)

    def __len__(self):
        return math.ceil(len(self.split) / self.batch_size)

    def __getitem__(self, index):
        first = index * self.batch_size
        positions = np.arange(first, first + self.batch_size)
        positions = positions[slice(*self.bounds)]
        weights = positions < len(self.split)
        numbers = np.minimum(positions, len(self.split) - 1)
        with self.split.keeping_errors():
            images, readable = self.split.read(numbers)
        labels = self.split.labels[numbers]
        weights = (weights & readable) * self.weight
        return {"images": images, "labels": labels}, labels, weights


def evaluation_batches(split, batch_size, shard=None):
    """What `evaluate` takes: see `EvaluationBatches`."""
    if not isinstance(split, Split):
        return split.evaluation_batches(batch_size, shard)
    return EvaluationBatches(split, batch_size, shard)
