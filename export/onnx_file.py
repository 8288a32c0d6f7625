"""ONNX files, for ONNX Runtime and the converters that start from them."""

import json
import pathlib

import keras
import numpy as np

from keras_ratn.keras_settings import standard_settings

from . import metadata
from .deploy_graph import deploy_graph
from .opened_graph import deep_recursion
from .opened_graph import without_softmax
from .published import publishing

_OPSET = 18


@standard_settings()
def to_onnx(
    model,
    path,
    input_shape=None,
    with_mask=False,
    labels=None,
    source=None,
    logits=False,
):
    """Writes a model as an ONNX file, with `labels.txt` and `model.json`.

    The graph takes `images` (float32, as the model takes them, batches of any
    size) to `scores` (and `mask`). Keras converts it by tf2onnx. Labels and
    normalization are also in the file, among its metadata.

    Args:
        model: A network of this package, or a functional model of Keras's
            own layers.
        path: Path of the file to write.
        input_shape: Triple of integers, for models without a known size.
        with_mask: Boolean. Whether the file also returns the mask of the last
            Attention Module. Defaults to `False`.
        labels: Optional list of class names. Defaults to the model's own.
        source: Optional string, where the model came from, for `model.json`.
        logits: Boolean. Whether to leave out the softmax at the end, if there
            is one. Defaults to `False`.

    Returns:
        `pathlib.Path` of the file.

    Example:

    >>> model = keras_ratn.CifarAttention56()
    >>> path = keras_ratn.export.to_onnx(model, "model.onnx")
    """
    path = pathlib.Path(path)
    _check(path)
    labels = metadata.class_names(model, labels)
    metadata.check_labels(path, labels)
    deployed = deploy_graph(
        model, input_shape, with_mask, depthwise_normalization=False
    )
    deployed = without_softmax(deployed) if logits else deployed
    with publishing(path) as scratch:
        file = scratch / path.name
        shape = (None, *deployed.input_shape[1:])
        with deep_recursion():
            deployed.export(
                str(file),
                format="onnx",
                verbose=False,
                opset_version=_OPSET,
                input_signature=[
                    keras.InputSpec(shape=shape, dtype="float32", name="images")
                ],
            )
        entry = metadata.record(
            model,
            labels,
            source,
            logits,
            format="onnx",
            quantization="none",
            **metadata.ends(deployed),
        )
        _finish(file, entry)
        metadata.write(scratch, path, entry)
    return path


def _check(path):
    if keras.backend.backend() != "tensorflow":
        raise ValueError(
            "ONNX files are written with TensorFlow. Received: the backend "
            f"{keras.backend.backend()!r}. Set KERAS_BACKEND=tensorflow; "
            "saved models load on any backend."
        )
    if path.suffix != ".onnx":
        raise ValueError(
            "`path` must end in .onnx, by which ONNX's tools know the file. "
            f"Received: path={str(path)!r}"
        )
    try:
        import onnx as onnx
        import tf2onnx as tf2onnx
    except ModuleNotFoundError as error:
        raise ValueError(
            f"Writing ONNX files needs `pip install keras_ratn[onnx]`: {error}"
        ) from error


def _finish(file, entry):
    """Names the outputs, mends sizes, and puts the facts into the file."""
    import onnx

    model = onnx.load(file)
    graph = model.graph
    names = {
        output.name: name
        for output, name in zip(graph.output, entry["outputs"])
    }
    for tensor in graph.output:
        tensor.name = names[tensor.name]
    constants = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        for ends in (node.input, node.output):
            ends[:] = [names.get(name, name) for name in ends]
        if node.op_type == "Resize" and len(node.input) == 3:
            _round_up(constants[node.input[2]])
    onnx.helper.set_model_props(
        model,
        {
            "labels": json.dumps(entry["classes"]),
            "normalization": entry["normalization"],
        },
    )
    onnx.checker.check_model(model)
    onnx.save(model, file)


def _round_up(scales):
    """ONNX cuts size * scale to an integer: 19 * (37 / 19) would give 36."""
    import onnx

    values = onnx.numpy_helper.to_array(scales)
    values = np.where(values % 1, values * (1 + 1e-6), values)
    scales.CopyFrom(
        onnx.numpy_helper.from_array(values.astype("float32"), scales.name)
    )
