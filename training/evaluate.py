"""`ratn evaluate`: how good a model file is on a data set."""

import dataclasses
import json
import pathlib
import re
import sys
import warnings
import zipfile
from typing import Annotated
from typing import Literal

import keras
import numpy as np

import keras_ratn
from keras_ratn import command
from keras_ratn.archives import check_archive
from keras_ratn.predictors import gives_probabilities

from .checkpoint import publish_text
from .checkpoint import published
from .classes import in_order_of
from .command_line import tyro
from .config import DataConfig
from .config import Experiment
from .data import load_source
from .data import own_errors
from .data import Split
from .data.fingerprint import as_far_as_known
from .errors import RunError
from .metrics import calibration_bins
from .metrics import probabilities
from .metrics import report
from .networks import build_network
from .run_folder import CONFIG
from .run_folder import make_folder
from .run_folder import read_experiment
from .run_folder import read_inputs
from .run_folder import same_images

PARTS = ("test", "validation", "train")
ENDINGS = (".keras", ".weights.h5", ".tflite")


@dataclasses.dataclass(frozen=True)
class Arguments:
    """What is evaluated on what."""

    model_file: Annotated[str, tyro.conf.Positional]
    """A .keras, .weights.h5 or .tflite file, or weights of the package by name,
    such as CifarAttention56:cifar10."""
    data: DataConfig
    """The images."""
    part: str = "test"
    """test, validation or train."""
    model: str | None = None
    """The network that .weights.h5 belongs to; its choices are the next four,
    as for `ratn train`."""
    attention: str | None = None
    """See there."""
    attention_learning: str | None = None
    """See there."""
    mask_activation: str | None = None
    """See there."""
    mask_structure: str | None = None
    """See there."""
    batch_size: int = 64
    """Images at a time."""
    tta: Literal["none", "mirror", "shifts"] = "none"
    """Average the probabilities over views of each image: `mirror`, as it is
    and mirrored; `shifts`, both also moved by a pixel to either corner: six
    views, and six times the work."""
    seed: int = 1704
    """Of held-out images: the training run's `data_seed`, or else its
    `seed`."""
    out: str = "evaluation"
    """Folder for evaluation.json, evaluation.png and predictions.npz."""


NETWORK = ("model", "attention", "attention_learning", "mask_activation") + (
    "mask_structure",
)

_OTHER_IMAGES = DataConfig(image_size=0, test_fraction=0.0)


def main(arguments=None):
    """Runs `ratn evaluate` and returns its exit status."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    try:
        evaluate(parse(arguments))
    except (RunError, ValueError) as error:
        return command.fail("ratn evaluate", error)
    return 0


def parse(arguments):
    """`Arguments` of a command line."""
    known = defaults(arguments)
    parsed = _parse(arguments, known)
    if not same_images(parsed.data, known.data):
        # Nothing was held out of these for the run, unless it is said here.
        others = dataclasses.replace(
            _OTHER_IMAGES,
            source=known.data.source,
            image_size=known.data.image_size,
            tfds_directory=known.data.tfds_directory,
            test_split=known.data.test_split,
        )
        known = dataclasses.replace(known, data=others)
        parsed = _parse(arguments, known)
    return parsed


def _parse(arguments, known):
    return command.parse(
        Arguments,
        prog="ratn evaluate",
        description=(
            "Top-1, top-5, confusion matrix, calibration and a table of "
            "the classes, for any model file on any data set.\n\n"
            "    ratn evaluate runs/folder/best.keras\n"
            "    ratn evaluate model.tflite --data.source folder "
            "--data.location photos\n\n"
            "For a file in a run folder, what you leave out is as the "
            "run's config says; an image size of 0 is the model's own. Of "
            "images that the run was not trained on and that have no test "
            "part all are tested on, unless --data.test-fraction says "
            "otherwise."
        ),
        args=arguments,
        default=known,
    )


def defaults(arguments):
    """`Arguments` as the run says in whose folder the model file is."""
    for argument in arguments:
        folder = pathlib.Path(argument).absolute().parent
        if argument.endswith(ENDINGS) and (folder / CONFIG).is_file():
            config = read_experiment(
                folder, "Move the model elsewhere, or remove the file."
            )
            network = {field: getattr(config, field) for field in NETWORK}
            seed = config.seed_of_images
            return Arguments(tyro.MISSING, config.data, seed=seed, **network)
    return Arguments(tyro.MISSING, _OTHER_IMAGES)


def evaluate(arguments):
    """Evaluates what `Arguments` names; returns `metrics.report`'s result."""
    if arguments.part not in PARTS:
        raise RunError(
            f"`part` must be one of {', '.join(PARTS)}. "
            f"Received: {arguments.part!r}"
        )
    if arguments.data.source != "digits" and not arguments.data.location:
        raise RunError("Name the images by --data.source and --data.location.")
    out = pathlib.Path(arguments.out)
    make_folder(out, "--out")
    predictor = load_predictor(arguments)
    size = _image_size(arguments, predictor)
    data = dataclasses.replace(arguments.data, image_size=size)
    source = load_source(data, arguments.seed)
    warn_of_changed_images(arguments, source)
    source = in_order_of(source, _class_names(arguments, predictor))
    split = getattr(source, arguments.part)
    run = defaults([arguments.model_file]).data
    if (
        split is None
        and arguments.part == "test"
        and not same_images(run, data)
    ):
        split = source.train
        print(
            f"{data.location or data.source} has no test images of its own: "
            f"all {len(split)} are evaluated. If the model was trained on "
            "some of them, hold out the others as then, by "
            "--data.test-fraction and --seed."
        )
    if split is None:
        raise RunError(
            f"The data have no {arguments.part} images. Choose another --part."
        )
    if predictor is None:
        predictor = KerasPredictor(build_with_weights(arguments, data, source))
    with own_errors(split):
        scores, labels = predictions(
            predictor, split, arguments.batch_size, arguments.tta
        )
    broken = int((~np.isfinite(scores)).any(axis=1).sum())
    if broken:
        raise RunError(
            f"{arguments.model_file} gives NaN for {broken} of {len(scores)} "
            "images; nothing else can be said about it."
        )
    if scores.shape[1] != len(source.class_names):
        raise RunError(
            f"The model has {scores.shape[1]} classes and the data have "
            f"{len(source.class_names)}."
        )
    result = report(scores, labels, source.class_names)
    result = {
        "model": arguments.model_file,
        "part": arguments.part,
        "tta": arguments.tta,
        **result,
    }
    write(result, scores, labels, out)
    print_table(result)
    return result


