"""Makes the weights of a finished run loadable by name, offline.

    python -m training.release runs/cifar10_short cifar10

writes `keras_ratn/weights/VARIANT_NAME.weights.h5`, in float16, and beside it
a card in JSON, from which the package learns the name. The card's accuracy
is measured with the written file, in float32, on the test images of the run's
own data. Two pictures for the README stand beside it, the run's curves and what
the network attends to in the first test images; they are not installed.
"""

import dataclasses
import datetime
import hashlib
import json
import os
import pathlib
import sys
import tempfile
import time
from typing import Annotated

import h5py
import keras
import numpy as np

import keras_ratn
from keras_ratn import command

from .callbacks import plot_curves
from .checkpoint import publish_text
from .checkpoint import published
from .command_line import tyro
from .data import load_source
from .errors import RunError
from .evaluate import KerasPredictor
from .evaluate import predictions
from .evaluate import TFLitePredictor
from .metrics import expected_calibration_error
from .metrics import report
from .networks import build_network
from .run_folder import CONFIG
from .run_folder import read_experiment
from .run_folder import read_results
from .run_folder import RESULTS
from .temperature import fit_temperature
from .temperature import fold_temperature

LARGEST_FILE = 12 * 2**20
PICTURES = 3  # test images whose attention is drawn


@dataclasses.dataclass(frozen=True)
class Arguments:
    """What becomes of which run."""

    run_dir: Annotated[str, tyro.conf.Positional]
    """Folder of a finished run of one of the package's own networks."""
    name: Annotated[str, tyro.conf.Positional]
    """The name to load the weights by: the data set, or DATASET_RECIPE."""
    temperature: bool = False
    """Divide the logits by the temperature that fits the run's held-out images
    best, in the classifier's weights, so that a confidence is the share of
    images that are right. The calibrated network goes into the run's folder as
    calibrated.keras: export the int8 file from there."""
    int8: str | None = None
    """An all-integer .tflite file of this run, to go along."""
    hardware: str = ""
    """What it was trained on, in words."""
    note: str = ""
    """What else there is to know of how it was trained."""
    licence: str = "Apache-2.0"
    """Licence of the weights."""
    out: str = str(pathlib.Path(keras_ratn.__file__).parent / "weights")
    """Folder of the package's weights."""


def main(arguments=None):
    """Runs the command and returns its exit status."""
    try:
        card = release(
            command.parse(Arguments, prog="training.release", args=arguments)
        )
    except (RunError, ValueError) as error:
        return command.fail("release", error)
    print(json.dumps(card, indent=2))
    return 0


def release(arguments):
    """Writes the weights file and the card; returns the card.

    Args:
        arguments: `Arguments`.

    Returns:
        Dictionary, as in the card's JSON.
    """
    run_dir = pathlib.Path(arguments.run_dir)
    for name in (CONFIG, RESULTS, "last.keras"):
        if not (run_dir / name).is_file():
            raise RunError(
                f"{run_dir} is no finished run: it has no {name}. Train to "
                "the end first."
            )
    config = read_experiment(run_dir, "Put it back as it was.")
    results = read_results(run_dir)
    variant = config.model.lower()
    if variant not in keras_ratn.VARIANTS:
        raise RunError(
            "Only networks that have a builder can be loaded by name. "
            f"Received: model={config.model!r}"
        )
    source = load_source(config.data, config.seed_of_images)
    if source.test is None:
        raise RunError("The run's data have no test images to measure on.")
    out = pathlib.Path(arguments.out)
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"{variant}_{arguments.name}.weights.h5"
    trained = keras.saving.load_model(run_dir / "last.keras")
    calibration = {}
    if arguments.temperature:
        calibration = _calibrate(trained, source)
        with published(run_dir / "calibrated.keras") as temporary:
            trained.save(temporary)
    with published(path) as temporary:
        write_float16(trained, temporary)
        model = _loaded(temporary, config, source)
        measured = _measure(model, source)
    last = results["history"][-1]
    card = {
        "variant": variant,
        "name": arguments.name,
        "source": path.name,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "classes": len(source.class_names),
        "class_names": source.class_names,
        "input_size": config.data.image_size,
        "accuracy": round(100 * measured["top1"], 2),
        "licence": arguments.licence,
        "measured": measured,
        **calibration,
        "validation_accuracy": last.get("val_accuracy"),
        "hardware": arguments.hardware,
        "training_seconds": round(_seconds(results, len(source.train))),
        "seed": config.seed,
        **_int8(arguments, path, source),
        "recipe": config.to_dict(),
        "note": arguments.note,
        "trained_with": results["environment"],
        "date": datetime.date.today().isoformat(),
    }
    stem = f"{variant}_{arguments.name}"
    publish_text(out / f"{stem}.json", json.dumps(card, indent=2) + "\n")
    images, _ = source.test.read(np.arange(PICTURES))
    with published(out / f"{stem}_attention.png") as temporary:
        keras_ratn.plot_attention(model, images, path=temporary)
    plot_curves(results["history"], out / f"{stem}_curves.png")
    return card


