"""`ratn quantize`: fine-tunes a trained model so that int8 costs it little."""

import argparse
import dataclasses
import json
import pathlib
import sys
import time
from typing import Annotated
from typing import Literal

import keras

import keras_ratn
from keras_ratn import command

from . import training_runs
from .benchmark import benchmark
from .convert import load_model
from .convert import output_stem
from .errors import EXPECTED
from .images import source_of
from .litert import LiteRTModel
from .opened_graph import deep_recursion
from .opened_graph import image_shape
from .published import publishing
from .quantization_aware import quantization_aware
from .tflite import check_backend
from .tflite import to_tflite

ENGINES = ("keras", "tfmot")
NUM_CALIBRATION_IMAGES = 200
NUM_TEST_IMAGES = 2000

_DESCRIPTION = """\
Quantisation-aware fine-tuning of a trained model: a training run of its own,
with the options of `ratn train`, which the same command resumes. It leaves
float32, post-training int8 and tuned int8 files in the run folder, and a table
of them. A model in its run folder is tuned on what it was trained on; --data
names other images: a folder, an .npz file, a TFDS name or `digits`."""


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
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    try:
        check_backend()
        with deep_recursion():
            rows = _quantize(*_parse(arguments))
    except (*EXPECTED, training_runs.training("errors").RunError) as error:
        return command.fail("ratn quantize", error)
    if rows is not None:
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


def _parse(arguments):
    """The model, and the command line after it: that of `ratn train`."""
    try:
        import tyro
    except ModuleNotFoundError as error:
        raise ValueError(
            f"Fine-tuning needs `pip install keras_ratn[train]`: {error}"
        ) from error
    path, rest = (arguments or ["--help"])[0], arguments[1:]
    if path in ("-h", "--help"):
        path, rest, model = "MODEL", ["--help"], None
    else:
        model = load_model(path)
    rest = _with_place(rest)
    config = training_runs.training("config")

    @dataclasses.dataclass(frozen=True)
    class Arguments:
        experiment: Annotated[config.Experiment, tyro.conf.arg(name="")]
        engine: Annotated[
            Literal[ENGINES],
            tyro.conf.arg(
                help="keras, or tfmot: tensorflow-model-optimization in a "
                "process of its own, without augmentation and resuming."
            ),
        ] = "keras"
        run_dir: Annotated[
            str | None,
            tyro.conf.arg(
                help="Folder of the run and its files; the same command "
                "resumes it. Defaults to MODEL_ENGINE_int8."
            ),
        ] = None
        dry_run: Annotated[
            bool, tyro.conf.arg(help="Print the plan; tune nothing.")
        ] = False

    parsed = command.parse(
        Arguments,
        prog=f"ratn quantize {path}",
        description=_DESCRIPTION,
        default=Arguments(_fine_tuning(path, model, rest, config)),
        args=rest,
        config=(tyro.conf.FlagCreatePairsOff,),
    )
    folder = parsed.run_dir or f"{output_stem(path)}_{parsed.engine}_int8"
    return model, dataclasses.replace(parsed, run_dir=folder)


def _with_place(arguments):
    """Spells `--data PLACE` out, in the options of `ratn train`."""
    found, rest = [], iter(arguments)
    for argument in rest:
        name, _, place = argument.partition("=")
        if name != "--data":
            found.append(argument)
            continue
        place = place or next(rest, "")
        found += ["--data.source", source_of(place), "--data.location", place]
    return found


def _fine_tuning(path, model, arguments, config):
    """The experiment that tunes a model: its own, with a few small steps."""
    base = None if model is None else training_runs.experiment_of(path)
    if base is None:
        base = config.Experiment(
            model=pathlib.Path(path).stem,
            batch_size=32,
            data=_stated_data(path, model, arguments, config),
            augmentation=config.AugmentationConfig(flip=False, shift=0.0),
        )
    return dataclasses.replace(
        base,
        init=str(path),
        freeze_until=None,
        # Whatever --seed may say: else it is tested on what it was trained on.
        data_seed=base.seed_of_images,
        initialization=config.InitializationConfig(),
        batch_norm_momentum=None,
        epochs=2,
        optimizer=config.OptimizerConfig(
            "adamw",
            # Batch normalization is folded: more tends to do harm.
            learning_rate=1e-4,
            learning_rate_batch=base.batch_size * base.runtime.accumulation,
            schedule="cosine",
            weight_decay=0.0,
        ),
        runtime=dataclasses.replace(
            base.runtime, precision="float32", remat=False, resident=False
        ),
    )