def warn_of_changed_images(arguments, source):
    """Says so if a run's images are no longer those that it began with."""
    folder = pathlib.Path(arguments.model_file).parent
    run, given = defaults([arguments.model_file]).data, arguments.data
    began_with = read_inputs(folder).get("data")
    if (
        same_images(run, given)
        and began_with is not None
        and began_with != as_far_as_known(source.fingerprint(), began_with)
    ):
        print(
            f"Warning: {given.location or given.source} is no longer what "
            f"{folder} was trained on. Where images are held out, some "
            f"of these {arguments.part} images may have been trained on."
        )


def _class_names(arguments, predictor):
    """The model's classes, `None` where nothing names them."""
    if predictor is not None:
        return predictor.class_names
    # Weights name none; the run around them knows what it was trained on.
    folder = pathlib.Path(arguments.model_file).parent
    return (read_inputs(folder).get("data") or {}).get("classes")


def _image_size(arguments, predictor):
    """The size that was asked for, or else the model's own."""
    wanted = arguments.data.image_size
    own = None if predictor is None else predictor.image_size
    if not (wanted or own):
        raise RunError(
            f"{arguments.model_file} does not say for what images it is: give "
            "--data.image-size."
        )
    if wanted and own and wanted != own:
        raise RunError(
            f"{arguments.model_file} takes images of {own}x{own}. Received: "
            f"--data.image-size {wanted}"
        )
    return wanted or own


def predictions(predict, split, batch_size, tta="none"):
    """Probabilities and labels of a split's readable images, in order.

    Args:
        predict: Function from images to scores, which may say by an attribute
            `gives_probabilities` what these are.
        split: `Split` or `Stream`.
        batch_size: Integer.
        tta: String, see `views`: what the probabilities are means over.
            Defaults to `"none"`.

    Returns:
        Pair of arrays `(images, classes)` and `(images,)`.
    """
    scores, labels = [], []
    for images, truth in _batches(split, batch_size):
        scores.append([predict(view) for view in views(images, tta)])
        labels.append(truth)
    by_view = (np.concatenate(of_view) for of_view in zip(*scores))
    known = getattr(predict, "gives_probabilities", None)
    found = [probabilities(of_view, known) for of_view in by_view]
    return np.mean(found, axis=0), np.concatenate(labels)


def views(images, kind):
    """The images, and how else they may look.

    Args:
        images: Array `(images, height, width, channels)`.
        kind: String, `"none"`, `"mirror"` or `"shifts"`.

    Returns:
        List of arrays of that shape: 1, 2 or 6 of them.
    """
    shown = [images]
    if kind == "shifts":
        # What a shift brings in is the image mirrored at its border.
        border = ((0, 0), (1, 1), (1, 1), (0, 0))
        padded = np.pad(images, border, "reflect")
        shown += [padded[:, :-2, :-2], padded[:, 2:, 2:]]
    if kind != "none":
        shown += [view[:, :, ::-1].copy() for view in shown]
    return shown


