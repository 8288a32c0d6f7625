"""`ratn compare`: several runs in one table and one plot."""

import csv
import dataclasses
import pathlib
import sys
from typing import Annotated

from keras_ratn import command

from .checkpoint import published
from .command_line import tyro
from .config import differences
from .errors import RunError
from .run_folder import CONFIG
from .run_folder import read_experiment
from .run_folder import read_results
from .run_folder import RESULTS


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Which runs."""

    runs: Annotated[tuple[str, ...], tyro.conf.Positional]
    """Run folders."""
    out: str = "comparison.png"
    """Where the plot goes."""


def main(arguments=None):
    """Runs `ratn compare` and returns its exit status."""
    parsed = command.parse(
        Arguments,
        prog="ratn compare",
        description="A table and a plot of several runs, finished or not.",
        args=arguments,
    )
    try:
        if not parsed.runs:
            raise RunError("Name the run folders: ratn compare RUN RUN ...")
        out = _plot_path(parsed.out)
        runs = [read_run(path) for path in parsed.runs]
        print_runs(runs)
        plot_runs(runs, out)
    except RunError as error:
        return command.fail("ratn compare", error)
    return 0


def _plot_path(out):
    from matplotlib.figure import Figure

    path = pathlib.Path(out)
    known = Figure().canvas.get_supported_filetypes()
    if path.suffix[1:].lower() not in known:
        raise RunError(
            "--out must be a picture and end in .png, .pdf or .svg. "
            f"Received: {out}"
        )
    return path


def read_run(path):
    """What a run folder holds so far, as a dictionary."""
    folder = pathlib.Path(path)
    if not (folder / CONFIG).exists():
        raise RunError(f"{path} is no run folder: it has no {CONFIG}.")
    config = read_experiment(folder, "Leave the folder out.").to_dict()
    run = {"name": str(path), "config": config, "history": [], "results": {}}
    if (folder / "log.csv").exists():
        run["history"] = _history(folder / "log.csv")
    if (folder / RESULTS).exists():
        run["results"] = read_results(folder)
    return run


def _history(path):
    try:
        with open(path, newline="", encoding="utf-8") as file:
            rows = [
                {key: float(value) for key, value in row.items()}
                for row in csv.DictReader(file)
            ]
        lacking = {"epoch", "loss"} - set(rows[0] if rows else ())
        if rows and lacking:
            raise ValueError(f"it has no column {', '.join(sorted(lacking))}")
    except (OSError, TypeError, ValueError, csv.Error) as error:
        raise RunError(
            f"{path} is damaged: {error}. Leave the folder out, or let the "
            "command that trained the run write the log again."
        ) from error
    return rows


def table_rows(runs):
    """The table's rows, as strings: the first differences are to run 1."""
    rows = []
    for run in runs:
        history = run["history"]
        validation = [r["val_accuracy"] for r in history if "val_accuracy" in r]
        test = (run["results"].get("test") or {}).get("accuracy")
        changed = differences(runs[0]["config"], run["config"])
        rows.append(
            (
                run["name"],
                f"{len(history)}/{run['config']['epochs']}",
                f"{history[-1]['loss']:.4f}" if history else "-",
                f"{max(validation):.2%}" if validation else "-",
                f"{test:.2%}" if test is not None else "-",
                "\n".join(changed),
            )
        )
    return rows


def print_runs(runs):
    """The table on the terminal."""
    from rich.console import Console
    from rich.table import Table

    table = Table()
    for name in ("run", "epochs", "loss", "best validation", "test"):
        table.add_column(name)
    table.add_column("config, where it differs from the first")
    for row in table_rows(runs):
        table.add_row(*row)
    Console(markup=False).print(table)


def plot_runs(runs, path):
    """Loss and validation accuracy of all runs, as a PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4), layout="constrained")
    for axes, key in zip(figure.subplots(1, 2), ("loss", "val_accuracy")):
        for run in runs:
            points = [(r["epoch"], r[key]) for r in run["history"] if key in r]
            if points:
                axes.plot(*zip(*points), marker=".", label=run["name"])
        axes.set(xlabel="epoch", ylabel=key)
        if axes.lines:
            for text in axes.legend().get_texts():
                text.set_parse_math(False)  # $ in a name is no formula
    with published(path) as temporary:
        figure.savefig(temporary)
    print(f"plot: {path}")


if __name__ == "__main__":
    sys.exit(main())
