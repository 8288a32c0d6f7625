"""Random command lines: what is wrong is said in one line, never a trace."""

import contextlib
import importlib
import io
import os
import pathlib
import types

import pytest
from fuzz import command_lines
from fuzz import profile
from hypothesis import given

from keras_ratn.__main__ import main

pytest.importorskip("tyro")

# What may stand on stderr before the error: what was left out, and notes.
NOTICES = ("skipped", "not read", "Warning", "labels", "ratn")
SMALL = ("smallest", "tiny_danet", "tiny_eanet")


class Stopped(BaseException):
    """A command has checked everything and would begin to compute."""


def _stop(*_, **__):
    raise Stopped


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    root = tmp_path_factory.mktemp("world")
    command_lines.make_world(root)
    return root, _files(root)


@pytest.fixture
def stops(monkeypatch, world):
    """Ends each command where the heavy part begins."""
    monkeypatch.chdir(world[0])

    def patch(module, name, function=_stop):
        module = importlib.import_module(f"keras_ratn.{module}")
        monkeypatch.setattr(module, name, function)

    def unless_small(module, name, model):
        """Networks that take long to build are not built."""
        real = getattr(importlib.import_module(f"keras_ratn.{module}"), name)

        def function(*arguments, **keywords):
            if model(*arguments).lower() not in SMALL:
                raise Stopped
            return real(*arguments, **keywords)

        patch(module, name, function)

    def inside(module):
        """Before anything is written, but where it can be."""
        name = "publishing"
        real = getattr(importlib.import_module(f"keras_ratn.{module}"), name)

        @contextlib.contextmanager
        def function(*arguments, **keywords):
            with real(*arguments, **keywords):
                raise Stopped
            yield

        patch(module, name, function)

    patch("training.runtime", "_make_deterministic", lambda: None)
    patch("training.demo", "_train")
    real_steps = importlib.import_module("keras_ratn.training.train")
    real_steps = real_steps.check_steps_per_execution

    def checked_steps(config, steps):
        real_steps(config, steps)
        if config.model.lower() not in SMALL:
            raise Stopped

    patch("training.train", "check_steps_per_execution", checked_steps)
    patch("training.train", "fit")
    patch("training.evaluate", "predictions")
    unless_small(
        "training.evaluate", "build_network", lambda config, *_: config.model
    )
    unless_small(
        "training.compare_attention",
        "build_network",
        lambda config, *_: config.model,
    )
    patch("training.compare_attention", "train_seeds")
    unless_small("training.segmentation", "build", lambda a, *_: a.model)
    patch("training.segmentation", "fit")
    patch("training.benchmark", "pipeline_speed")
    reproduce = importlib.import_module("keras_ratn.training.reproduce")
    # Its own view of the module, or `ratn train` would stop there, too.
    monkeypatch.setattr(reproduce, "train", types.SimpleNamespace(run=_stop))
    patch("export.quantize", "quantization_aware")
    patch("export.tfmot_engine", "fine_tune_with_tfmot")
    for module in ("tflite", "onnx_file", "saved_model"):
        inside(f"export.{module}")
    patch("export.verify", "_expected")
    patch("export.benchmark", "_probe")


@profile.cases(60)
@given(words=command_lines.command_lines())
def test_any_command_line_ends_well(world, stops, words):
    profile.count(f"command lines: {words[0]}", check(world, words))


def check(world, words):
    """Runs the command up to the heavy part; returns what became of it."""
    root, before = world
    out, err = io.StringIO(), io.StringIO()
    with (
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        profile.globally("float32", "channels_last"),
    ):
        try:
            status = main(words)
        except SystemExit as end:
            status = end.code
        except Stopped:
            status = "stopped"
    after = _files(root)
    assert before.items() <= after.items(), "a file was changed"
    for path in after.keys() - before.keys():
        os.unlink(path)
    if status in ("stopped", 0, None):
        return "accepted"
    if words[0] == "verify" and status == 1:
        return "accepted"  # and answered by no
    assert isinstance(status, int), status  # else Python prints it
    *notices, line = err.getvalue().splitlines()
    assert line.startswith(f"ratn {words[0]}"), err.getvalue()
    assert all(n.startswith(NOTICES[:-1]) for n in notices), err.getvalue()
    return "refused"


def _files(world):
    """The files that were there, with their times, but not what is written."""
    found = {}
    for folder, _, names in os.walk(world):
        for name in names:
            path = pathlib.Path(folder, name)
            status = path.lstat()
            found[str(path)] = status.st_size, status.st_mtime_ns
    return found
