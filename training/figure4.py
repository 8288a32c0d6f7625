"""The paper's Figure 4: does the signal survive a stack of masks?

With naive attention learning, *M(x) * T(x)*, each module multiplies the
features by numbers below 1, and their mean absolute value fades with depth;
with attention residual learning, *(1 + M(x)) * T(x)*, it does not.
"""

import json

import keras
import numpy as np

import keras_ratn

from .checkpoint import publish_text
from .checkpoint import published
from .data import load_source
from .errors import RunError
from .run_folder import read_experiment

MAX_IMAGES = 1000


def write_figure4(runs, folder):
    """Writes `figure4.json` and `figure4.png`, and prints the numbers.

    Args:
        runs: Dictionary from names to the folders of finished runs.
        folder: `pathlib.Path` for the two files; made if it is not there.

    Returns:
        Dictionary from names to `keras_ratn.response_profile`'s results, not
        relative, over the first test images.
    """
    profiles = {name: run_profile(path) for name, path in runs.items()}
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"Cannot make {folder}: {error.strerror}") from error
    publish_text(folder / "figure4.json", json.dumps(profiles, indent=2) + "\n")
    plot(profiles, folder / "figure4.png")
    print_profiles(profiles)
    print(f"plot: {folder / 'figure4.png'}")
    return profiles


def run_profile(folder):
    """Mean absolute response of each unit and module of a run's network."""
    config = read_experiment(folder, "Put it back as it was.")
    split = load_source(config.data, config.seed_of_images).test
    numbers = np.arange(min(len(split), MAX_IMAGES))
    images, readable = split.read(numbers)
    network = keras.saving.load_model(folder / "last.keras", compile=False)
    images = images[readable].astype("float32")
    return keras_ratn.response_profile(network, images, relative=False)


def relative(profile):
    """Each value over the first one: how much of the signal is left."""
    first = next(iter(profile.values()))
    return {name: value / first for name, value in profile.items()}


def plot(profiles, path):
    """One curve for each run, over the depth of the network, as a PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    axes = figure.subplots()
    for name, profile in profiles.items():
        values = relative(profile)
        axes.semilogy(list(values), list(values.values()), ".-", label=name)
    axes.tick_params("x", rotation=90, labelsize=7)
    axes.set_ylabel("mean absolute response, first unit = 1")
    axes.legend()
    with published(path) as temporary:
        figure.savefig(temporary)


def print_profiles(profiles):
    """The table on the terminal."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title="mean absolute response, first unit = 1 (figure 4)")
    table.add_column("layer")
    for name in profiles:
        table.add_column(name, justify="right")
    columns = [relative(profile) for profile in profiles.values()]
    for layer in columns[0]:
        table.add_row(layer, *(f"{column[layer]:.3g}" for column in columns))
    Console(markup=False).print(table)
