"""Checkpoint records, and loading weights without harming a network."""

import contextlib
import dataclasses
import hashlib
import io
import json
import math
import os
import pathlib
import shutil
import tempfile
import warnings
import zipfile
from collections import Counter

import h5py
import keras

from keras_ratn.archives import check_archive
from keras_ratn.layers._common import positive_integer

HEAD = "predictions"
# Layers that classify, the last two in networks that segment -> where in them
# a file has the kernel, whose last axis are the classes.
CLASSIFIERS = {
    HEAD: "vars/0",
    "head": "classifier/vars/0",
    "head_classifier_conv": "vars/0",
}
EXTENSIONS = (".h5", ".keras")
PACKAGED = pathlib.Path(__file__).resolve().parents[1] / "weights"


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """All one must know to use a set of trained weights rightly.

    Args:
        source: String. A URL, or the name of a file in `keras_ratn/weights/`.
        sha256: String. Hexadecimal SHA-256 of the file.
        classes: Integer. Classes of its classifier.
        input_size: Integer. Height and width it was trained at, in pixels.
        accuracy: Float. Measured top-1 accuracy in percent, on the data set
            that its name tells.
        licence: String. Licence of the weights.
        class_names: Optional tuple of strings, in the order of the outputs.
        int8_source: Optional string. Name of the all-integer LiteRT file of
            the same weights in `keras_ratn/weights/`.
        int8_sha256: Optional string. Hexadecimal SHA-256 of that file.
    """

    source: str
    sha256: str
    classes: int
    input_size: int
    accuracy: float
    licence: str
    class_names: tuple | None = None
    int8_source: str | None = None
    int8_sha256: str | None = None


def packaged_checkpoints(folder=PACKAGED):
    """The records of the weights in the package, from their cards.

    A card is a JSON file beside its weights; `training/release.py` writes
    both. It holds more than a record: recipe, seed, hardware, calibration.

    Args:
        folder: `pathlib.Path`. Defaults to the package's own.

    Returns:
        Dictionary: variant -> name of the checkpoint (`dataset` or
        `dataset_recipe`) -> `Checkpoint`.
    """
    checkpoints = {}
    for path in sorted(folder.glob("*.json")):
        card = json.loads(path.read_text(encoding="utf-8"))
        fields = dataclasses.fields(Checkpoint)
        record = Checkpoint(
            **{f.name: card[f.name] for f in fields if f.name in card}
        )
        record = dataclasses.replace(
            record, class_names=tuple(record.class_names)
        )
        checkpoints.setdefault(card["variant"], {})[card["name"]] = record
    return checkpoints


CHECKPOINTS = packaged_checkpoints()


def packaged_file(name, sha256):
    """Path of a file in the package's weights, whose content is checked."""
    path = PACKAGED / name
    actual = hashlib.sha256(path.read_bytes()).hexdigest()
    if actual != sha256:
        raise ValueError(
            f"The weights file {path} is not the one that was released. "
            f"Expected sha256={sha256}, received {actual}. Install the "
            "package again."
        )
    return path


@dataclasses.dataclass(frozen=True)
class WeightsFile:
    """A file of weights that is there and can be read.

    Args:
        path: String.
        class_names: Optional tuple of strings, of the classifier in it.
        classes: Optional integer, of the classifier in it.
    """

    path: str
    class_names: tuple | None = None
    classes: int | None = None

    def names_of(self, classes):
        """The names, if they are of so many classes, else `None`."""
        fitting = len(self.class_names or ()) == classes
        return self.class_names if fitting else None


def _fetch(checkpoint):
    """Path of a checkpoint's file, whose content is checked."""
    if "://" not in checkpoint.source:
        return packaged_file(checkpoint.source, checkpoint.sha256)
    return keras.utils.get_file(
        checkpoint.source.rsplit("/", 1)[-1],
        checkpoint.source,
        cache_subdir="models",
        hash_algorithm="sha256",
        file_hash=checkpoint.sha256,
    )


def _saved_class_names(path):
    """The names in a saved model; weights alone know none."""
    if not path.endswith(".keras"):
        return None
    check_archive(path)
    with zipfile.ZipFile(path) as archive:
        config = json.loads(archive.read("config.json"))
    for layer in reversed(config.get("config", {}).get("layers", [])):
        names = layer.get("config", {}).get("class_names")
        if names:
            return tuple(names)
    return None


