"""`ratn reproduce`: the cells of one of the paper's tables, beside its own."""

import dataclasses
import pathlib
import sys
from typing import Annotated
from typing import Literal

from keras_ratn import command

from . import configs
from . import recipe
from . import train
from .command_line import tyro
from .config import AugmentationConfig
from .config import DataConfig
from .errors import RunError
from .figure4 import write_figure4
from .run_folder import check_folder


@dataclasses.dataclass(frozen=True)
class Cell:
    """One number of a table.

    Args:
        name: String, unique in the table.
        error: Float. The paper's test error in percent; `None` where it has
            none.
        model: String. Its network.
        options: Dictionary of other fields of `Experiment`.
        label_noise: Float. Share of moved labels.
        label_key: String. Array of `--label-file` to train on; `None` for the
            data set's own labels.
        dataset: String. The TFDS name.
    """

    name: str
    error: float | None
    model: str = "CifarAttention56"
    options: dict = dataclasses.field(default_factory=dict)
    label_noise: float = 0.0
    label_key: str | None = None
    dataset: str = "cifar10"


def _attention_learning():
    errors = {
        56: (5.52, 5.89),
        92: (4.99, 5.35),
        128: (4.44, 5.57),
        164: (4.31, 7.18),
    }
    return [
        Cell(
            f"{depth}-{kind}",
            error,
            f"CifarAttention{depth}",
            {"attention_learning": kind},
        )
        for depth, row in errors.items()
        for kind, error in zip(("residual", "naive"), row)
    ]


def _figure4():
    """The deepest pair of `attention_learning`: the same runs."""
    return _attention_learning()[-2:]


def _human_label_noise():
    # Labels by CIFAR-10N's annotators, the fewer wrong ones first.
    return [
        Cell(f"{model}-{key}", None, model, label_key=key)
        for key in ("aggre", "random1", "worst")
        for model in ("resnet164", "CifarAttention92")
    ]


def _label_noise():
    errors = {
        0.1: (5.93, 5.15),
        0.3: (6.61, 5.79),
        0.5: (8.35, 7.27),
        0.7: (17.21, 15.75),
    }
    return [
        Cell(f"{model}-{rate:.0%}", error, model, label_noise=rate)
        for rate, row in errors.items()
        for model, error in zip(("resnet164", "CifarAttention92"), row)
    ]


TABLES = {
    "attention_learning": _attention_learning(),
    "mask_activation": [
        Cell(kind, error, options={"mask_activation": kind})
        for kind, error in (("mixed", 5.52), ("channel", 6.24))
        + (("spatial", 6.33),)
    ],
    "mask_structure": [
        Cell(kind, error, options={"mask_structure": kind})
        for kind, error in (
            ("encoder_decoder", 5.52),
            ("local_convolution", 6.48),
        )
    ],
    "cifar10": [
        Cell("resnet164", 5.46, "resnet164"),
        Cell("92", 4.99, "CifarAttention92"),
        Cell("236", 4.14, "CifarAttention236"),
        Cell("452", 3.90, "CifarAttention452"),
    ],
    "cifar100": [
        Cell("resnet164", 24.33, "resnet164", dataset="cifar100"),
        Cell("92", 21.71, "CifarAttention92", dataset="cifar100"),
        Cell("236", 21.16, "CifarAttention236", dataset="cifar100"),
        Cell("452", 20.45, "CifarAttention452", dataset="cifar100"),
    ],
    "label_noise": _label_noise(),
    "human_label_noise": _human_label_noise(),
    "figure4": _figure4(),
}

# Table -> the one whose folder its runs are in.
SHARED_RUNS = {"figure4": "attention_learning"}
SMALL_IMAGES = 5000

# The networks of `--scale small`: two stages, 8 to 32 channels.
SMALL = {
    "CifarAttention56": "tiny",
    "CifarAttention92": "tiny2",
    "CifarAttention128": "tiny3",
    "CifarAttention164": "tiny4",
    "CifarAttention236": "tiny3",
    "CifarAttention452": "tiny4",
    "resnet164": "tiny_resnet",
}


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Which table, and how large."""

    table: Annotated[Literal[tuple(TABLES)], tyro.conf.Positional]
    """The table."""
    scale: Literal["paper", "small"] = "paper"
    """`paper`: its networks and its recipe; `small`: tiny networks on
    scikit-learn's digits (human_label_noise: on 5,000 images of CIFAR-10), to
    see the commands work and the trend, if any."""
    epochs: int | None = None
    """Other than the recipe's, for a quick look."""
    max_images: int | None = None
    """Of each split, for a quick look."""
    label_file: str | None = None
    """For human_label_noise: an .npz with the arrays aggre, random1 and worst,
    the labels of CIFAR-10N in the order of the original training images."""
    tfds_directory: str | None = None
    """Where TFDS keeps its prepared data sets; its own default if None."""
    out: str = "runs/reproduce"
    """Where the runs' folders are; finished ones are not run again."""


