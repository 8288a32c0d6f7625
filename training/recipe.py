"""`ratn reproduce recipe`: what each trick gains when there are few epochs.

All is measured on training images that were held out; no test image is
looked at.
"""

import dataclasses
import json
import pathlib
import sys
from typing import Literal

import keras
import numpy as np

from keras_ratn import command

from . import train
from .checkpoint import publish_text
from .command_line import tyro
from .config import DataConfig
from .config import Experiment
from .config import OptimizerConfig
from .data import load_source
from .errors import LossError
from .errors import RunError
from .run_folder import check_folder

SEEDS = (1, 2)
DATA_SEED = 1  # the same images are held out of all runs

# scale -> network, training images (None for all but the held-out ones),
# epochs: 32 small runs take about 90 minutes on two idle AVX2 cores.
SCALES = {"small": ("half", 10_000, 2), "full": ("CifarAttention56", None, 4)}

# What both optimizers have in common; steps are counted by the batch size.
COMMON = {"schedule": "linear", "warmup_epochs": 0.5, "learning_rate_batch": 64}
OPTIMIZERS = {
    "sgd": OptimizerConfig("sgd", weight_decay=5e-4, **COMMON),
    "muon": OptimizerConfig(
        "muon", learning_rate=0.005, momentum=0.95, weight_decay=0.1, **COMMON
    ),
}
# Field by field the best value is kept; as many trials for one as for the
# other. What stands in `OPTIMIZERS` is the value at the start.
TUNING = {
    "sgd": {
        "learning_rate": (0.05, 0.1, 0.2),
        "weight_decay": (5e-4, 1e-4),
        "batch_size": (64, 128),
    },
    "muon": {
        "learning_rate": (0.0025, 0.005, 0.01),
        "weight_decay": (0.1, 0.02),
        "batch_size": (64, 128),
    },
}

# trick -> the fields that it changes
TRICKS = {
    "alternating mirror": {"augmentation": {"alternate_flip": True}},
    "reflected border": {"augmentation": {"border": "reflect"}},
    "zero branches": {"initialization": {"zero_branches": True}},
    "whitened stem": {"initialization": {"whiten_stem": True}},
    "biases x64": {"optimizer": {"bias_factor": 64.0}},
    "momentum 0.6": {"batch_norm_momentum": 0.6},
    "smoothing 0.2": {"label_smoothing": 0.2},
    "average": {"optimizer": {"ema": 0.99}},
}
# What gains by SGD need not gain by Muon, whose biases are Adam's.
OF_SGD = "biases x64"


@dataclasses.dataclass(frozen=True)
class Arguments:
    """At what scale, and on which images."""

    scale: Literal["small", "full"] = "small"
    """`small`: the network `half` and 10,000 images; both optimizers are
    tuned, then each trick is tried alone and together. `full`: Attention-56
    and all images; the best SGD and the best of all, as `small` found them."""
    data: DataConfig = DataConfig("tfds", "cifar10", validation_fraction=0.1)
    """The images; any with held-out ones among those of training."""
    model: str | None = None
    """Another network than the scale's."""
    epochs: int | None = None
    """Of each run; the scale's own, 2 and 4, if None."""
    out: str = "runs/reproduce"
    """Where the runs' folders are; finished ones are not run again."""


def main(arguments=None):
    """Runs `ratn reproduce recipe` and returns its exit status."""
    parsed = command.parse(
        Arguments,
        prog="ratn reproduce recipe",
        description=(
            "Tries Muon and the tricks of CIFAR-10's speed records against "
            "SGD, on held-out training images, and prints what each gains."
        ),
        args=arguments,
        config=(tyro.conf.FlagCreatePairsOff,),
    )
    try:
        study = Study(parsed)
        {"small": small, "full": full}[parsed.scale](study)
    except (RunError, ValueError) as error:
        return command.fail("ratn reproduce recipe", error)
    return 0


class Study:
    """Runs by name, each of them once.

    Args:
        arguments: `Arguments`.
    """

    def __init__(self, arguments):
        if not arguments.data.validation_fraction:
            raise RunError(
                "`data.validation_fraction` must be more than 0: the study "
                "looks at held-out images only."
            )
        self.arguments = arguments
        self.folder = pathlib.Path(arguments.out) / "recipe" / arguments.scale
        self.source = None
        self.found = {}

    def experiment(self, optimizer, changes=None, batch_size=64):
        """What is trained, whatever the seed."""
        model, images, epochs = SCALES[self.arguments.scale]
        data = self.arguments.data
        if data.max_images is None:
            data = dataclasses.replace(data, max_images=images)
        config = Experiment(
            model=self.arguments.model or model,
            epochs=self.arguments.epochs or epochs,
            batch_size=batch_size,
            data=data,
            optimizer=optimizer,
            data_seed=DATA_SEED,
        )
        return changed(config, changes or {})

    def accuracy(self, name, config, seed):
        """Share of the held-out images that a run of its name gets right."""
        folder = self.folder / name.replace(" ", "-") / f"seed-{seed}"
        config = dataclasses.replace(config, seed=seed)
        diverged = folder / "diverged.json"
        if diverged.exists():
            check_folder(folder, config, "--out")
            return 0.0
        print(f"\nrecipe, {self.arguments.scale}: {name}, seed {seed}")
        try:
            results = train.run(
                config, folder, source=self._source(), folder_option="--out"
            )
        except LossError as error:
            print(f"diverged: {error}", flush=True)
            publish_text(diverged, json.dumps({"reason": str(error)}) + "\n")
            return 0.0
        finally:
            keras.utils.clear_session()
        return results["history"][-1]["val_accuracy"]

    def mean(self, name, config, folder=None):
        """Of the accuracies with each seed, which are kept for the report.

        Args:
            name: String. What the table calls it.
            config: `Experiment`.
            folder: String. Where its runs are. Defaults to the name.
        """
        self.found[name] = [
            self.accuracy(folder or name, config, seed) for seed in SEEDS
        ]
        return float(np.mean(self.found[name]))

    def _source(self):
        if self.source is None:
            config = self.experiment(OPTIMIZERS["sgd"])
            source = load_source(config.data, config.seed_of_images)
            # Nothing here is chosen, or even measured, on test images.
            self.source = dataclasses.replace(source, test=None)
        return self.source

    def write(self, **values):
        """Keeps what was found for the scale that comes after."""
        path = self.folder / "recipe.json"
        values = {"accuracies": self.found, **values}
        publish_text(path, json.dumps(values, indent=2) + "\n")


