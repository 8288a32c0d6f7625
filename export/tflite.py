"""LiteRT (TFLite) files: float32, float16, dynamic-range and int8."""

import contextlib
import logging
import os
import pathlib
import tempfile

import keras
import numpy as np

from . import flatbuffer
from . import metadata
from .deploy_graph import deploy_graph
from .opened_graph import deep_recursion
from .published import publishing

QUANTIZATIONS = (None, "float16", "dynamic", "int8")
TYPES = ("uint8", "int8", "float32")
MIN_REPRESENTATIVE_IMAGES = 16


def to_tflite(
    model,
    path,
    quantize=None,
    representative_data=None,
    input_type="uint8",
    output_type="float32",
    batch_size=1,
    input_shape=None,
    with_mask=False,
    labels=None,
    source=None,
):
    """Writes a model as a LiteRT file, with `labels.txt` and `model.json`.

    The file has one signature, `serving_default`, from `images` to
    `scores` (and `mask`). A network with its preprocessing takes pixels
    0-255. The batch size is fixed, which delegates want.

    Args:
        model: A network of this package, a functional model of the layers
            such networks are made of, or what `quantization_aware` returned.
        path: Path of the file to write.
        quantize: `None` (float32), `"float16"` (weights in half precision),
            `"dynamic"` (weights in 8 bits) or `"int8"` (all computation in 8
            bits). Defaults to `None`.
        representative_data: Iterable of batches of images as the model takes
            them, from which int8 learns the range of each tensor; 100 to 500
            images are usual. Not needed for a quantisation-aware model.
        input_type: String, `"uint8"`, `"int8"` or `"float32"`: what an int8
            file takes. Defaults to `"uint8"`, plain pixels.
        output_type: String, `"uint8"`, `"int8"` or `"float32"`: what an int8
            file returns. Defaults to `"float32"`.
        batch_size: Integer. Defaults to `1`.
        input_shape: Triple of integers, for models without a known size.
        with_mask: Boolean. Whether the file also returns the mask of the last
            Attention Module. Defaults to `False`.
        labels: Optional list of class names. Defaults to the model's own.
        source: Optional string, where the model came from, for `model.json`.

    Returns:
        `pathlib.Path` of the file.

    Example:

    >>> model = keras_ratn.CifarAttention56()
    >>> path = keras_ratn.export.to_tflite(model, "model.tflite", "float16")
    """
    path = pathlib.Path(path)
    _check_options(path, quantize, input_type, output_type, batch_size)
    quantization_aware = is_quantization_aware(model)
    if quantization_aware and quantize != "int8":
        raise ValueError(
            "A quantisation-aware model becomes an int8 file only. "
            f"Received: quantize={quantize!r}. Pass quantize='int8'."
        )
    if quantization_aware and (with_mask or input_shape is not None):
        raise ValueError(
            "A quantisation-aware model keeps the outputs and the size it was "
            "made with. Leave out `with_mask` and `input_shape`."
        )
    labels = metadata.class_names(model, labels)
    if quantization_aware:
        deployed, images = model, None
    else:
        deployed = deploy_graph(
            model,
            input_shape,
            with_mask,
            # A depthwise convolution has a scale for each channel, which only
            # int8 needs; elsewhere a product and a sum are as fast.
            depthwise_normalization=quantize == "int8",
        )
        images = None
        if quantize == "int8":
            images = representative_images(
                representative_data, deployed, metadata.takes_pixels(model)
            )
    with publishing(path) as scratch:
        content = _convert(
            deployed, quantize, images, input_type, output_type, batch_size
        )
        file = scratch / path.name
        file.write_bytes(content)
        if quantize == "int8":
            _check_integer(file)
        entry = metadata.record(
            model,
            labels,
            source,
            format="tflite",
            quantization=quantize or "none",
            **_ends(file),
        )
        metadata.embed(file, entry)
        metadata.write(scratch, path, entry)
    return path


def is_quantization_aware(model):
    """Whether the model comes from `quantization_aware`."""
    return any(
        type(layer).__name__ == "FakeQuantization" for layer in model.layers
    )


def representative_images(data, model, pixels=True):
    """Checks representative data and returns it as one array.

    Args:
        data: Iterable of batches of images, or one array of images.
        model: Keras model that is to take them.
        pixels: Boolean. Whether they are to be pixels 0-255. Defaults to
            `True`.

    Returns:
        float32 NumPy array of images. Of pixels, the first image holds a 0
        and a 255 in its corner, so that 8 bits stand for exactly 0 to 255.
    """
    shape = tuple(model.inputs[0].shape[1:])
    if data is None:
        raise ValueError(
            "Int8 needs `representative_data`: images from which to learn "
            "the range of each tensor. Received: None. Pass some batches of "
            "training images, or `--data FOLDER` on the command line, where a "
            "model in its run folder finds them by itself."
        )
    batches = []
    for batch in data:
        if isinstance(batch, (tuple, list)):
            batch = batch[0]  # images of (images, labels)
        batch = np.asarray(batch, "float32")
        batch = batch[None] if batch.ndim == 3 else batch
        if batch.shape[1:] != shape:
            raise ValueError(
                "Representative images must have the size that the model "
                f"takes, {shape}. Received: images of {batch.shape[1:]}. "
                "Resize them first."
            )
        batches.append(batch)
    number = sum(map(len, batches))
    if number < MIN_REPRESENTATIVE_IMAGES:
        raise ValueError(
            f"`representative_data` must hold {MIN_REPRESENTATIVE_IMAGES} "
            "images or more, better some hundreds. "
            f"Received: {number} images"
        )
    images = np.concatenate(batches)
    if pixels:
        low, high = images.min(), images.max()
        if low < 0 or high > 255 or high <= 1:
            raise ValueError(
                "Representative images must be pixels from 0 to 255; the "
                "model scales them itself. Received: values from "
                f"{low:.3g} to {high:.3g}"
            )
        images[0, 0, 0], images[0, 0, 1] = 0, 255
    return images


