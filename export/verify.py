"""`ratn verify`: does an exported file compute what its model does?"""

import dataclasses
import pathlib

import numpy as np

from keras_ratn import command
from keras_ratn.keras_settings import standard_settings
from keras_ratn.predictors import gives_probabilities

from . import metadata
from .convert import load_model
from .errors import EXPECTED
from .images import load_images
from .litert import LiteRTModel
from .opened_graph import channels_last_float32_copy
from .opened_graph import elementary_layers
from .opened_graph import functional
from .opened_graph import image_shape
from .opened_graph import input_tensor
from .opened_graph import is_channels_first
from .representative import check_pixels
from .training_runs import images_of_run

# Precision of the file -> largest difference of a score that is let pass,
# and smallest share of images with the same best class.
LIMITS = {
    "none": (1e-4, 0.999),
    "float16": (2e-2, 0.999),
    "dynamic": (0.1, 0.99),
    "int8": (0.5, 0.95),
}


@dataclasses.dataclass(frozen=True)
class Comparison:
    """How an exported file differs from its model, on some images.

    Args:
        num_images: Integer.
        largest_difference: Float. Of any score of any image.
        mean_difference: Float. Over all scores.
        agreement: Float. Share of images with the same best class.
        class_drop: Dict from class name to how much accuracy the file loses
            in it; empty without the images' classes.
        max_difference: Float. The limit for `largest_difference`.
        min_agreement: Float. The limit for `agreement`.
    """

    num_images: int
    largest_difference: float
    mean_difference: float
    agreement: float
    class_drop: dict
    max_difference: float
    min_agreement: float

    @property
    def passes(self):
        """Whether both limits are kept."""
        return bool(
            self.largest_difference <= self.max_difference
            and self.agreement >= self.min_agreement
        )

    def __str__(self):
        lines = [
            f"images              {self.num_images}",
            f"largest difference  {self.largest_difference:.3g}"
            f"  (limit {self.max_difference:g})",
            f"mean difference     {self.mean_difference:.3g}",
            f"top-1 agreement     {self.agreement:.2%}"
            f"  (limit {self.min_agreement:.1%})",
        ]
        lines += [
            f"  {name}: accuracy lower by {100 * drop:.1f} points"
            for name, drop in self.class_drop.items()
            if drop > 0
        ]
        return "\n".join([*lines, "PASSED" if self.passes else "FAILED"])


def verify(
    model,
    path,
    images,
    labels=None,
    max_difference=None,
    min_agreement=None,
):
    """Compares a Keras model with a file exported from it.

    Of a file without the model's softmax, the scores get it here. A model in
    half precision is taken for what its weights give in float32, as files are.

    Args:
        model: Keras model.
        path: Path of a `.tflite` or `.onnx` file or of a SavedModel folder.
        images: Array of images as the file takes them: channels-last,
            whatever the model's layout.
        labels: Optional integer array with the classes of the images.
        max_difference: Float. Largest difference of a score that passes.
            Defaults to the limit for the file's precision in `LIMITS`, times
            the largest score where scores are no probabilities.
        min_agreement: Float. Smallest share of images with the same best
            class that passes. Defaults likewise.

    Returns:
        `Comparison`.

    Example:

    >>> comparison = keras_ratn.export.verify(model, "model.tflite", images)
    >>> comparison.passes
    True
    """
    path, images = pathlib.Path(path), np.asarray(images, "float32")
    entry = _record_of(path)
    shape, run = _opened(path)
    for taken, taker in ((shape, path.name), (image_shape(model), "the model")):
        _check_shapes(taken, taker, images)
    if metadata.takes_pixels(model):
        check_pixels(images)
    actual_scores = run(images)
    if entry and entry.get("postprocessing") == "softmax":
        actual_scores = _softmax(actual_scores)
    expected = _expected(model, images)
    classes = expected.shape[-1]
    names = metadata.class_names(model)
    if entry and entry["classes"] != names and "class_0" not in names:
        raise ValueError(
            f"{path.name} was exported from a model with other classes. "
            f"Received: {entry['classes'][:3]}... in its record, "
            f"{names[:3]}... in the model"
        )
    if actual_scores.shape[-1] != classes:
        raise ValueError(
            f"{path.name} was exported from another model. Received: "
            f"{actual_scores.shape[-1]} scores from the file, {classes} from "
            "the model"
        )
    if labels is not None and np.max(labels) >= classes:
        raise ValueError(
            f"The classes of the images must be below {classes}. Received: "
            f"classes up to {np.max(labels)}"
        )
    limits = LIMITS[entry["quantization"] if entry else "none"]
    difference = np.abs(actual_scores - expected)
    if max_difference is None:
        # Probabilities are at most 1, logits as large as they are.
        unit = 1.0 if gives_probabilities(model) else np.abs(expected).max()
        max_difference = float(limits[0] * unit)
    best, expected_best = actual_scores.argmax(-1), expected.argmax(-1)
    return Comparison(
        num_images=len(images),
        largest_difference=float(difference.max()),
        mean_difference=float(difference.mean()),
        agreement=float((best == expected_best).mean()),
        class_drop=_class_drop(best, expected_best, labels, names),
        max_difference=max_difference,
        min_agreement=limits[1] if min_agreement is None else min_agreement,
    )