def _calibrate(model, source):
    """Folds a temperature in; returns the card's lines about it."""
    if source.validation is None:
        raise RunError(
            "A temperature is fitted on held-out images, and the run had "
            "none (data.validation_fraction). Leave --temperature out."
        )
    scores, labels = predictions(KerasPredictor(model), source.validation, 250)
    temperature = fit_temperature(scores, labels)
    before = {
        part: _calibration_error(model, getattr(source, part))
        for part in ("validation", "test")
    }
    fold_temperature(model, temperature)
    after = _calibration_error(model, source.validation)
    return {
        "temperature": round(temperature, 4),
        "calibration_error_before": before,
        # On the test images: `measured`.
        "validation_calibration_error": after,
    }


def _calibration_error(model, split):
    scores, labels = predictions(KerasPredictor(model), split, 250)
    return expected_calibration_error(scores, labels)


def _int8(arguments, weights, source):
    """The card's lines about the LiteRT file, which it copies."""
    if arguments.int8 is None:
        return {}
    content = pathlib.Path(arguments.int8).read_bytes()
    stem = weights.name.removesuffix(".weights.h5")
    path = weights.with_name(f"{stem}_int8.tflite")
    with published(path) as temporary:
        pathlib.Path(temporary).write_bytes(content)
    predict, milliseconds = TFLitePredictor(path), []

    def timed(images):
        rows = []
        for image in images:
            started = time.perf_counter()
            rows.append(predict(image[None])[0])
            milliseconds.append(1e3 * (time.perf_counter() - started))
        return np.stack(rows)

    scores, labels = predictions(timed, source.test, 250)
    numbers = report(scores, labels, source.class_names)
    return {
        "int8_source": path.name,
        "int8_sha256": hashlib.sha256(content).hexdigest(),
        "int8_accuracy": round(100 * numbers["top1"], 2),
        "int8_milliseconds_on_one_thread": round(np.median(milliseconds), 2),
    }


def write_float16(model, path):
    """Saves a model's weights at half the size of float32.

    Args:
        model: `keras.Model`.
        path: Ends in `.weights.h5`.
    """
    with tempfile.TemporaryDirectory() as folder:
        whole = os.path.join(folder, "whole.weights.h5")
        model.save_weights(whole)
        with h5py.File(whole) as old, h5py.File(path, "w") as new:
            new.attrs.update(old.attrs)

            def copy(name, item):
                if isinstance(item, h5py.Group):
                    new.require_group(name).attrs.update(item.attrs)
                    return
                value = item[()]
                if value.dtype == np.float32:
                    with np.errstate(over="ignore"):
                        value = value.astype("float16")
                    if not np.isfinite(value).all():
                        raise RunError(f"{name} is too large for float16.")
                data = new.create_dataset(name, data=value)
                data.attrs.update(item.attrs)

            old.visititems(copy)
    size = os.path.getsize(path)
    if size > LARGEST_FILE:
        raise RunError(
            f"The weights take {size / 2**20:.1f} MiB; a file in the package "
            f"may take {LARGEST_FILE / 2**20:.0f}."
        )


def _loaded(path, config, source):
    """The network with the weights of the file, in float32."""
    keras.config.set_dtype_policy("float32")
    config = dataclasses.replace(config, init=str(path), freeze_until=None)
    return build_network(config, source.class_names, source.channels)


def _measure(model, source):
    """Accuracy and calibration on the test images."""
    scores, labels = predictions(KerasPredictor(model), source.test, 250)
    numbers = report(scores, labels, source.class_names)
    kept = {k: v for k, v in numbers.items() if isinstance(v, (int, float))}
    return {**kept, "backend": keras.backend.backend()}


def _seconds(results, images):
    """Of all epochs, without evaluation."""
    return sum(images / row["images_per_second"] for row in results["history"])


if __name__ == "__main__":
    sys.exit(main())
