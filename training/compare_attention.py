"""`ratn compare-attention`: one trunk, trained with each attention in turn."""

import dataclasses
import importlib
import json
import math
import pathlib
import statistics
import sys

import keras
import numpy as np

import keras_ratn
from keras_ratn import command

from . import configs
from . import train
from .checkpoint import publish_text
from .checkpoint import published
from .command_line import tyro
from .config import AugmentationConfig
from .config import DataConfig
from .data import load_source
from .data import num_steps
from .data import Split
from .errors import LossError
from .errors import RunError
from .networks import build_network
from .run_folder import check_folder
from .run_folder import COMPARISON
from .runtime import prepare_keras

# Those that need no options of their own, one of each kind.
ATTENTIONS = (
    "none",
    "soft_mask",
    "se",
    "eca",
    "cbam",
    "bam",
    "sc",
    "psa",
    "position",
    "channel_affinity",
    "emsa",
    "pixel",
    "external",
    "highway",
)
LARGEST_SMALL_IMAGE = 64  # pixels, for a network with the CIFAR stem
REPRESENTATIVE_IMAGES = 128


@dataclasses.dataclass(frozen=True)
class Arguments:
    """What is compared, on what, and for how long."""

    data: str = "digits"
    """`digits` (scikit-learn's), a folder with one sub-folder of images for
    each class, an .npz file, or the name of a TensorFlow data set."""
    budget: int = 500
    """Training steps of each attention, brought up to whole epochs."""
    attentions: tuple[str, ...] = ATTENTIONS
    """Short names of `keras_ratn.layers.list_attention_layers()`, `soft_mask`
    for the Attention Module's own, `none` for the trunk alone."""
    model: str | None = None
    """The trunk: a network of `ratn train` with Attention Modules, whose soft
    masks the attentions replace, or a ResNet, in whose blocks they stand.
    Defaults to `common_ground`, or `common_ground_photos` above 64 pixels."""
    image_size: int | None = None
    """Height and width. Defaults to 96 for a folder, else to 32."""
    batch_size: int = 64
    """Images of one step."""
    learning_rate: float = 0.1
    """Of SGD with momentum, down to 0 by a cosine."""
    seeds: int = 1
    """Trainings of each attention, with the seeds 1, 2, ...; one tells little
    where the accuracies lie close together."""
    max_images: int | None = None
    """Of each split, for a quick look."""
    out: str = "runs/compare_attention"
    """Where the runs' folders, table and plot are; finished runs are not run
    again."""


def main(arguments=None):
    """Runs `ratn compare-attention` and returns its exit status."""
    parsed = command.parse(
        Arguments,
        prog="ratn compare-attention",
        description=(
            "Trains the same trunk with each attention for the same steps, "
            "and prints what each costs and brings.\n\n"
            "    ratn compare-attention --data digits --budget 500\n"
            "    ratn compare-attention --data photos --budget 3000 "
            "--attentions none soft_mask se eca --seeds 3"
        ),
        args=arguments,
        config=(tyro.conf.FlagCreatePairsOff,),
    )
    try:
        compare(parsed)
    except (RunError, ValueError) as error:
        return command.fail("ratn compare-attention", error)
    return 0


def compare(arguments):
    """Trains, exports and measures what is missing; returns the rows.

    Args:
        arguments: `Arguments`.

    Returns:
        List of dictionaries, one for each attention, as written to
        `comparison.json`.
    """
    _check(arguments)
    config = experiment(arguments)
    with prepare_keras(config):
        return _compare(arguments, config)


def _compare(arguments, config):
    source = load_source(config.data, config.seed_of_images)
    if source.test is None:
        raise RunError(
            f"{arguments.data} has no test images to compare on. Wanted: a "
            "data set with a split `test`, or one that fits into memory."
        )
    config = with_budget(config, arguments.budget, source)
    # All of them before the first is trained: a width that does not fit an
    # attention is an error now, not after hours.
    rows = [
        row_of_costs(config, attention, source)
        for attention in arguments.attentions
    ]
    folder = pathlib.Path(arguments.out)
    for row in rows:
        for config_of_run, name in runs(row, arguments.seeds):
            check_folder(folder / name, config_of_run, "--out")
    for row in rows:
        train_seeds(row, source, folder, arguments.seeds)
    add_latencies(rows, folder, source)
    for row in rows:
        del row["run"]
    publish_text(folder / COMPARISON, json.dumps(rows, indent=2) + "\n")
    print_rows(rows, config, source, arguments.seeds)
    plot_rows(rows, folder / "comparison.png")
    return rows