def _batches(split, batch_size):
    if not isinstance(split, Split):  # a `data.Stream`
        for inputs, labels, weights in split.evaluation_batches(batch_size):
            real = np.asarray(weights) > 0
            yield np.asarray(inputs["images"])[real], np.asarray(labels)[real]
        return
    for first in range(0, len(split), batch_size):
        numbers = np.arange(first, min(first + batch_size, len(split)))
        images, readable = split.read(numbers)
        yield images[readable], split.labels[numbers][readable]


def load_predictor(arguments):
    """A function from uint8 images to scores.

    Returns `None` for weights, whose network is built when the classes are
    known.
    """
    name, size = arguments.model_file, arguments.data.image_size
    path = pathlib.Path(name)
    if not path.is_file() and ":" in name:
        options = {"input_shape": (size, size, 3)} if size else {}
        return KerasPredictor(keras_ratn.create_model(name, **options))
    if not path.is_file():
        raise RunError(f"There is no model file {path}.")
    if not name.endswith(ENDINGS):
        raise RunError(
            f"The model file must end in {', '.join(ENDINGS[:-1])} or "
            f"{ENDINGS[-1]}. Received: {path}"
        )
    if path.suffix == ".tflite":
        return TFLitePredictor(path)
    if path.suffix == ".keras":
        return KerasPredictor(_load(path))
    if arguments.model is None:
        raise RunError(
            f"{path} holds weights only: name their network by --model."
        )
    return None


def _load(path):
    try:
        check_archive(path)
        return keras.saving.load_model(path, compile=False)
    except (KeyError, OSError, TypeError, ValueError) as error:
        unknown = re.search(r"Could not locate class '\w+'", str(error))
        lines = unknown or str(error).splitlines() or [type(error).__name__]
        raise RunError(f"{path} cannot be loaded: {lines[0]}") from error


def build_with_weights(arguments, data, source):
    """The network that was named, with all of the file's weights."""
    config = Experiment(
        data=data, **{field: getattr(arguments, field) for field in NETWORK}
    )
    network = build_network(config, source.class_names, source.channels)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the error says it all
            network.load_weights(arguments.model_file)
    except (ValueError, OSError, KeyError) as error:
        raise RunError(
            f"{arguments.model_file} does not fit {arguments.model} for "
            f"{len(source.class_names)} classes: {str(error).splitlines()[0]}"
        ) from error
    return network


class KerasPredictor:
    """A function from uint8 images to scores, of a Keras model.

    Args:
        model: `keras.Model` that gives probabilities or logits, and may give
            masks or features besides.
    """

    def __init__(self, model):
        self.model = model
        self.image_size = model.input_shape[2]  # in both data formats
        self.class_names = keras_ratn.class_names(model)
        self.gives_probabilities = _gives_probabilities(model)
        _scores_index(model.outputs)

    def __call__(self, images):
        images = images.astype("float32")
        if self.model.input_shape[-1] != images.shape[-1]:
            images = images.transpose(0, 3, 1, 2)  # channels first
        outputs = self.model.predict_on_batch(images)
        outputs = keras.tree.flatten(outputs)
        scores = outputs[_scores_index(outputs)]
        return keras.ops.convert_to_numpy(scores)


class TFLitePredictor:
    """A function from uint8 images to scores, on one thread.

    Args:
        path: Path of a .tflite file with one input; its batch may be of any
            size.
    """

    def __init__(self, path):
        try:
            from ai_edge_litert.interpreter import Interpreter
        except ModuleNotFoundError as error:
            raise RunError(
                f".tflite files need `pip install keras_ratn[export]`: {error}"
            ) from error

        self.class_names = _embedded_class_names(path)
        self.gives_probabilities = _embedded_scores(path)
        self.interpreter = Interpreter(model_path=str(path), num_threads=1)
        self.interpreter.allocate_tensors()
        self.inputs, *more = self.interpreter.get_input_details()
        outputs = self.interpreter.get_output_details()
        if more:
            raise RunError(f"{path} takes {1 + len(more)} inputs, not images.")
        shapes = [np.empty(output["shape"]) for output in outputs]
        self.outputs = outputs[_scores_index(shapes)]
        self.batch_size, _, self.image_size, _ = map(int, self.inputs["shape"])

    def __call__(self, images):
        size = self.batch_size
        scores = []
        for first in range(0, len(images), size):
            batch = images[first : first + size]
            # Filled up with copies, for files whose batch is fixed.
            filled = batch[np.arange(size) % len(batch)]
            scores.append(self._run(filled)[: len(batch)])
        return np.concatenate(scores)

    def _run(self, value):
        if self.inputs["dtype"] != np.uint8:
            value = _quantized(value.astype("float32"), self.inputs)
        self.interpreter.set_tensor(self.inputs["index"], value)
        self.interpreter.invoke()
        scores = self.interpreter.get_tensor(self.outputs["index"])
        scale, zero_point = self.outputs["quantization"]
        if scale:
            scores = (scores.astype("float32") - zero_point) * scale
        return scores.astype("float32")


