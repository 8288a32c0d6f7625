"""`ratn compare`: several runs in one table and one plot."""

import csv
import dataclasses
import json
import pathlib
import sys
from typing import Annotated

from .checkpoint import published
from .command_line import tyro
from .config import differences
from .config import Experiment
from .errors import RunError


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Which runs."""

    runs: Annotated[tuple[str, ...], tyro.conf.Positional]
    """Run folders."""
    out: str = "comparison.png"
    """Where the plot goes."""


def main(arguments=None):
    """Runs `ratn compare` and returns its exit status."""
    parsed = tyro.cli(
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
        print(f"ratn compare: {error}", file=sys.stderr)
        return 1
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
    if not (folder / "config.json").exists():
        raise RunError(f"{path} is no run folder: it has no config.json.")
    try:
        config = Experiment.read(folder / "config.json").to_dict()
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(
            f"{folder / 'config.json'} is no config of `ratn train`: {error}. "
            "Leave the folder out."
        ) from error
    run = {"name": str(path), "config": config, "history": [], "results": {}}
    if (folder / "log.csv").exists():
        with open(folder / "log.csv", newline="") as file:
            run["history"] = [
                {key: float(value) for key, value in row.items()}
                for row in csv.DictReader(file)
            ]
    if (folder / "results.json").exists():
        run["results"] = json.loads((folder / "results.json").read_text())
    return run


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
            axes.legend()
    with published(path) as temporary:
        figure.savefig(temporary)
    print(f"plot: {path}")


if __name__ == "__main__":
    sys.exit(main())
