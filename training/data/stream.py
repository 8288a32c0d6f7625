"""TFDS data sets that do not fit into memory, such as ImageNet."""

import dataclasses
import math
import re

from ..errors import RunError
from . import fingerprint

# Splits of more bytes are read from the disk in each epoch.
MEMORY_LIMIT = 2 * 2**30
SHUFFLE_BUFFER = 8192
READERS = 16
_NO_LABEL = "an image has no label"


@dataclasses.dataclass(frozen=True)
class Stream:
    """A split of TFRecord files, read through `tf.data` on every backend.

    Its order, too, is a function of seed and epoch: the files are shuffled,
    read `READERS` at a time, and their images shuffled in a buffer.

    Args:
        info: The builder's `info`.
        part: String. Name of the split.
        image_size: Integer.
    """

    info: object
    part: str
    image_size: int

    def __len__(self):
        return self.info.splits[self.part].num_examples

    def fingerprint(self):
        """As `Split.fingerprint`."""
        split = self.info.splits[self.part]
        return {
            "images": len(self),
            "bytes": int(split.num_bytes),
            "pixels": fingerprint.of_files(split.filepaths),
        }

    def training_batches(
        self, batch_size, seed, epochs, first_epoch=0, shard=None
    ):
        """As `training_batches`."""
        import tensorflow as tf

        self._refuse(shard)
        images = len(self) // batch_size * batch_size

        def records(epoch):
            files = tf.random.experimental.stateless_shuffle(
                self._files(), seed=[seed, epoch]
            )
            # One shuffle an epoch, with a seed that is no other epoch's.
            return (
                self._records(files)
                .shuffle(
                    SHUFFLE_BUFFER,
                    seed=seed * 100_003 + epoch,
                    reshuffle_each_iteration=False,
                )
                .take(images)
            )

        def batch(image, label):
            return {"images": image, "labels": label}, label

        dataset = tf.data.Dataset.range(first_epoch, epochs).flat_map(records)
        dataset = dataset.map(self._decode, tf.data.AUTOTUNE)
        dataset = dataset.batch(batch_size, drop_remainder=True).map(batch)
        return dataset.prefetch(tf.data.AUTOTUNE)

    def evaluation_batches(self, batch_size, shard=None):
        """As `EvaluationBatches`: filled up by copies of weight 0."""
        import tensorflow as tf

        self._refuse(shard)
        batches = math.ceil(len(self) / batch_size)
        weight = batches * batch_size / len(self)
        weights = tf.data.Dataset.from_tensors(weight).repeat(len(self))
        dataset = self._records(self._files()).map(
            self._decode, tf.data.AUTOTUNE
        )
        dataset = tf.data.Dataset.zip(dataset, weights)
        padding = dataset.take(1).repeat(batches * batch_size - len(self))
        padding = padding.map(lambda example, weight: (example, 0.0))

        def batch(example, weight):
            image, label = example
            inputs = {"images": image, "labels": label}
            return inputs, label, tf.cast(weight, "float32")

        dataset = dataset.concatenate(padding)
        return dataset.batch(batch_size, drop_remainder=True).map(batch)

    def explain(self, error):
        """As `Split.explain`: a record that TensorFlow cannot read."""
        text = str(error)
        if _NO_LABEL in text:
            return unlabelled(self.info.name, self.part)
        if "IteratorGetNext" not in text:
            return None
        # What happened stands before the nodes, and after the traceback.
        lines = [
            x for x in text.splitlines() if x.strip()[:2] not in ("", "[[")
        ]
        reason = re.sub(r"\{\{.*?\}\} | \[Op:.*", "", lines[-1])
        return RunError(
            f"Split {self.part!r} of {self.info.name!r} has a record that "
            "cannot be read. Prepare the data set anew, after deleting its "
            f"folder. TensorFlow: {reason}"
        )

    def _files(self):
        files = [str(p) for p in self.info.splits[self.part].filepaths]
        if not all(".tfrecord" in file for file in files):
            raise RunError(
                f"The files of {self.info.name!r} must be TFRecords. Prepare "
                "the data set with TFDS's own default file format."
            )
        return files

    def _records(self, files):
        import tensorflow as tf

        return tf.data.Dataset.from_tensor_slices(files).interleave(
            tf.data.TFRecordDataset,
            cycle_length=READERS,
            block_length=16,
            num_parallel_calls=tf.data.AUTOTUNE,
            deterministic=True,
        )

    def _decode(self, record):
        """Shorter side to the size, then the centre, as of all sources."""
        import tensorflow as tf

        example = self.info.features.deserialize_example(record)
        image, size = example["image"], self.image_size
        label = tf.cast(example["label"], "int32")
        tf.debugging.Assert(label >= 0, [_NO_LABEL])
        if image.dtype == tf.uint16:
            image = image // 256
        shape = tf.cast(tf.shape(image)[:2], "float32")
        scaled = tf.round(shape * (size / tf.reduce_min(shape)))
        scaled = tf.maximum(tf.cast(scaled, "int32"), size)
        image = tf.image.resize(image, scaled, antialias=True)
        image = tf.image.resize_with_crop_or_pad(image, size, size)
        image = tf.clip_by_value(tf.round(image), 0, 255)
        return tf.cast(image, "uint8"), label

    def _refuse(self, shard):
        if shard is not None:
            raise RunError(
                "Data sets that are read from the disk in each epoch are not "
                "shared among several processes yet. Use several devices of "
                "one machine."
            )


def unlabelled(name, part):
    """The `RunError` for a split whose labels are kept secret."""
    return RunError(
        f"Split {part!r} of TFDS's {name!r} has images without a label (-1). "
        "Name another one to test on by --data.test-split, such as validation."
    )


def check_stream(config):
    """Refuses what needs all labels at hand."""
    for field in ("label_noise", "label_file", "max_images"):
        if getattr(config, field):
            raise RunError(
                f"`data.{field}` needs a data set that fits into memory, and "
                f"{config.location} is read from the disk in each epoch."
            )