def _stated_data(path, model, arguments, config):
    """The images that the command line names for a model without a run."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--data.source", dest="source", default="tfds")
    parser.add_argument("--data.location", dest="location", default="")
    stated, _ = parser.parse_known_args(arguments)
    if model is None:  # for the help
        return config.DataConfig(source="digits")
    if not stated.location and stated.source != "digits":
        raise ValueError(
            "Fine-tuning needs images and their classes, and "
            f"{path!r} is in no run folder of `ratn train`. Pass --data "
            "FOLDER, with a sub-folder for each class."
        )
    size, *_ = image_shape(model)
    return config.DataConfig(stated.source, stated.location, image_size=size)


def _quantize(model, parsed):
    """Tunes, exports and compares; `None` for a dry run."""
    start = time.monotonic()

    def say(text):
        print(f"[{time.monotonic() - start:6.1f} s] {text}", flush=True)

    config = parsed.experiment
    if config.optimizer.ema:
        raise ValueError(
            "`optimizer.ema` averages weights, which the ranges of the "
            f"tensors would not fit. Received: {config.optimizer.ema}"
        )
    if not parsed.dry_run:
        run_folder = training_runs.training("run_folder")
        run_folder.check_folder(parsed.run_dir, config)
    say("reading images")
    source = training_runs.open_source(config.data, config.seed_of_images)
    source = training_runs.training("classes").in_order_of(
        source, keras_ratn.class_names(model)
    )
    _check_classes(model, source)
    test = training_runs.test_split(source)
    calibration, _ = training_runs.drawn(source.train, NUM_CALIBRATION_IMAGES)
    folder = pathlib.Path(parsed.run_dir)
    tune = _tune_by_tfmot if parsed.engine == "tfmot" else _tune
    tuned = tune(model, parsed, source, [calibration], say)
    if parsed.dry_run:
        return None
    files = {
        "float32": folder / "float32.tflite",
        "post-training int8": folder / "int8.tflite",
        f"tuned int8 ({parsed.engine})": folder / "tuned_int8.tflite",
    }
    float_file, int8_file, tuned_file = files.values()
    common = {"source": config.init}
    say("writing the float32 file")
    to_tflite(model, float_file, **common)
    say("writing the post-training int8 file")
    to_tflite(model, int8_file, "int8", [calibration], **common)
    say("writing the tuned int8 file")
    to_tflite(tuned, tuned_file, "int8", [calibration], **common)
    images, labels = training_runs.drawn(test, NUM_TEST_IMAGES)
    say(f"measuring on {len(images)} images")
    rows = compare(files, images, labels)
    report = folder / "quantization.json"
    with publishing(report) as scratch:
        (scratch / report.name).write_text(json.dumps(rows, indent=2) + "\n")
    say(f"wrote to {folder}")
    return rows


def _check_classes(model, source):
    classes, known = model.outputs[0].shape[-1], len(source.class_names)
    if known != classes:
        raise ValueError(
            f"The model knows {classes} classes. Received: images of {known}: "
            f"{', '.join(source.class_names[:10])}"
        )


def _tune(model, parsed, source, calibration, say):
    """Runs the training package on the quantisation-aware model."""
    train = training_runs.training("train")
    say("calibrating")
    aware = quantization_aware(model, calibration)

    def build(*_):
        # Made anew, because this is called where several devices share it.
        copy = keras.models.clone_model(aware)
        copy.set_weights(aware.get_weights())
        return copy

    say("tuning")
    train.run(
        parsed.experiment,
        parsed.run_dir,
        parsed.dry_run,
        source=source,
        build=build,
    )
    if parsed.dry_run:
        return None
    return keras.saving.load_model(
        pathlib.Path(parsed.run_dir) / "last.keras", compile=False
    )


def _tune_by_tfmot(model, parsed, source, calibration, say):
    """Hands all training images to a process of its own."""
    from .tfmot_engine import check_tfmot
    from .tfmot_engine import fine_tune_with_tfmot

    check_tfmot()
    config = parsed.experiment
    if not hasattr(source.train, "read"):
        raise ValueError(
            "The engine 'tfmot' takes data sets that fit into memory. "
            f"Received: {config.data.location}. Use --engine keras."
        )
    if parsed.dry_run:
        print(f"tfmot: {config.epochs} epochs of {len(source.train)} images")
        return None
    run_folder = training_runs.training("run_folder")
    folder = run_folder.open_run(parsed.run_dir, config)
    inputs = run_folder.check_inputs(folder, config, source)
    run_folder.record_inputs(folder, inputs)
    say("tuning the tf_keras twin with tensorflow-model-optimization")
    images, labels = training_runs.drawn(source.train, len(source.train))
    tuned, log = fine_tune_with_tfmot(
        model,
        images,
        labels,
        epochs=config.epochs,
        learning_rate=training_runs.training("optimization").learning_rate(
            config
        ),
        batch_size=config.batch_size,
        seed=config.seed,
    )
    with publishing(folder / "last.keras") as scratch:
        tuned.save(scratch / "last.keras")
        (scratch / "log.csv").write_text(log)
    return tuned


if __name__ == "__main__":
    raise SystemExit(main())
