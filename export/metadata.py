"""What an app must know about an exported file, beside it and inside it.

`labels.txt` holds one class name a line. `model.json` maps the name of each
exported file in its folder to a record: sizes, types, quantisation, classes,
checksum, source. The same two are also appended to `.tflite` files as a zip
archive: LiteRT ignores it, any zip reader finds it. (This is not the official
TFLITE_METADATA block, whose writers do not install beside TensorFlow 2.21.)
"""

import hashlib
import json
import pathlib
import zipfile

import keras
import numpy as np
from keras import ops

from keras_ratn import __version__
from keras_ratn.predictors import score_function

from .opened_graph import elementary_layers
from .opened_graph import functional
from .training_runs import run_of

# How images of other sizes become the model's, here as in training.
RESIZING = "centre with the input's aspect ratio, then bilinear, antialiased"
# The widest range, about, of images that are no pixels: those from -1 to 1.
_WIDEST_UNIT = 4.0
_ANY_SIZE = 8
LABELS = "labels.txt"
RECORDS = "model.json"


def class_names(model, labels=None):
    """The names of the model's classes, or `class_0`, `class_1`, ...

    Args:
        model: Keras model whose first output holds one score a class.
        labels: Optional list of strings. Defaults to the names that the
            model's `predictions` layer keeps.

    Returns:
        List of strings.
    """
    classes = functional(model).outputs[0].shape[-1]
    if labels is None:
        for layer in elementary_layers(model):
            if getattr(layer, "class_names", None):
                labels = layer.class_names
    if labels is None:
        labels = [f"class_{index}" for index in range(classes)]
    if len(labels) != classes:
        raise ValueError(
            "There must be one label for each class. "
            f"Received: {len(labels)} labels for {classes} classes"
        )
    return [str(label) for label in labels]


def takes_pixels(model):
    """Whether the model is to be given pixels 0-255, which it scales itself.

    Judged by the numbers: what it does to a value before the first layer that
    learns is, mostly, `scale x + shift`. Such values are to come out around
    zero and about one wide, so the model is made for x around -shift / scale
    and 1 / scale wide. That is some hundred for pixels, and at most two for
    values from 0 to 1 or from -1 to 1.
    """
    for layer in elementary_layers(model):
        if type(layer).__name__ == "FakeQuantization":  # that of the images
            return (layer.minimum, layer.maximum) == (0.0, 255.0)
        if not isinstance(layer, keras.layers.InputLayer):
            break
    shape = [size or _ANY_SIZE for size in model.inputs[0].shape[1:]]
    images = np.stack([np.zeros(shape), np.ones(shape)]).astype("float32")
    values, _ = _before_learning(model, images)
    shift, scale = values[0], np.abs(values[1] - values[0])
    if not scale.any():
        return False
    widest = np.where(scale > 0, scale, np.inf).argmin()
    centre = np.abs(shift.flat[widest] / scale.flat[widest])
    return bool(centre + 2 / scale.flat[widest] > _WIDEST_UNIT)


def _before_learning(model, values):
    """What reaches the first layer that learns.

    Args:
        model: Keras model.
        values: Array of what it is given.

    Returns:
        Pair of an array, and whether there is such a layer.
    """
    model, start, end = functional(model), None, None

    def brought():
        if end is None:
            return values
        return _predicted(keras.Model(start, end), values)

    for operation in model.operations:
        if isinstance(operation, keras.layers.InputLayer):
            continue
        if isinstance(operation, keras.Model):
            # Within the outer graph it shows neither input nor output.
            values, learns = _before_learning(operation, brought())
            if learns:
                return values, True
            start = end = None
            continue
        if _learns(operation):
            if start is not None:
                end = keras.tree.flatten(operation.input)[0]
            return brought(), True
        if start is None:
            start = keras.tree.flatten(operation.input)[0]
        end = operation.output
    return brought(), False


def _predicted(model, values):
    """What it gives for an array, as an array."""
    return ops.convert_to_numpy(model(values, training=False))


def _learns(operation):
    """Whether it has weights that no scaling of the images has."""
    scales = isinstance(operation, keras.layers.Normalization)
    # A deploy graph has it as a convolution of that name.
    scales = scales or operation.name.endswith("preprocessing")
    return bool(getattr(operation, "weights", None)) and not scales