def check_backend():
    """Refuses backends that cannot write LiteRT files."""
    if keras.backend.backend() != "tensorflow":
        raise ValueError(
            "LiteRT files are written with TensorFlow. Received: the backend "
            f"{keras.backend.backend()!r}. Set KERAS_BACKEND=tensorflow; "
            "saved models load on any backend."
        )


def _check_options(path, quantize, input_type, output_type, batch_size):
    check_backend()
    for argument, value, allowed in (
        ("quantize", quantize, QUANTIZATIONS),
        ("input_type", input_type, TYPES),
        ("output_type", output_type, TYPES),
    ):
        if value not in allowed:
            raise ValueError(
                f"`{argument}` must be one of {allowed}. "
                f"Received: {argument}={value!r}"
            )
    if path.suffix != ".tflite":
        raise ValueError(
            "`path` must end in .tflite, by which Android and the tools of "
            f"LiteRT know the file. Received: path={str(path)!r}"
        )
    if not isinstance(batch_size, int) or batch_size < 1:
        raise ValueError(
            "`batch_size` must be a positive integer. "
            f"Received: batch_size={batch_size!r}"
        )


def _convert(model, quantize, images, input_type, output_type, batch_size):
    """The content of the file, in bytes."""
    import tensorflow as tf

    with tempfile.TemporaryDirectory() as folder, deep_recursion(), _quiet():
        write_saved_model(model, folder, batch_size)
        converter = tf.lite.TFLiteConverter.from_saved_model(
            folder, signature_keys=["serving_default"]
        )
        if quantize is not None:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if quantize == "float16":
            converter.target_spec.supported_types = [tf.float16]
        if images is not None:
            converter.target_spec.supported_ops = [
                tf.lite.OpsSet.TFLITE_BUILTINS_INT8
            ]
        if quantize == "int8":
            converter.inference_input_type = getattr(tf, input_type)
            converter.inference_output_type = getattr(tf, output_type)
        if images is not None:
            last = len(images) - batch_size + 1
            starts = range(0, max(last, 1), batch_size)
            # An array is repeated where it is smaller than one batch.
            batches = [
                np.resize(
                    images[i : i + batch_size], (batch_size, *images.shape[1:])
                )
                for i in starts
            ]
            converter.representative_dataset = lambda: (
                {"images": batch} for batch in batches
            )
        return converter.convert()


def write_saved_model(model, folder, batch_size):
    """A SavedModel with the one signature that the converter reads."""
    import tensorflow as tf

    names = ["scores", "mask"]

    def serve(images):
        outputs = keras.tree.flatten(model(images, training=False))
        return dict(zip(names, outputs))

    shape = (batch_size, *model.inputs[0].shape[1:])
    archive = keras.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint(
        "serving_default",
        serve,
        input_signature=[tf.TensorSpec(shape, tf.float32, name="images")],
    )
    archive.write_out(folder, verbose=False)


@contextlib.contextmanager
def _quiet():
    """Keeps the converter's hundreds of lines off the screen."""
    logger = logging.getLogger("tensorflow")
    level = logger.level
    logger.setLevel(logging.ERROR)
    kept = os.dup(2)
    with open(os.devnull, "w") as nothing:
        os.dup2(nothing.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            logger.setLevel(level)


def _check_integer(file):
    left = flatbuffer.not_integer(file)
    if left:
        found = ", ".join(f"{n} {name}" for name, n in sorted(left.items()))
        raise ValueError(
            "The file is not all-integer; the converter left inside: "
            f"{found}. Nothing was written."
        )


def _ends(file):
    """Shapes, types and quantisation of a file's input and outputs."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(file))
    runner = interpreter.get_signature_runner("serving_default")
    return {
        "inputs": _described(runner.get_input_details()),
        "outputs": _described(runner.get_output_details()),
    }


def _described(details):
    return {
        name: {
            "shape": [int(size) for size in detail["shape"]],
            "type": np.dtype(detail["dtype"]).name,
            "scale": float(detail["quantization"][0]),
            "zero_point": int(detail["quantization"][1]),
        }
        for name, detail in details.items()
    }