def _gives_probabilities(model):
    """Whether it does; `None` if its last layer is somebody's own."""
    try:
        return gives_probabilities(model)
    except ValueError:
        return None


def _embedded_class_names(path):
    """What `ratn export` wrote into a .tflite file; `None` in others."""
    text = _embedded(path, "labels.txt")
    return None if text is None else text.splitlines()


def _embedded_scores(path):
    """Whether the file says that its scores are probabilities."""
    records = json.loads(_embedded(path, "model.json") or "{}")
    known = {"linear": False, "sigmoid": True, "softmax": True}
    return known.get(records.get("scores"))


def _embedded(path, name):
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.read(name).decode()
    except (zipfile.BadZipFile, KeyError):
        return None


def _scores_index(outputs):
    """Which output has one score a class: masks have height and width."""
    for index, output in enumerate(outputs):
        if len(output.shape) == 2:
            return index
    raise RunError(
        "The model gives no scores of classes, but outputs of the shapes "
        f"{', '.join(str(tuple(output.shape)) for output in outputs)}."
    )


def _quantized(value, details):
    scale, zero_point = details["quantization"]
    if not scale:
        return value.astype(details["dtype"])
    limits = np.iinfo(details["dtype"])
    value = np.round(value / scale) + zero_point
    return np.clip(value, limits.min, limits.max).astype(details["dtype"])


def write(result, scores, labels, folder):
    """JSON, pictures, and the predictions that they were made of."""
    publish_text(
        folder / "evaluation.json", json.dumps(result, indent=2) + "\n"
    )
    with published(folder / "predictions.npz") as temporary:
        with open(temporary, "wb") as file:
            np.savez_compressed(file, scores=scores, labels=labels)
    plot(result, scores, labels, folder / "evaluation.png")


def plot(result, scores, labels, path):
    """Confusion matrix and reliability diagram, as a PNG."""
    from matplotlib.figure import Figure

    names = [row["class"] for row in result["classes"]]
    matrix = np.asarray(result["confusion_matrix"], float)
    with np.errstate(invalid="ignore"):  # no images: left blank
        shares = matrix / matrix.sum(axis=1, keepdims=True)
    figure = Figure(figsize=(11, 5), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.imshow(shares, vmin=0, vmax=1, cmap="Blues")
    left.set(xlabel="predicted", ylabel="true", title="share of the true class")
    if len(names) <= 30:
        # Names, not formulas: $ is a character like any other.
        plain = {"parse_math": False}
        left.set_xticks(range(len(names)), names, rotation=90, **plain)
        left.set_yticks(range(len(names)), names, **plain)
    count, confidence, accuracy = calibration_bins(scores, labels)
    used = count > 0
    right.plot([0, 1], [0, 1], color="grey", linestyle=":")
    right.plot(confidence[used], accuracy[used], marker="o")
    error = result["calibration_error"]
    right.set(
        xlabel="confidence",
        ylabel="accuracy",
        title=f"expected calibration error {error:.3f}",
    )
    with published(path) as temporary:
        figure.savefig(temporary)


def print_table(result):
    """The result on the terminal."""
    from rich.console import Console
    from rich.table import Table

    print(
        f"{result['images']} images: top-1 {result['top1']:.2%}, top-5 "
        f"{result['top5']:.2%}, calibration error "
        f"{result['calibration_error']:.3f} (always the most frequent class: "
        f"{result['majority_class']:.2%})"
    )
    table = Table()
    table.add_column("class")
    for name in ("images", "recall", "precision"):
        table.add_column(name, justify="right")
    for row in result["classes"]:
        table.add_row(
            row["class"],
            str(row["images"]),
            _percent(row["recall"]),
            _percent(row["precision"]),
        )
    Console(markup=False).print(table)


def _percent(share):
    return "-" if share is None else f"{share:.1%}"


if __name__ == "__main__":
    sys.exit(main())