def _record_of(path):
    """The file's record, checked against the file."""
    entry = metadata.read(path)
    checksum = (entry or {}).get("sha256")
    if checksum and path.exists() and checksum != metadata.sha256(path):
        raise ValueError(
            f"{path.name} is not the file that {metadata.RECORDS} beside it "
            "describes: its checksum differs. Export it again."
        )
    return entry


def _opened(path):
    """Shape of the images that a file takes, and what runs it on them."""
    if path.is_dir():
        return _opened_saved_model(path)
    if path.suffix == ".onnx":
        return _opened_onnx(path)
    file = LiteRTModel(path)

    def run(images):
        outputs = file.predict(images)
        return outputs.get("scores", next(iter(outputs.values())))

    return file.input_shape[1:], run


def _opened_saved_model(path):
    import tensorflow as tf

    served = tf.saved_model.load(str(path)).signatures["serving_default"]
    shape = served.structured_input_signature[1]["images"].shape

    def run(images):
        batches = [
            served(images=tf.constant(images[i : i + 32]))["scores"].numpy()
            for i in range(0, len(images), 32)
        ]
        return np.concatenate(batches)

    return tuple(shape)[1:], run


def _opened_onnx(path):
    if not path.is_file():
        raise ValueError(
            f"There must be an .onnx file. Received: {str(path)!r}, which "
            "does not exist."
        )
    try:
        import onnxruntime
    except ModuleNotFoundError as error:
        raise ValueError(
            f"Checking ONNX files needs `pip install keras_ratn[onnx]`: {error}"
        ) from error
    try:
        session = onnxruntime.InferenceSession(str(path))
    except Exception as error:  # of classes that it does not export
        raise ValueError(
            f"ONNX Runtime cannot run {path}: {str(error).splitlines()[0]}"
        ) from error
    (taken,) = session.get_inputs()

    def run(images):
        batches = [
            session.run(None, {taken.name: images[i : i + 32]})[0]
            for i in range(0, len(images), 32)
        ]
        return np.concatenate(batches)

    return tuple(taken.shape[1:]), run


def _expected(model, images):
    """The model's scores, of its weights in float32 whatever its precision."""
    if any(x.compute_dtype != "float32" for x in elementary_layers(model)):
        with standard_settings():
            inputs = input_tensor(model, images.shape[1:])
            copy = channels_last_float32_copy(functional(model), inputs)
            return copy.predict(images, verbose=0)
    if is_channels_first(model):
        images = images.transpose(0, 3, 1, 2)
    return model.predict(images, verbose=0)


def _softmax(logits):
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def _check_shapes(shape, taker, images):
    if any(s not in (None, t) for s, t in zip(shape, images.shape[1:])):
        raise ValueError(
            f"{taker} takes images of {tuple(shape)}. Received: images of "
            f"{images.shape[1:]}. Was the file exported from another model?"
        )


def _class_drop(best, expected_best, labels, names):
    if labels is None:
        return {}
    drops = {}
    for index in np.unique(labels):
        of_class = labels == index
        before = (expected_best[of_class] == index).mean()
        after = (best[of_class] == index).mean()
        drops[names[index]] = float(before - after)
    return drops


def main(arguments=None):
    """Runs `ratn verify`.

    Args:
        arguments: Optional list of strings. Defaults to the command line's.

    Returns:
        Integer exit status: 0 when the file keeps the limits, 1 when it does
        not, 2 when they could not be compared.
    """
    parser = command.Parser(
        prog="ratn verify",
        description="Compares a saved model with a file exported from it.",
    )
    parser.add_argument("model", help="a .keras file")
    parser.add_argument(
        "file", help="a .tflite or .onnx file or a SavedModel folder"
    )
    parser.add_argument(
        "--data",
        help="images to compare on: a folder, an .npz file, a TFDS name or "
        "`digits` (default: the test images, if the model is in its run "
        "folder)",
    )
    parser.add_argument(
        "--num-images", type=int, default=500, help="at most (default: 500)"
    )
    parser.add_argument("--max-difference", type=float, help="of a score")
    parser.add_argument("--min-agreement", type=float, help="of best classes")
    options = parser.parse_args(arguments)
    try:
        comparison = _verify(options)
    except EXPECTED as error:
        return command.fail("ratn verify", error, status=2)
    print(comparison)
    return 0 if comparison.passes else 1


def _verify(options):
    model, file = load_model(options.model), pathlib.Path(options.file)
    shape, limit = _opened(file)[0], options.num_images
    if options.data is not None:
        found = load_images(options.data, shape, limit, part="test")
    else:
        found = images_of_run(options.model, shape, limit, part="test")
    if found is None:
        raise ValueError(
            "Comparing needs images, and there is no run folder of `ratn "
            f"train` around {options.model!r}. Pass --data FOLDER."
        )
    images, labels, names = found
    known = metadata.class_names(model)
    named = "class_0" not in known
    if names and names != known and (named or len(names) != len(known)):
        print(
            "No table of classes: those of the images, such as "
            f"{names[0]!r}, are not the model's."
        )
        labels = None
    return verify(
        model,
        file,
        images,
        labels,
        options.max_difference,
        options.min_agreement,
    )


if __name__ == "__main__":
    raise SystemExit(main())