def _check(arguments):
    for field in ("budget", "seeds"):
        value = getattr(arguments, field)
        if value < 1:
            raise RunError(f"--{field} must be at least 1. Received: {value}")
    if not arguments.attentions:
        raise RunError("Name the attentions: --attentions none soft_mask se")
    known = ["none", "soft_mask", *keras_ratn.layers.list_attention_layers()]
    for name in arguments.attentions:
        if name not in known:
            raise RunError(
                f"There is no attention {name!r}. Known: {', '.join(known)}"
            )
    if len(set(arguments.attentions)) < len(arguments.attentions):
        raise RunError(
            "Each attention is compared once. Received: "
            f"{', '.join(arguments.attentions)}"
        )


def data_config(arguments):
    """The `DataConfig` that `--data` stands for."""
    text = arguments.data
    path = pathlib.Path(text).expanduser()
    size = arguments.image_size or 32
    if text == "digits":
        source = "digits"
    elif path.is_dir():
        source, size = "folder", arguments.image_size or 96
    elif path.suffix == ".npz":
        source = "npz"
    elif text.startswith((".", "/", "~")):
        raise RunError(
            f"There is no folder {text!r}. Wanted for --data: `digits`, a "
            "folder with one sub-folder of images for each class, an .npz "
            "file, or the name of a TensorFlow data set."
        )
    else:
        source = "tfds"
    return DataConfig(
        source=source,
        location="" if source == "digits" else text,
        image_size=size,
        max_images=arguments.max_images,
    )


def experiment(arguments):
    """The `Experiment` that all attentions share, its length still open."""
    config, _ = configs.load("smoke")
    data = data_config(arguments)
    model = arguments.model
    if model is None:
        small = data.image_size <= LARGEST_SMALL_IMAGE
        model = "common_ground" if small else "common_ground_photos"
    return dataclasses.replace(
        config,
        model=model,
        data_seed=config.seed,
        batch_size=arguments.batch_size,
        data=data,
        # A mirrored digit is not a digit.
        augmentation=AugmentationConfig(flip=data.source != "digits"),
        optimizer=dataclasses.replace(
            config.optimizer,
            learning_rate=arguments.learning_rate,
            learning_rate_batch=arguments.batch_size,
        ),
    )


def with_budget(config, budget, source):
    """The experiment, as long as `budget` steps need."""
    epochs = math.ceil(budget / num_steps(source.train, config.batch_size))
    warmup = 1 if epochs > 1 else 0
    return dataclasses.replace(
        config,
        epochs=epochs,
        optimizer=dataclasses.replace(config.optimizer, warmup_epochs=warmup),
    )


def row_of_costs(config, attention, source):
    """The row of an attention, before it is trained."""
    config = dataclasses.replace(
        config, attention=None if attention == "soft_mask" else attention
    )
    if attention == "soft_mask" and "resnet" in config.model.lower():
        raise RunError(
            f"The network {config.model!r} has no soft masks. Leave out "
            "`soft_mask`, or choose a --model with Attention Modules."
        )
    try:
        network = build_network(config, source.class_names, source.channels)
    except ValueError as error:
        raise RunError(
            f"The attention {attention!r} does not fit the network "
            f"{config.model!r}: {error} Leave it out of --attentions, or "
            "choose another --model or --image-size."
        ) from error
    return {
        "attention": attention,
        "parameters": sum(
            math.prod(v.shape) for v in network.trainable_variables
        ),
        "macs": keras_ratn.count_macs(network, matrix_products=True),
        "run": config,
    }


def runs(row, seeds):
    """The row's trainings: pairs of an `Experiment` and its folder's name."""
    return [
        (
            dataclasses.replace(row["run"], seed=seed),
            f"{row['attention']}-{seed}",
        )
        for seed in range(1, seeds + 1)
    ]


def train_seeds(row, source, folder, seeds):
    """Trains the row's network with each seed and adds what came out.

    The images are the same for all; a training whose loss becomes no number
    is left out, with the reason.
    """
    results, row["why_no_accuracy"] = [], None
    for config, name in runs(row, seeds):
        print(f"\n{name}: {config.model}", flush=True)
        try:
            result = train.run(
                config, folder / name, source=source, folder_option="--out"
            )
            results.append(result)
        except LossError as error:
            row["why_no_accuracy"] = f"seed {config.seed}: {error}"
    row["accuracies"] = [result["test"]["accuracy"] for result in results]
    row["accuracy"] = None
    if row["accuracies"]:
        row["accuracy"] = statistics.mean(row["accuracies"])
    # The first epoch holds the time to build and trace.
    speeds = [
        epoch["images_per_second"]
        for result in results
        for epoch in result["history"][1:]
    ]
    row["images_per_second"] = statistics.median(speeds) if speeds else None