def main(arguments=None):
    """Runs `ratn reproduce` and returns its exit status."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    if arguments[:1] == ["recipe"]:
        return recipe.main(arguments[1:])
    parsed = command.parse(
        Arguments,
        prog="ratn reproduce",
        description=(
            "Runs the cells of a table and prints the paper's beside. Beside "
            "the tables there is `recipe`, a study of what makes short "
            "trainings better: see `ratn reproduce recipe --help`."
        ),
        args=arguments,
    )
    try:
        cells = TABLES[parsed.table]
        configs_of_cells = [experiment(cell, parsed) for cell in cells]
        for cell, config in zip(cells, configs_of_cells):
            check_folder(run_folder(cell, parsed), config, "--out")
        found = []
        for cell, config in zip(cells, configs_of_cells):
            print(f"\n{parsed.table}: {cell.name}", flush=True)
            result = train.run(
                config, run_folder(cell, parsed), folder_option="--out"
            )
            found.append(100 * (1 - result["test"]["accuracy"]))
        print_cells(parsed, cells, found)
        if parsed.table == "figure4":
            folders = {cell.name: run_folder(cell, parsed) for cell in cells}
            out = pathlib.Path(parsed.out) / parsed.scale / "figure4"
            write_figure4(folders, out)
    except (RunError, ValueError) as error:
        return command.fail("ratn reproduce", error)
    return 0


def run_folder(cell, arguments):
    """Where the run of a cell is; cells that tables share are there once."""
    table = SHARED_RUNS.get(arguments.table, arguments.table)
    root = pathlib.Path(arguments.out) / arguments.scale
    return root / table / cell.name


def experiment(cell, arguments):
    """The `Experiment` of a cell, at the scale asked for."""
    config, _ = configs.load("cifar10")
    data = DataConfig(
        source="tfds",
        location=cell.dataset,
        tfds_directory=arguments.tfds_directory,
    )
    model, max_images = cell.model, arguments.max_images
    if arguments.scale == "small":
        model = SMALL[model]
        config = dataclasses.replace(config, epochs=10)
        if cell.label_key:
            max_images = max_images or SMALL_IMAGES
        else:
            data = DataConfig(source="digits")
            config = dataclasses.replace(
                config, augmentation=AugmentationConfig(flip=False)
            )
    data = dataclasses.replace(
        data,
        label_noise=cell.label_noise,
        label_file=_label_file(cell, arguments),
        max_images=max_images,
    )
    return dataclasses.replace(
        config,
        model=model,
        data=data,
        epochs=arguments.epochs or config.epochs,
        **cell.options,
    )


def _label_file(cell, arguments):
    if cell.label_key is None:
        return None
    if not (arguments.label_file or "").endswith(".npz"):
        raise RunError(
            "human_label_noise needs --label-file FILE.npz with the arrays "
            "aggre, random1 and worst of CIFAR-10N. "
            f"Received: {arguments.label_file}"
        )
    return f"{arguments.label_file}:{cell.label_key}"


def print_cells(arguments, cells, errors):
    """The table on the terminal."""
    from rich.console import Console
    from rich.table import Table

    title = f"test error in %: {arguments.table}"
    if arguments.scale == "small" or arguments.epochs or arguments.max_images:
        title += " (not the paper's scale: compare trends at most)"
    print(f"\n{title}")  # a table's own title would be broken into lines
    table = Table()
    table.add_column("cell")
    table.add_column("paper", justify="right")
    table.add_column("this run", justify="right")
    for cell, error in zip(cells, errors):
        paper = "-" if cell.error is None else f"{cell.error:.2f}"
        table.add_row(cell.name, paper, f"{error:.2f}")
    Console(markup=False).print(table)


if __name__ == "__main__":
    sys.exit(main())