def _saved_classes(path):
    """How many classes the classifier in a file has, if there is one."""
    with _open(path) as file:
        for group in file["layers"].values():
            name = str(group.get("vars", group).attrs.get("name", ""))
            kernel = group.get(CLASSIFIERS.get(name, ""))
            if kernel is not None:
                return int(kernel.shape[-1])
    return None


def resolve_weights(weights, variant, include_top, classes):
    """Checks the argument `weights` of a builder before anything is built.

    Args:
        weights: `None`, a name or a path.
        variant: String or `None`. Key of the network in `VARIANTS`.
        include_top: Boolean. Whether the classifier is wanted.
        classes: Integer or `None`. Classes that were asked for.

    Returns:
        `None` or `WeightsFile`.
    """
    if classes is not None:
        positive_integer("classes", classes)
    if weights is None:
        return None
    if str(weights).endswith(EXTENSIONS):
        if not os.path.isfile(weights):
            raise ValueError(
                f"The weights file does not exist. Received: weights={weights}"
            )
        path = os.fspath(weights)
        _shapes_in_file(path)
        return WeightsFile(path, _saved_class_names(path), _saved_classes(path))
    known = CHECKPOINTS.get(variant, {})
    if weights not in list(known):  # a dictionary would hash it
        names = ", ".join(map(repr, sorted(known))) or "none yet"
        raise ValueError(
            "`weights` must be None, the name of a registered checkpoint of "
            f"this network ({names}), or the path of a file that ends in "
            f"{' or '.join(EXTENSIONS)}. Received: weights={weights!r}. "
            "`keras_ratn.list_weights()` names those of all networks."
        )
    checkpoint = known[weights]
    if include_top and classes not in (None, checkpoint.classes):
        raise ValueError(
            f"The checkpoint {weights!r} has a classifier for "
            f"{checkpoint.classes} classes. Received: classes={classes} with "
            f"include_top=True. Give classes={checkpoint.classes}, or use "
            "include_top=False and add a classifier of your own."
        )
    path = os.fspath(_fetch(checkpoint))
    return WeightsFile(path, checkpoint.class_names, checkpoint.classes)


def resolve_classes(weights, classes, class_names, default):
    """How many classes a network has, and what they are called.

    What was asked for comes first, then what the weights say.

    Args:
        weights: `None` or `WeightsFile`.
        classes: Integer or `None`.
        class_names: Sequence of strings or `None`.
        default: Integer. Classes where nothing says how many.

    Returns:
        Pair of an integer and of strings or `None`.
    """
    if weights is None:
        return classes or default, class_names
    classes = classes or weights.classes or default
    if class_names is None:
        class_names = weights.names_of(classes)
    return classes, class_names


def load_weights(model, path):
    """Loads a weights file into a network of the same architecture.

    One file serves with and without the classifier. A classifier of another
    number of classes is left as it is, which is said in one line. Any other
    difference raises an error that names the first layer concerned, and
    leaves the model as it was.

    Args:
        model: `keras.Model` made by one of the builders.
        path: String or path of a `.weights.h5` or `.keras` file.

    Returns:
        The model.

    Example:

    >>> model = keras_ratn.CifarAttention56()
    >>> model.save_weights("/tmp/example.weights.h5")
    >>> features = keras_ratn.CifarAttention56(include_top=False)
    >>> _ = keras_ratn.load_weights(features, "/tmp/example.weights.h5")
    """
    path = os.fspath(path)
    if not path.endswith(EXTENSIONS):
        raise ValueError(
            f"A weights file ends in {' or '.join(EXTENSIONS)}. "
            f"Received: path={path!r}"
        )
    check_archive(path)
    in_file = _shapes_in_file(path)
    kept = _check_shapes(model, in_file, path)
    before = [keras.ops.convert_to_numpy(v) for v in model.variables]
    try:
        with warnings.catch_warnings():
            # Keras would print whole arrays about a classifier left out.
            warnings.simplefilter("ignore")
            with _as_keras_names_it(path) as named:
                if kept == [HEAD]:  # all the rest has to fit
                    features = model.get_layer(HEAD).input
                    keras.Model(model.inputs, features).load_weights(named)
                else:
                    model.load_weights(named, skip_mismatch=bool(kept))
    except Exception as error:
        for variable, value in zip(model.variables, before):
            variable.assign(value)
        raise ValueError(
            f"The weights file {path} could not be loaded; the model is "
            f"unchanged. {_first_difference(model, path)}Keras says: {error}"
        ) from error
    if kept == [HEAD]:
        there = in_file.get(HEAD)
        reason = f"is for {max(there)[-1]} classes" if there else "is absent"
        print(
            f"Loaded all weights but the classifier's: in {path} it {reason}, "
            f"here for {model.get_layer(HEAD).units}; it keeps its own."
        )
    elif kept:
        print(
            f"Loaded all weights but those of {kept[0]!r} that {path} lacks "
            "or has in other shapes; they keep their own."
        )
    return model


