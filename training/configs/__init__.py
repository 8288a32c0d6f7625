"""The experiments, one to a file: its docstring says how, what and how long."""

import importlib

NAMES = (
    "smoke",
    "folder",
    "cifar10",
    "cifar10_modern",
    "cifar10_short",
    "cifar10_small",
    "cifar100",
    "imagenet",
)


def load(name):
    """The `Experiment` and the docstring of the config of that name."""
    module = importlib.import_module(f".{name}", __package__)
    return module.CONFIG, module.__doc__
