"""`ratn evaluate`: how good a model file is on a data set."""

import dataclasses
import json
import pathlib
import sys
from typing import Annotated

import keras
import numpy as np
import tyro

import keras_ratn

from .checkpoint import publish_text
from .checkpoint import published
from .config import DataConfig
from .data import Split
from .errors import RunError
from .metrics import calibration_bins
from .metrics import report
from .networks import architecture
from .sources import load_source

PARTS = ("test", "validation", "train")


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
    """The network that .weights.h5 belongs to."""
    batch_size: int = 64
    """Images at a time."""
    seed: int = 1704
    """Of held-out images: the one of the training run."""
    out: str = "evaluation"
    """Folder for evaluation.json, evaluation.png and predictions.npz."""


def main(arguments=None):
    """Runs `ratn evaluate` and returns its exit status."""
    try:
        parsed = tyro.cli(
            Arguments,
            prog="ratn evaluate",
            description=(
                "Top-1, top-5, confusion matrix, calibration and a table of "
                "the classes, for any model file on any data set.\n\n"
                "    ratn evaluate runs/folder/best.keras --data.source "
                "folder --data.location photos --data.image-size 96"
            ),
            args=arguments,
            default=Arguments(tyro.MISSING, DataConfig()),
        )
        evaluate(parsed)
    except (RunError, ValueError) as error:
        print(f"ratn evaluate: {error}", file=sys.stderr)
        return 1
    return 0


def evaluate(arguments):
    """Evaluates what `Arguments` names; returns `metrics.report`'s result."""
    if arguments.part not in PARTS:
        raise RunError(
            f"`part` must be one of {', '.join(PARTS)}. "
            f"Received: {arguments.part!r}"
        )
    source = load_source(arguments.data, arguments.seed)
    split = getattr(source, arguments.part)
    if split is None:
        raise RunError(
            f"The data have no {arguments.part} images. Choose another --part."
        )
    predict = load_predictor(arguments, source)
    scores, labels = predictions(predict, split, arguments.batch_size)
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
    result = {"model": arguments.model_file, "part": arguments.part, **result}
    write(result, scores, labels, pathlib.Path(arguments.out))
    print_table(result)
    return result


def predictions(predict, split, batch_size):
    """Scores and labels of the readable images of a split, in order."""
    scores, labels = [], []
    for images, truth in _batches(split, batch_size):
        scores.append(predict(images))
        labels.append(truth)
    return np.concatenate(scores), np.concatenate(labels)


def _batches(split, batch_size):
    if not isinstance(split, Split):  # a `streams.Stream`
        for inputs, labels, weights in split.evaluation_batches(batch_size):
            real = np.asarray(weights) > 0
            yield np.asarray(inputs["images"])[real], np.asarray(labels)[real]
        return
    for first in range(0, len(split), batch_size):
        numbers = np.arange(first, min(first + batch_size, len(split)))
        images, readable = split.read(numbers)
        yield images[readable], split.labels[numbers][readable]


def load_predictor(arguments, source):
    """A function from uint8 images to probabilities."""
    path = pathlib.Path(arguments.model_file)
    size = arguments.data.image_size
    shape = (size, size, source.channels)
    if not path.is_file() and ":" in arguments.model_file:
        model = keras_ratn.create_model(arguments.model_file, input_shape=shape)
    elif not path.is_file():
        raise RunError(f"There is no model file {path}.")
    elif path.suffix == ".tflite":
        return tflite_predictor(path)
    elif path.name.endswith(".weights.h5"):
        if arguments.model is None:
            raise RunError(
                f"{path} holds weights only: name their network by --model."
            )
        model = keras_ratn.ResidualAttentionNetwork(
            architecture(arguments.model),
            weights=str(path),
            input_shape=shape,
            classes=len(source.class_names),
        )
    elif path.suffix == ".keras":
        model = keras.saving.load_model(path, compile=False)
    else:
        raise RunError(
            "The model file must end in .keras, .weights.h5 or .tflite. "
            f"Received: {path}"
        )
    return lambda images: keras.ops.convert_to_numpy(
        model.predict_on_batch(images.astype("float32"))
    )


def tflite_predictor(path):
    """A function from uint8 images to probabilities, on one thread."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(path), num_threads=1)
    interpreter.allocate_tensors()
    (inputs,) = interpreter.get_input_details()
    (outputs,) = interpreter.get_output_details()

    def predict_one(image):
        value = image[None]
        if inputs["dtype"] != np.uint8:
            value = _quantized(value.astype("float32"), inputs)
        interpreter.set_tensor(inputs["index"], value)
        interpreter.invoke()
        scores = interpreter.get_tensor(outputs["index"])[0]
        scale, zero_point = outputs["quantization"]
        if scale:
            scores = (scores.astype("float32") - zero_point) * scale
        return scores.astype("float32")

    return lambda images: np.stack([predict_one(image) for image in images])


def _quantized(value, details):
    scale, zero_point = details["quantization"]
    if not scale:
        return value.astype(details["dtype"])
    limits = np.iinfo(details["dtype"])
    value = np.round(value / scale) + zero_point
    return np.clip(value, limits.min, limits.max).astype(details["dtype"])


def write(result, scores, labels, folder):
    """JSON, pictures, and the predictions that they were made of."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"Cannot make {folder}: {error.strerror}") from error
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
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    figure = Figure(figsize=(11, 5), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.imshow(shares, vmin=0, vmax=1, cmap="Blues")
    left.set(xlabel="predicted", ylabel="true", title="share of the true class")
    if len(names) <= 30:
        left.set_xticks(range(len(names)), names, rotation=90)
        left.set_yticks(range(len(names)), names)
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
            f"{row['recall']:.1%}",
            f"{row['precision']:.1%}",
        )
    Console().print(table)


if __name__ == "__main__":
    sys.exit(main())
