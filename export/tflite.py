"""LiteRT (TFLite) files: float32, float16, dynamic-range and int8."""

import contextlib
import logging
import os
import pathlib
import re
import tempfile

import keras
import numpy as np

from keras_ratn.keras_settings import standard_settings

from . import flatbuffer
from . import metadata
from .deploy_graph import deploy_graph
from .litert import LiteRTModel
from .opened_graph import deep_recursion
from .opened_graph import without_softmax
from .published import publishing
from .quantization_aware import convertible
from .quantization_aware import is_quantization_aware
from .quantization_aware import rounded
from .quantization_aware import unroundable
from .representative import representative_images
from .saved_model import os_errors

QUANTIZATIONS = (None, "float16", "dynamic", "int8")
TYPES = ("uint8", "int8", "float32")


@standard_settings()
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
    logits=False,
):
    """Writes a model as a LiteRT file, with `labels.txt` and `model.json`.

    The file has one signature, `serving_default`, from `images` to
    `scores` (and `mask`). A network with its preprocessing takes pixels
    0-255. The batch size is fixed, which delegates want.

    An int8 file computes nothing in floats, unless the model holds layers of
    which LiteRT has no 8-bit kernel, as some of the attention family do:
    `float_operations` in `model.json` lists what is left in floats.

    Args:
        model: A network of this package, a functional model of the layers
            such networks are made of, or what `quantization_aware` returned.
        path: Path of the file to write.
        quantize: `None` (float32), `"float16"` (weights in half precision),
            `"dynamic"` (weights in 8 bits) or `"int8"` (all computation in 8
            bits). Defaults to `None`.
        representative_data: Iterable of batches of images as the file takes
            them (channels-last), from which int8 learns the range of each
            tensor; 100 to 500 images are usual. Not needed for a
            quantisation-aware model.
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
        logits: Boolean. Whether to leave out the softmax at the end, if there
            is one. Of 1000 classes most probabilities are less than a step of
            8 bits and tie; logits do not. Defaults to `False`.

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
    metadata.check_labels(path, labels)
    if quantization_aware:
        deployed = convertible(without_softmax(model) if logits else model)
        images = None
    else:
        deployed = deploy_graph(
            model,
            input_shape,
            with_mask,
            # A depthwise convolution has a scale for each channel, which only
            # int8 needs; elsewhere a product and a sum are as fast.
            depthwise_normalization=quantize == "int8",
            integers=quantize == "int8",
        )
        deployed = without_softmax(deployed) if logits else deployed
        images = None
        if quantize == "int8":
            pixels = metadata.takes_pixels(model)
            images = representative_images(
                representative_data, deployed, pixels
            )
    with publishing(path) as scratch:
        file = scratch / path.name
        facts = {}
        ends = (input_type, output_type, batch_size)
        if images is not None and not unroundable(deployed):
            # Ranges of our choice: the converter's own leave XNNPACK unable
            # to run files with dead tensors.
            aware = convertible(rounded(deployed, images, pixels))
            file.write_bytes(_convert(aware, quantize, None, *ends))
        if not file.exists() or flatbuffer.float_operations(file):
            file.write_bytes(_convert(deployed, quantize, images, *ends))
        if quantize == "int8":
            facts["float_operations"] = _float_operations(file, images)
        entry = metadata.record(
            model,
            labels,
            source,
            logits,
            format="tflite",
            quantization=quantize or "none",
            **facts,
            **_ends(file),
        )
        metadata.embed(file, entry)
        metadata.write(scratch, path, entry)
    return path


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

    from .compaction import compacted

    with tempfile.TemporaryDirectory() as folder, deep_recursion(), _quiet():
        write_saved_model(model, folder, batch_size)

        def converted(integers_only):
            converter = tf.lite.TFLiteConverter.from_saved_model(
                folder, signature_keys=["serving_default"]
            )
            if quantize is not None:
                converter.optimizations = [tf.lite.Optimize.DEFAULT]
            if quantize == "float16":
                converter.target_spec.supported_types = [tf.float16]
            if quantize == "int8":
                converter.inference_input_type = getattr(tf, input_type)
                converter.inference_output_type = getattr(tf, output_type)
            if images is not None:
                _calibrate(converter, images, batch_size, integers_only)
            return compacted(converter.convert())

        if images is not None:
            # The converter fails in various ways where some step has no
            # integer kernel.
            with contextlib.suppress(Exception):
                return converted(integers_only=True)
        try:
            return converted(integers_only=False)
        except Exception as error:
            unknown = re.findall(r"TF Select ops: (.*)", str(error))
            if not unknown:
                raise
            raise ValueError(
                "LiteRT has no operation for a step of the model: "
                f"{unknown[0]}. Replace it by others. Nothing was written."
            ) from error


def _calibrate(converter, images, batch_size, integers_only):
    """Lets the converter learn all ranges by itself."""
    import tensorflow as tf

    sets = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    if not integers_only:
        sets.append(tf.lite.OpsSet.TFLITE_BUILTINS)
    converter.target_spec.supported_ops = sets
    last = len(images) - batch_size + 1
    # An array is repeated where it is smaller than one batch.
    batches = [
        np.resize(images[i : i + batch_size], (batch_size, *images.shape[1:]))
        for i in range(0, max(last, 1), batch_size)
    ]
    converter.representative_dataset = lambda: (
        {"images": batch} for batch in batches
    )


def write_saved_model(model, folder, batch_size):
    """A SavedModel with the one signature that the converter reads."""
    import tensorflow as tf

    names = ["scores", "mask"]

    @tf.function(autograph=False)
    def serve(images):
        outputs = keras.tree.flatten(model(images, training=False))
        return dict(zip(names, outputs))

    shape = (batch_size, *model.inputs[0].shape[1:])
    # Keras's ExportArchive makes the same of three traces instead of one.
    traced = serve.get_concrete_function(
        tf.TensorSpec(shape, tf.float32, name="images")
    )
    module = tf.Module()
    module.weights = [variable.value for variable in model.variables]
    with os_errors():
        tf.saved_model.save(
            module, folder, signatures={"serving_default": traced}
        )


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


def _float_operations(file, images):
    """What an int8 file computes in floats, for want of integer kernels.

    Nothing, in a model whose every step can be rounded.
    """
    left = dict(flatbuffer.float_operations(file))
    if left and images is None:
        found = ", ".join(f"{n} {name}" for name, n in sorted(left.items()))
        raise ValueError(
            "The file is not all-integer; the converter left inside: "
            f"{found}. Nothing was written."
        )
    return left


def _ends(file):
    """Shapes, types and quantisation of the ends of a file that runs."""
    try:
        runnable = LiteRTModel(file)
        runnable.raw(np.zeros(runnable.input_shape, "float32"))
    except (RuntimeError, ValueError) as error:
        raise ValueError(
            "LiteRT cannot run the file that its converter made of the model: "
            f"{error}. Nothing was written. Try another `quantize`."
        ) from error
    return {
        "inputs": _described(runnable.inputs),
        "outputs": _described(runnable.outputs),
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