def add_latencies(rows, folder, source):
    """Adds the milliseconds of an image in int8 on one thread, or why not."""
    files = {}
    for row in rows:
        run = folder / f"{row['attention']}-1"
        row["int8_ms"] = row["why_no_int8"] = None
        try:
            files[row["attention"]] = int8_file(run, source)
        # Converters raise errors of all kinds, and the rest of the table
        # holds without them.
        except Exception as error:
            row["why_no_int8"] = _first_line(error)
    if not files:
        return
    results = _export("benchmark").benchmark(
        list(files.values()), num_runs=50, threads=(1,)
    )
    for row in rows:
        if row["attention"] in files:
            file = str(files[row["attention"]])
            row["int8_ms"] = results["files"][file]["runs"][0]["median_ms"]


def int8_file(run, source):
    """The run's network as an int8 file, exported if it is not there."""
    path = run / "model_int8.tflite"
    if not path.exists():
        print(f"exporting {path}", flush=True)
        _export("tflite").to_tflite(
            keras.saving.load_model(run / "last.keras", compile=False),
            path,
            "int8",
            representative_data=[_some_images(source.train)],
        )
    return path


def _export(module):
    """A module of `export`, which stands beside this package."""
    package = f"{__package__.rpartition('training')[0]}export"
    return importlib.import_module(f"{package}.{module}")


def _some_images(split):
    if isinstance(split, Split):
        images, readable = split.read(
            np.arange(min(REPRESENTATIVE_IMAGES, len(split)))
        )
        return images[readable]
    batches = split.training_batches(REPRESENTATIVE_IMAGES, 0, 1)
    inputs, _ = next(iter(batches))
    return keras.ops.convert_to_numpy(inputs["images"])


def _first_line(error):
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0]}"


def print_rows(rows, config, source, seeds):
    """The table on the terminal, and why it has gaps."""
    from rich.console import Console
    from rich.table import Table

    steps = config.epochs * num_steps(source.train, config.batch_size)
    table = Table(
        title=f"{config.model}, {steps:,} steps of {config.batch_size} images",
        caption=f"{len(source.test):,} test images, {seeds} "
        + ("training" if seeds == 1 else "trainings (± half their range)")
        + " of each",
    )
    table.add_column("attention")
    for name in ("accuracy", "parameters", "MACs"):
        table.add_column(name, justify="right")
    table.add_column("training\nimages/s", justify="right")
    table.add_column("int8 ms\n1 thread", justify="right")
    for row in rows:
        table.add_row(*cells(row))
    console = Console(markup=False)
    console.print(table)
    for row in rows:
        for what in ("accuracy", "int8"):
            reason = row[f"why_no_{what}"]
            if reason is not None:
                console.print(
                    f"{row['attention']}: no {what}: {reason}",
                    markup=False,
                    highlight=False,
                )


def cells(row):
    """A row of the table, as strings."""
    accuracy = "-" if row["accuracy"] is None else f"{row['accuracy']:.2%}"
    if len(row["accuracies"]) > 1:
        spread = max(row["accuracies"]) - min(row["accuracies"])
        accuracy += f" ±{100 * spread / 2:.2f}"
    speed, latency = row["images_per_second"], row["int8_ms"]
    return (
        row["attention"],
        accuracy,
        f"{row['parameters']:,}",
        f"{row['macs']:,}",
        "-" if speed is None else f"{speed:.0f}",
        "-" if latency is None else f"{latency:.2f}",
    )


def plot_rows(rows, path):
    """Accuracy over cost, as a PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.5), layout="constrained")
    all_axes = figure.subplots(1, 2, sharey=True)
    costs = {"macs": "multiply-accumulates", "int8_ms": "int8 latency (ms)"}
    for axes, (key, label) in zip(all_axes, costs.items()):
        for row in rows:
            if None in (row[key], row["accuracy"]):
                continue
            axes.plot(row[key], 100 * row["accuracy"], "o")
            axes.annotate(
                row["attention"],
                (row[key], 100 * row["accuracy"]),
                xytext=(4, 4),
                textcoords="offset points",
                fontsize=8,
            )
        axes.set_xlabel(label)
    all_axes[0].set_ylabel("test accuracy (%)")
    with published(path) as temporary:
        figure.savefig(temporary, dpi=120)
    print(f"plot: {path}")


if __name__ == "__main__":
    sys.exit(main())
