"""What an app must know about an exported file, beside it and inside it.

`labels.txt` holds one class name a line. `model.json` maps the name of each
exported file in its folder to a record: sizes, types, quantisation, classes,
checksum, source. The same two are also appended to `.tflite` files as a zip
archive: LiteRT ignores it, any zip reader finds it. (This is not the official
TFLITE_METADATA block, whose writers do not install beside TensorFlow 2.21.)
"""

import hashlib
import itertools
import json
import pathlib
import zipfile

import keras

from keras_ratn import __version__

from .opened_graph import elementary_layers
from .opened_graph import functional

# How images of other sizes become the model's, here as in training.
RESIZING = "centre with the input's aspect ratio, then bilinear, antialiased"
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
    """Whether the model scales pixels 0-255 itself.

    Its own networks keep the name of the layer that does so when they are
    rewritten.
    """
    scaling = (keras.layers.Normalization, keras.layers.Rescaling)
    return any(
        isinstance(layer, scaling) or layer.name == "preprocessing"
        for layer in itertools.islice(elementary_layers(model), 4)
    )


def _activation(model):
    """The name of the function that makes the model's scores."""
    *_, last = elementary_layers(model)
    activation = getattr(last, "activation", None)
    return getattr(activation, "__name__", "linear")


def gives_probabilities(model):
    """Whether scores lie between 0 and 1."""
    return _activation(model) in ("softmax", "sigmoid")


def normalization(model):
    """What the model does to its input, in words for `model.json`."""
    if takes_pixels(model):
        return "inside the model: give it pixels 0-255, mean 0, deviation 1"
    return "none inside the model: give it what it was trained on"


def record(model, labels, source=None, **facts):
    """The facts about one exported file, for `model.json`."""
    return {
        "model": model.name,
        "classes": labels,
        "normalization": normalization(model),
        "resizing": RESIZING,
        "scores": _activation(model),
        "source": source,
        "written_by": f"keras_ratn {__version__}, keras {keras.__version__}",
        **facts,
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
    known = target.absolute().parent / RECORDS
    records = json.loads(known.read_text()) if known.exists() else {}
    file = scratch / target.name
    if file.is_file():
        entry = {**entry, "bytes": file.stat().st_size, "sha256": sha256(file)}
    records[target.name] = entry
    (scratch / LABELS).write_text(_lines(entry["classes"]), "utf-8")
    (scratch / RECORDS).write_text(json.dumps(records, indent=2) + "\n")


def read(path):
    """The record of an exported file, or `None` if it has none."""
    path = pathlib.Path(path)
    records = path.absolute().parent / RECORDS
    if not records.exists():
        return None
    return json.loads(records.read_text()).get(path.name)


def sha256(path):
    """Checksum of a file, as hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _lines(labels):
    return "".join(f"{label}\n" for label in labels)