def changed(config, changes):
    """An `Experiment` with other values of some fields, by group."""
    values = {
        field: dataclasses.replace(getattr(config, field), **value)
        if isinstance(value, dict)
        else value
        for field, value in changes.items()
    }
    return dataclasses.replace(config, **values)


def tuned(study, name):
    """The best experiment of an optimizer, field by field; one seed."""
    best, score = study.experiment(OPTIMIZERS[name]), None
    for field, values in TUNING[name].items():
        for config in [_with(best, field, value) for value in values]:
            trial = _trial(name, config)
            accuracy = study.accuracy(trial, config, SEEDS[0])
            study.found[trial] = [accuracy]
            if score is None or accuracy > score:
                best, score = config, accuracy
    return best


def _with(config, field, value):
    if field == "batch_size":
        return dataclasses.replace(config, batch_size=value)
    return changed(config, {"optimizer": {field: value}})


def _trial(name, config):
    return f"tuning/{name}, {_describe(config)}"


def _describe(config):
    optimizer = config.optimizer
    return (
        f"rate {optimizer.learning_rate:g}, decay {optimizer.weight_decay:g}, "
        f"batch {config.batch_size}"
    )


def small(study):
    """Both optimizers tuned, the tricks alone by SGD, then all by Muon."""
    bases = {name: tuned(study, name) for name in OPTIMIZERS}
    sgd, muon = bases["sgd"], bases["muon"]
    means = {
        name: study.mean(name, config, _trial(name, config))
        for name, config in bases.items()
    }
    gains = {
        trick: study.mean(f"sgd + {trick}", changed(sgd, changes))
        - means["sgd"]
        for trick, changes in TRICKS.items()
    }
    paid = [trick for trick, gain in gains.items() if gain > 0]
    candidates = {"muon": []}
    if paid:
        candidates["muon + all that paid"] = paid
    if OF_SGD in paid and paid != [OF_SGD]:
        candidates[f"the same without {OF_SGD}"] = [
            trick for trick in paid if trick != OF_SGD
        ]
    for name, tricks in candidates.items():
        if tricks:
            means[name] = study.mean(name, with_tricks(muon, tricks))
    best = max(candidates, key=means.get)
    gain = means[best] - means["sgd"]
    study.write(
        best=best,
        kept=candidates[best],
        gain=gain,
        sgd=sgd.to_dict(),
        ours=with_tricks(muon, candidates[best]).to_dict(),
    )
    print_table(study, "sgd")
    print(f"the best: {best} ({', '.join(candidates[best]) or 'no trick'})")
    print(f"SGD: {_describe(sgd)}; Muon: {_describe(muon)}")
    print(f"gain over the best SGD: {gain:.2%}")


def with_tricks(config, tricks):
    """An `Experiment` with the changes of all these tricks."""
    for trick in tricks:
        config = changed(config, TRICKS[trick])
    return config


def full(study):
    """The best SGD and the best of all, as the small scale found them."""
    path = study.folder.parent / "small" / "recipe.json"
    if not path.is_file():
        raise RunError(
            f"There is no {path}: run the study with --scale small first; it "
            "finds what this one compares."
        )
    chosen = json.loads(path.read_text())
    means = {}
    for name in ("sgd", "ours"):
        config = Experiment.from_dict(chosen[name])
        scale = study.experiment(config.optimizer)
        config = dataclasses.replace(
            config, model=scale.model, data=scale.data, epochs=scale.epochs
        )
        means[name] = study.mean(name, config)
    gain = means["ours"] - means["sgd"]
    study.write(gain=gain, predicted_gain=chosen["gain"])
    print_table(study, "sgd")
    print(
        f"gain over the best SGD: {gain:.2%}; at small scale it was "
        f"{chosen['gain']:.2%}"
    )


def print_table(study, base):
    """Accuracies of all runs by seed, and the gain over a base."""
    from rich.console import Console
    from rich.table import Table

    print("\naccuracy on held-out training images, in %")
    table = Table()
    table.add_column("run")
    for seed in SEEDS:
        table.add_column(f"seed {seed}", justify="right")
    for name in ("mean", f"gain over {base}"):
        table.add_column(name, justify="right")
    reference = np.mean(study.found[base])
    for name, found in study.found.items():
        cells = [f"{100 * accuracy:.2f}" for accuracy in found]
        cells += [""] * (len(SEEDS) - len(found))
        cells.append(f"{100 * np.mean(found):.2f}")
        # The trials have one seed.
        gain = 100 * (np.mean(found) - reference)
        cells.append(f"{gain:+.2f}" if len(found) == len(SEEDS) else "")
        table.add_row(name, *cells)
    Console(markup=False).print(table)


if __name__ == "__main__":
    sys.exit(main())