def normalization(model):
    """What the model does to its input, in words for `model.json`."""
    if takes_pixels(model):
        return "inside the model: give it pixels 0-255, mean 0, deviation 1"
    return "none inside the model: give it what it was trained on"


def record(model, labels, source=None, logits=False, **facts):
    """The facts about one exported file, for `model.json`."""
    scores = score_function(model)
    left_out = logits and scores == "softmax"
    return {
        "model": model.name,
        "classes": labels,
        "normalization": normalization(model),
        "resizing": RESIZING,
        "scores": "linear" if left_out else scores,
        # What makes probabilities of the scores, for an app to do.
        "postprocessing": "softmax" if left_out else "none",
        "source": source,
        "run": run_of(source),
        "written_by": f"keras_ratn {__version__}, keras {keras.__version__}",
        **facts,
    }


def ends(deployed):
    """Shapes and types of what a file of floats takes and returns."""

    def described(tensor):
        return {"shape": list(tensor.shape), "type": "float32"}

    names = ("scores", "mask")
    return {
        "inputs": {"images": described(deployed.inputs[0])},
        "outputs": {n: described(x) for n, x in zip(names, deployed.outputs)},
    }


def embed(path, entry):
    """Appends labels and record to a `.tflite` file, as a zip archive."""
    with zipfile.ZipFile(path, "a") as archive:
        for name, text in (
            (LABELS, _lines(entry["classes"])),
            (RECORDS, json.dumps(entry, indent=2)),
        ):
            # A fixed date, so that equal models make equal files.
            archive.writestr(zipfile.ZipInfo(name), text)


def write(scratch, target, entry):
    """Writes `labels.txt` and `model.json` for a file in `scratch`.

    Args:
        scratch: Folder with the exported file, see `published.publishing`.
        target: Path where the exported file will be. Records of other files
            in its folder are kept.
        entry: Dict made by `record`.
    """
    target = pathlib.Path(target)
    records = _records(target)
    made = scratch / target.name
    size = sum(file.stat().st_size for file in _files(made))
    records[target.name] = {**entry, "bytes": size, "sha256": sha256(made)}
    (scratch / LABELS).write_text(_lines(entry["classes"]), "utf-8")
    (scratch / RECORDS).write_text(json.dumps(records, indent=2) + "\n")


def read(path):
    """The record of an exported file, or `None` if it has none."""
    path = pathlib.Path(path)
    return _records(path).get(path.name)


def check_labels(target, labels):
    """Refuses a folder whose `labels.txt` is that of other classes.

    Args:
        target: Path where an exported file will be.
        labels: List of its class names.
    """
    target = pathlib.Path(target)
    for name, entry in _records(target).items():
        is_there = name != target.name and target.with_name(name).exists()
        if is_there and entry.get("classes", labels) != labels:
            raise ValueError(
                f"{LABELS} beside {str(target)!r} names the classes of "
                f"{name}, which are others. Choose another folder."
            )


def sha256(path):
    """Checksum as hexadecimal digits.

    Args:
        path: Path of a file; or of a folder, whose checksum is that of its
            files' names and checksums.
    """
    path = pathlib.Path(path)
    if path.is_dir():
        listed = "".join(
            f"{sha256(file)}  {file.relative_to(path).as_posix()}\n"
            for file in _files(path)
        )
        return hashlib.sha256(listed.encode()).hexdigest()
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _files(path):
    """The file itself, or all files of a folder in order."""
    if not path.is_dir():
        return [path]
    return sorted(file for file in path.rglob("*") if file.is_file())


def _records(target):
    """What `model.json` in the folder of an exported file says of its files."""
    known = target.absolute().parent / RECORDS
    if not known.exists():
        return {}
    try:
        records = json.loads(known.read_text("utf-8"))
        ours = all("sha256" in entry for entry in records.values())
    except (AttributeError, TypeError, ValueError):
        ours = False
    if not ours:
        raise ValueError(
            f"{known} is none of ours, or broken: wanted is a record with a "
            "checksum for each file. Move it away, or choose another folder."
        )
    return records


def _lines(labels):
    return "".join(f"{label}\n" for label in labels)