@contextlib.contextmanager
def _as_keras_names_it(path):
    """The file under a name that Keras takes for its own: `.weights.h5`."""
    if path.endswith((".weights.h5", ".keras")):
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        named = os.path.join(folder, "named.weights.h5")
        try:
            os.symlink(os.path.abspath(path), named)
        except OSError:  # where links need a permission
            shutil.copyfile(path, named)
        yield named


def _shapes_in_file(path):
    """Layer name -> sorted shapes of all its weights, as saved."""
    try:
        with _open(path) as file:
            return {
                str(group["vars"].attrs["name"]): _dataset_shapes(group)
                for group in file["layers"].values()
                if "name" in group.get("vars", group).attrs
            }
    except Exception as error:  # h5py and zipfile raise almost anything
        raise ValueError(
            f"The weights file {path} is truncated, altered or not one of "
            f"Keras 3; the model is unchanged. Reading it gave: {error}"
        ) from error


@contextlib.contextmanager
def _open(path):
    if path.endswith(".keras"):
        with zipfile.ZipFile(path) as archive:
            # Reading checks the archive's checksum.
            data = io.BytesIO(archive.read("model.weights.h5"))
        with h5py.File(data, "r") as file:
            yield file
    else:
        with h5py.File(path, "r") as file:
            yield file


def _first_difference(model, path):
    """Says which part of which layer the file has otherwise, if any."""
    with tempfile.TemporaryDirectory() as folder:
        own = os.path.join(folder, "own.weights.h5")
        model.save_weights(own)
        with _open(own) as file:
            wanted = _parts(file)
    with _open(path) as file:
        found = _parts(file)
    for part, shape in wanted.items():
        if found.get(part) != shape:
            there = f"has {found[part]}" if part in found else "has none"
            return (
                f"First weight that differs: {part}. The model has {shape}, "
                f"the file {there}. "
            )
    return ""


def _parts(file):
    """Where each weight is -> its shape, but for the classifier's."""
    parts = {}
    for group in file["layers"].values():
        top = str(group.get("vars", group).attrs.get("name", ""))

        def visit(name, item, top=top):
            if isinstance(item, h5py.Dataset) and not _is_random_state(name):
                parts[f"{top}/{name}"] = tuple(item.shape)

        if top != HEAD:
            group.visititems(visit)
    return parts


def _dataset_shapes(group):
    shapes = []

    def visit(name, item):
        if isinstance(item, h5py.Dataset) and not _is_random_state(name):
            shapes.append(tuple(item.shape))

    group.visititems(visit)
    return sorted(shapes)


def _is_random_state(path):
    """Whether a variable is the state of a dropout's random numbers."""
    return "seed_generator" in path


def _check_shapes(model, in_file, path):
    """Raises at the first layer that differs; lists heads that must stay."""
    in_model = {
        layer.name: sorted(
            tuple(v.shape)
            for v in layer.variables
            if not _is_random_state(v.path)
        )
        for layer in model.layers
    }
    kept = []
    # Layers of the file come after the model's own, for those it lacks.
    for name in {**in_model, **in_file}:
        wanted, found = in_model.get(name, []), in_file.get(name, [])
        if wanted == found:
            continue
        if name in CLASSIFIERS:
            # What the file has beyond that is no loss: a DANet trained with
            # its auxiliary classifiers serves without them.
            missing = Counter(wanted) - Counter(found)
            kept += [name] if missing else []
        elif wanted or not name.startswith("head"):
            raise ValueError(
                f"The weights file {path} belongs to another architecture; "
                f"the model is unchanged. First layer that differs: {name!r}. "
                f"The model has {_summary(wanted)}, the file has "
                f"{_summary(found)}. Build the network that the file was "
                "saved from."
            )
    return kept


def _summary(shapes):
    if not shapes:
        return "no variables there"
    values = sum(math.prod(shape) for shape in shapes)
    return f"{len(shapes)} variables with {values:,} values"
