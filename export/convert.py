"""`ratn export`: from a saved model to a file for phones or servers."""

import pathlib
import re
import time

import keras

import keras_ratn
from keras_ratn import command
from keras_ratn.archives import check_archive
from keras_ratn.keras_settings import standard_settings

from . import metadata
from .errors import EXPECTED
from .images import load_images
from .onnx_file import to_onnx
from .opened_graph import image_shape
from .saved_model import to_saved_model
from .tflite import is_quantization_aware
from .tflite import to_tflite
from .tflite import TYPES
from .training_runs import images_of_run


def main(arguments=None):
    """Runs `ratn export`.

    Args:
        arguments: Optional list of strings. Defaults to the command line's.

    Returns:
        Integer exit status: 0 when the file was written.
    """
    options = _parser().parse_args(arguments)
    start = time.monotonic()
    try:
        path = _export(options)
    except EXPECTED as error:
        return command.fail("ratn export", error)
    _say(f"wrote {path}, labels.txt and model.json", start)
    floats = metadata.read(path).get("float_operations")
    if floats:
        found = ", ".join(f"{n} {name}" for name, n in floats.items())
        _say(f"for want of 8-bit kernels it computes in floats: {found}", start)
    return 0


@standard_settings()
def load_model(path):
    """Loads a `.keras` file or weights by name, or says what is wrong."""
    if not pathlib.Path(path).is_file():
        if ":" in str(path):
            return keras_ratn.create_model(str(path))
        raise ValueError(
            "There must be a saved model, a .keras file, or a name of "
            f"`keras_ratn.list_weights()`. Received: {path!r}, which does not "
            "exist."
        )
    check_archive(path)
    try:
        return keras.saving.load_model(path, compile=False)
    except (KeyError, OSError, TypeError, ValueError) as error:
        text = str(error)
        unknown = re.search(r"Could not locate class '(\w+)'", text)
        if unknown is None:
            reason = next(iter(text.splitlines()), type(error).__name__)
            raise ValueError(f"{path} cannot be loaded: {reason}") from error
        name = re.search(r"'config': {.*?'name': '(\w+)'", text)
        raise ValueError(
            f"{path} holds the layer {name[1] if name else ''!r} of class "
            f"{unknown[1]}, which neither Keras nor keras_ratn knows. Replace "
            "it by layers of theirs."
        ) from error


def output_stem(model):
    """Path of what is made from a model, as yet without an ending."""
    path = pathlib.Path(model)
    if not path.is_file():  # weights by name
        path = pathlib.Path(str(model).replace(":", "_"))
    return path.with_suffix("")


def _parser():
    parser = command.Parser(
        prog="ratn export",
        description="Writes a saved model as a LiteRT or ONNX file or as a "
        "SavedModel.",
    )
    parser.add_argument(
        "model", help="a .keras file, or such as CifarAttention56:cifar10"
    )
    parser.add_argument(
        "--format",
        default="tflite",
        choices=("tflite", "saved_model", "onnx"),
        help="what to write (default: tflite)",
    )
    parser.add_argument(
        "--quantize",
        default="none",
        choices=("none", "float16", "dynamic", "int8"),
        help="precision of a tflite file (default: none, float32)",
    )
    parser.add_argument(
        "--data",
        help="images from which int8 learns ranges: a folder, an .npz file, "
        "a TFDS name or `digits` (default: the training images, if the model "
        "is in its run folder)",
    )
    parser.add_argument(
        "--num-images",
        type=int,
        default=200,
        help="how many images of --data to use (default: 200)",
    )
    parser.add_argument(
        "--input-type",
        default="uint8",
        choices=TYPES,
        help="what an int8 file takes (default: uint8)",
    )
    parser.add_argument(
        "--output-type",
        default="float32",
        choices=TYPES,
        help="what an int8 file returns (default: float32)",
    )
    parser.add_argument(
        "--batch-size", type=int, default=1, help="of a tflite file"
    )
    parser.add_argument(
        "--size",
        type=int,
        nargs=2,
        metavar=("HEIGHT", "WIDTH"),
        help="of the images, for models without a known size",
    )
    parser.add_argument(
        "--with-mask",
        action="store_true",
        help="also return the last Attention Module's mask",
    )
    parser.add_argument(
        "--logits",
        action="store_true",
        help="leave out the softmax at the end, whose 8 bits are few for many "
        "classes",
    )
    parser.add_argument("--labels", help="text file, one class name a line")
    parser.add_argument(
        "--output", help="path to write (default: beside the model)"
    )
    return parser


def _export(options):
    start = time.monotonic()
    if options.format != "tflite" and options.quantize != "none":
        raise ValueError(
            "`--quantize` is for tflite files. "
            f"Received: --format {options.format} --quantize {options.quantize}"
        )
    _say(f"loading {options.model}", start)
    model = load_model(options.model)
    labels = options.labels
    if labels is not None:
        labels = pathlib.Path(labels).read_text("utf-8").splitlines()
    own = image_shape(model)
    shape = None if options.size is None else (*options.size, own[-1])
    common = {
        "input_shape": shape,
        "with_mask": options.with_mask,
        "labels": labels,
        "source": str(options.model),
        "logits": options.logits,
    }
    stem = output_stem(options.model)
    if options.format == "saved_model":
        _say("rewriting and saving the graph", start)
        return to_saved_model(
            model, options.output or f"{stem}_saved_model", **common
        )
    if options.format == "onnx":
        _say("rewriting and converting the graph", start)
        return to_onnx(model, options.output or f"{stem}.onnx", **common)
    images = None
    if options.quantize == "int8" and not is_quantization_aware(model):
        _say(f"reading images from {options.data or 'its training'}", start)
        images = _images(options, shape or own)
    _say("rewriting and converting the graph", start)
    return to_tflite(
        model,
        options.output or f"{stem}_{options.quantize}.tflite",
        None if options.quantize == "none" else options.quantize,
        representative_data=None if images is None else [images],
        input_type=options.input_type,
        output_type=options.output_type,
        batch_size=options.batch_size,
        **common,
    )


def _images(options, shape):
    """The images from which int8 learns, `None` where none are known."""
    if None in shape:
        raise ValueError(
            "The model takes images of any size. Pass --size HEIGHT WIDTH."
        )
    if options.data is not None:
        return load_images(options.data, shape, options.num_images)[0]
    found = images_of_run(options.model, shape, options.num_images)
    return None if found is None else found[0]


def _say(text, start):
    print(f"[{time.monotonic() - start:6.1f} s] {text}", flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
