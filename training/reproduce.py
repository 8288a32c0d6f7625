"""`ratn reproduce`: the cells of one of the paper's tables, beside its own."""

import dataclasses
import pathlib
import sys
from typing import Annotated
from typing import Literal

import tyro

from . import configs
from . import train
from .config import AugmentationConfig
from .config import DataConfig
from .errors import RunError


@dataclasses.dataclass(frozen=True)
class Cell:
    """One number of a table.

    Args:
        name: String, unique in the table.
        error: Float. The paper's test error in percent.
        model: String. Its network.
        options: Dictionary of other fields of `Experiment`.
        label_noise: Float. Share of moved labels.
        dataset: String. The TFDS name.
    """

    name: str
    error: float
    model: str = "CifarAttention56"
    options: dict = dataclasses.field(default_factory=dict)
    label_noise: float = 0.0
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
}

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
    scikit-learn's digits, to see the commands work and the trend, if any."""
    epochs: int | None = None
    """Other than the recipe's, for a quick look."""
    max_images: int | None = None
    """Of each split, for a quick look."""
    out: str = "runs/reproduce"
    """Where the runs' folders are; finished ones are not run again."""


def main(arguments=None):
    """Runs `ratn reproduce` and returns its exit status."""
    parsed = tyro.cli(
        Arguments,
        prog="ratn reproduce",
        description="Runs the cells of a table and prints the paper's beside.",
        args=arguments,
    )
    try:
        cells = TABLES[parsed.table]
        found = []
        for cell in cells:
            print(f"\n{parsed.table}: {cell.name}", flush=True)
            folder = pathlib.Path(parsed.out) / parsed.scale / parsed.table
            result = train.run(experiment(cell, parsed), folder / cell.name)
            found.append(100 * (1 - result["test"]["accuracy"]))
        print_cells(parsed, cells, found)
    except (RunError, ValueError) as error:
        print(f"ratn reproduce: {error}", file=sys.stderr)
        return 1
    return 0


def experiment(cell, arguments):
    """The `Experiment` of a cell, at the scale asked for."""
    config, _ = configs.load("cifar10")
    data = DataConfig(source="tfds", location=cell.dataset)
    model = cell.model
    if arguments.scale == "small":
        model = SMALL[model]
        data = DataConfig(source="digits")
        config = dataclasses.replace(
            config, epochs=10, augmentation=AugmentationConfig(flip=False)
        )
    data = dataclasses.replace(
        data, label_noise=cell.label_noise, max_images=arguments.max_images
    )
    return dataclasses.replace(
        config,
        model=model,
        data=data,
        epochs=arguments.epochs or config.epochs,
        **cell.options,
    )


def print_cells(arguments, cells, errors):
    """The table on the terminal."""
    from rich.console import Console
    from rich.table import Table

    title = f"test error in %: {arguments.table}"
    if arguments.scale == "small" or arguments.epochs or arguments.max_images:
        title += " (not the paper's scale: compare trends at most)"
    table = Table(title=title)
    table.add_column("cell")
    table.add_column("paper", justify="right")
    table.add_column("this run", justify="right")
    for cell, error in zip(cells, errors):
        table.add_row(cell.name, f"{cell.error:.2f}", f"{error:.2f}")
    Console().print(table)


if __name__ == "__main__":
    sys.exit(main())
