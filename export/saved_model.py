"""SavedModels that TensorFlow alone serves: pixels or encoded images in."""

import contextlib
import math
import pathlib

import keras

from keras_ratn.keras_settings import standard_settings

from . import metadata
from .deploy_graph import deploy_graph
from .opened_graph import deep_recursion
from .opened_graph import without_softmax
from .published import publishing
from .served_images import decoded


@standard_settings()
def to_saved_model(
    model,
    path,
    input_shape=None,
    with_mask=False,
    labels=None,
    source=None,
    logits=False,
):
    """Writes a model as a SavedModel, with `labels.txt` and `model.json`.

    It has two signatures, for batches of any size:

    * `serving_default`: `images` (float32, as the model takes them) to
      `scores` (and `mask`)
    * `serve_bytes`: `encoded_images` (strings, files of JPEG, PNG, GIF, BMP
      or WebP) to `scores` and `labels`, two tables of one shape, a row for
      each image, and `readable`, a boolean for each. Of a file that is none
      of these or is damaged, `readable` is false and all scores are NaN; the
      others of its batch are served. Images of another size are resized as
      in training, bilinearly with antialiasing, and the centre counts. They
      are taken as stored: TensorFlow does not turn photos as their EXIF data
      ask for. A model of one channel gets them in grey; one of four gets
      their opacity, full where a file has none. For other numbers of channels
      there is no such signature.

    Nothing but TensorFlow is needed to load it. Beside it, not in it, stand
    the two files of facts.

    Args:
        model: A network of this package, or a functional model of the layers
            such networks are made of.
        path: Path of the folder to write.
        input_shape: Triple of integers, for models without a known size.
        with_mask: Boolean. Whether `serving_default` also returns the mask of
            the last Attention Module. Defaults to `False`.
        labels: Optional list of class names. Defaults to the model's own.
        source: Optional string, where the model came from, for `model.json`.
        logits: Boolean. Whether to leave out the softmax at the end, if there
            is one. Defaults to `False`.

    Returns:
        `pathlib.Path` of the folder.

    Example:

    >>> model = keras_ratn.CifarAttention56()
    >>> path = keras_ratn.export.to_saved_model(model, "served")
    """
    if keras.backend.backend() != "tensorflow":
        raise ValueError(
            "SavedModels are written with TensorFlow. Received: the backend "
            f"{keras.backend.backend()!r}. Set KERAS_BACKEND=tensorflow; "
            "saved models load on any backend."
        )
    path = pathlib.Path(path)
    if path.exists() and not (path / "saved_model.pb").exists():
        raise ValueError(
            f"{str(path)!r} exists and is no SavedModel. Choose another path "
            "or remove it first."
        )
    labels = metadata.class_names(model, labels)
    metadata.check_labels(path, labels)
    deployed = deploy_graph(
        model, input_shape, with_mask, depthwise_normalization=False
    )
    deployed = without_softmax(deployed) if logits else deployed
    with publishing(path, is_folder=True) as scratch, deep_recursion():
        _write(deployed, scratch / path.name, labels)
        entry = metadata.record(
            model,
            labels,
            source,
            logits,
            format="saved_model",
            quantization="none",
            **metadata.ends(deployed),
        )
        metadata.write(scratch, path, entry)
    return path


def _write(model, folder, labels):
    import tensorflow as tf

    height, width, channels = model.inputs[0].shape[1:]

    def serve(images):
        outputs = keras.tree.flatten(model(images, training=False))
        return dict(zip(("scores", "mask"), outputs))

    def serve_bytes(encoded_images):
        images, readable = decoded(encoded_images, (height, width, channels))
        scores = serve(images)["scores"]
        names = tf.tile([labels], [tf.shape(scores)[0], 1])
        shape = (-1, *(1 for _ in scores.shape[1:]))
        scores = tf.where(tf.reshape(readable, shape), scores, math.nan)
        return {"scores": scores, "labels": names, "readable": readable}

    archive = keras.export.ExportArchive()
    archive.track(model)
    shape = (None, height, width, channels)
    archive.add_endpoint(
        "serving_default",
        serve,
        input_signature=[tf.TensorSpec(shape, tf.float32, name="images")],
    )
    if channels in (1, 3, 4):  # what image files can hold
        archive.add_endpoint(
            "serve_bytes",
            serve_bytes,
            input_signature=[
                tf.TensorSpec((None,), tf.string, name="encoded_images")
            ],
        )
    with os_errors():
        archive.write_out(str(folder), verbose=False)


@contextlib.contextmanager
def os_errors():
    """Makes TensorFlow's failures in writing those of Python's own files."""
    import tensorflow as tf

    try:
        yield
    except tf.errors.OpError as error:
        raise OSError(error.message) from error
