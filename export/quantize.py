"""`ratn quantize`: fine-tunes a trained model so that int8 costs it little."""

import argparse
import json
import pathlib
import time

import keras
import numpy as np

from .benchmark import benchmark
from .convert import load_model
from .images import load_images
from .litert import LiteRTModel
from .published import publishing
from .quantization_aware import quantization_aware
from .tflite import to_tflite

ENGINES = ("keras", "tfmot")
NUM_CALIBRATION_IMAGES = 200


def fine_tune(
    model,
    images,
    labels,
    epochs=2,
    learning_rate=1e-4,
    batch_size=32,
    verbose=1,
):
    """Trains a quantisation-aware model for a few epochs, in place.

    Args:
        model: What `quantization_aware` returned.
        images: Array of images as the model takes them.
        labels: Integer array of classes.
        epochs: Integer. Defaults to `2`.
        learning_rate: Float, of Adam at the start; it falls to zero along a
            cosine. Batch normalization is folded, so more than `1e-4` tends
            to do harm. Defaults to `1e-4`.
        batch_size: Integer. Defaults to `32`.
        verbose: Integer, as in `keras.Model.fit`. Defaults to `1`.

    Returns:
        `keras.callbacks.History`.
    """
    steps = max(1, epochs * -(-len(images) // batch_size))
    schedule = keras.optimizers.schedules.CosineDecay(learning_rate, steps)
    activation = getattr(model.layers[-2], "activation", None)
    probabilities = activation is keras.activations.softmax
    model.compile(
        keras.optimizers.Adam(schedule),
        keras.losses.SparseCategoricalCrossentropy(
            from_logits=not probabilities
        ),
        metrics=["accuracy"],
    )
    return model.fit(
        images, labels, batch_size=batch_size, epochs=epochs, verbose=verbose
    )


def compare(files, images, labels, num_runs=20):
    """Accuracy, size and latency of exported files.

    Args:
        files: Dict from a name to the path of a `.tflite` file.
        images: Array of images, pixels as the files take them.
        labels: Integer array of classes.
        num_runs: Integer. Runs that the latency is the median of. Defaults
            to `20`.

    Returns:
        List of dicts with `name`, `accuracy`, `bytes` and `latency_ms` (one
        thread).
    """
    measured = benchmark(list(files.values()), num_runs, threads=(1,))
    rows = []
    for name, path in files.items():
        scores = LiteRTModel(path).predict(images)["scores"]
        entry = measured["files"][str(path)]
        rows.append(
            {
                "name": name,
                "accuracy": float((scores.argmax(-1) == labels).mean()),
                "bytes": entry["bytes"],
                "latency_ms": entry["runs"][0]["median_ms"],
            }
        )
    return rows


def main(arguments=None):
    """Runs `ratn quantize`.

    Args:
        arguments: Optional list of strings. Defaults to the command line's.

    Returns:
        Integer exit status: 0 when the files were written.
    """
    options = _parser().parse_args(arguments)
    try:
        rows = _quantize(options)
    except ValueError as error:
        print(f"ratn quantize: {error}")
        return 1
    print(table(rows))
    return 0


def table(rows):
    """The comparison as text, a line for each file."""
    lines = [f"{'':24}accuracy   size (kB)   latency (ms)"]
    lines += [
        f"{row['name']:24}{row['accuracy']:8.2%}   {row['bytes'] / 1000:9.1f}"
        f"   {row['latency_ms']:12.2f}"
        for row in rows
    ]
    return "\n".join(lines)


def _parser():
    parser = argparse.ArgumentParser(
        prog="ratn quantize",
        description="Quantisation-aware fine-tuning of a trained model, and "
        "its float, post-training int8 and tuned int8 files.",
    )
    parser.add_argument("model", help="a .keras file")
    parser.add_argument(
        "--data",
        required=True,
        help="training images: folder with a sub-folder for each class, or "
        ".npz file with `images` and `labels`",
    )
    parser.add_argument(
        "--validation",
        help="images to measure accuracy on (default: a fifth of --data, "
        "which is then not trained on)",
    )
    parser.add_argument(
        "--engine",
        default="keras",
        choices=ENGINES,
        help="keras, or tfmot: tensorflow-model-optimization in a process of "
        "its own (default: keras)",
    )
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--learning-rate", type=float, default=1e-4)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--output", help="folder to write to (default: the model's)"
    )
    return parser


def _quantize(options):
    start = time.monotonic()

    def say(text):
        print(f"[{time.monotonic() - start:6.1f} s] {text}", flush=True)

    if options.epochs < 1:
        raise ValueError(
            f"`--epochs` must be 1 or more. Received: {options.epochs}"
        )
    keras.utils.set_random_seed(options.seed)
    model = load_model(options.model)
    training, validation = _data(options, model)
    source = pathlib.Path(options.model)
    folder = pathlib.Path(options.output or source.parent)
    calibration = [training[0][:NUM_CALIBRATION_IMAGES]]
    files = {
        name: folder / f"{source.stem}_{suffix}.tflite"
        for name, suffix in (
            ("float32", "float32"),
            ("post-training int8", "int8"),
            (f"tuned int8 ({options.engine})", f"{options.engine}_int8"),
        )
    }
    float_file, int8_file, tuned_file = files.values()
    common = {"source": str(source)}
    say("writing the float32 and the post-training int8 file")
    to_tflite(model, float_file, **common)
    to_tflite(model, int8_file, "int8", calibration, **common)
    if options.engine == "tfmot":
        from .tfmot_engine import fine_tune_with_tfmot

        say("tuning the tf_keras twin with tensorflow-model-optimization")
        tuned = fine_tune_with_tfmot(
            model,
            *training,
            epochs=options.epochs,
            learning_rate=options.learning_rate,
            batch_size=options.batch_size,
            seed=options.seed,
        )
    else:
        say("calibrating")
        tuned = quantization_aware(model, calibration)
        say("tuning")
        fine_tune(
            tuned,
            *training,
            options.epochs,
            options.learning_rate,
            options.batch_size,
            verbose=2,
        )
    say("writing the tuned model and its int8 file")
    saved = folder / f"{source.stem}_{options.engine}_tuned.keras"
    with publishing(saved) as scratch:
        tuned.save(scratch / saved.name)
    to_tflite(tuned, tuned_file, "int8", calibration, **common)
    say(f"measuring on {len(validation[0])} images")
    rows = compare(files, *validation)
    report = folder / f"{source.stem}_{options.engine}_quantization.json"
    with publishing(report) as scratch:
        (scratch / report.name).write_text(json.dumps(rows, indent=2) + "\n")
    say(f"wrote to {folder}")
    return rows


def _data(options, model):
    """Training and validation images with their classes."""
    shape = tuple(model.inputs[0].shape[1:])
    images, labels = _labelled(options.data, shape, model, options.seed)
    if options.validation is not None:
        return (images, labels), _labelled(
            options.validation, shape, model, options.seed
        )
    held_out = len(images) // 5
    if held_out == 0:
        raise ValueError(
            "There must be 5 images or more to hold some out. Received: "
            f"{len(images)} images"
        )
    return (
        (images[held_out:], labels[held_out:]),
        (images[:held_out], labels[:held_out]),
    )


def _labelled(path, shape, model, seed):
    images, labels, _ = load_images(path, shape, seed=seed)
    if labels is None:
        raise ValueError(
            "Fine-tuning needs the classes of the images: a folder with a "
            "sub-folder for each, or `labels` in the .npz file. "
            f"Received: {str(path)!r}, which has none."
        )
    classes = model.outputs[0].shape[-1]
    if np.max(labels) >= classes:
        raise ValueError(
            f"The model knows {classes} classes. Received: {str(path)!r} "
            f"with {np.max(labels) + 1}"
        )
    return images, labels


if __name__ == "__main__":
    raise SystemExit(main())
