import dataclasses
import json

import numpy as np
import pytest

from training import recipe
from training import reproduce
from training.config import Experiment
from training.data import array_split
from training.data import Source
from training.errors import LossError
from training.run_folder import open_run


def believed(config):
    """An accuracy for each experiment, as if it had been trained."""
    optimizer = config.optimizer
    best = {"sgd": (0.2, 1e-4), "muon": (0.005, 0.02)}[optimizer.name]
    found = 0.5 + 0.1 * (optimizer.name == "muon") + 0.01 * (config.seed == 2)
    found -= 0.02 * abs(np.log2(optimizer.learning_rate / best[0]))
    found -= 0.01 * (optimizer.weight_decay != best[1])
    found += 0.01 * (config.batch_size == 128)
    if optimizer.bias_factor == 64:
        found += 0.02 if optimizer.name == "sgd" else -0.02
    found += 0.03 * config.augmentation.alternate_flip
    found -= 0.04 * config.initialization.whiten_stem
    return found


@pytest.fixture
def runs(monkeypatch):
    """Configs of the runs, in their order, which take no time."""
    made = []

    def run(config, folder, source, folder_option):
        assert source.test is None
        if config.optimizer.learning_rate == 0.01:
            open_run(folder, config)
            raise LossError("The loss became nan")
        assert config.data_seed == 1 and folder_option == "--out"
        open_run(folder, config)
        made.append(config)
        return {"history": [{}, {"val_accuracy": believed(config)}]}

    def load_source(data, seed):
        assert data.validation_fraction == 0.1
        split = array_split(np.zeros((4, 2, 2, 3), "uint8"), np.zeros(4))
        return Source(["a"], split, split, split)

    monkeypatch.setattr(recipe.train, "run", run)
    monkeypatch.setattr(recipe, "load_source", load_source)
    return made


def test_what_pays_at_small_scale_is_what_full_scale_runs(
    tmp_path, runs, capsys
):
    command = ["recipe", "--out", str(tmp_path)]
    assert reproduce.main([*command, "--scale", "full"]) == 1
    assert "run the study with --scale small first" in capsys.readouterr().err

    assert reproduce.main(command) == 0
    out = capsys.readouterr().out
    assert "the same without biases x64 (alternating mirror)" in out
    assert {config.model for config in runs} == {"half"}
    assert {config.data.max_images for config in runs} == {10_000}
    # Finished ones are read: 31, and the one that diverged, in 90 minutes.
    assert len(set(runs)) <= 31
    found = json.loads((tmp_path / "recipe/small/recipe.json").read_text())
    trials = [name for name in found["accuracies"] if "tuning" in name]
    # As many for each, one of Muon's diverged.
    assert sum("sgd" in t for t in trials) == sum("muon" in t for t in trials)
    sgd, ours = (Experiment.from_dict(found[k]) for k in ("sgd", "ours"))
    assert (sgd.optimizer.learning_rate, sgd.batch_size) == (0.2, 128)
    assert sgd.optimizer.weight_decay == 1e-4
    assert (ours.optimizer.name, ours.optimizer.weight_decay) == ("muon", 0.02)
    assert ours.augmentation.alternate_flip and ours.optimizer.bias_factor == 1
    assert not ours.initialization.whiten_stem
    assert found["gain"] == pytest.approx(0.1 + 0.03)

    runs.clear()
    assert reproduce.main([*command, "--scale", "full"]) == 0
    assert "at small scale it was 13.00%" in capsys.readouterr().out
    assert [config.seed for config in runs] == [1, 2, 1, 2]
    for config in runs:
        assert config.model == "CifarAttention56"
        assert config.data.max_images is None and config.epochs == 4
    assert runs[-1].optimizer == ours.optimizer


def test_a_trial_that_diverged_is_not_run_again(tmp_path, runs, monkeypatch):
    arguments = recipe.Arguments(out=str(tmp_path))
    study = recipe.Study(arguments)
    config = study.experiment(
        dataclasses.replace(recipe.OPTIMIZERS["muon"], learning_rate=0.01)
    )
    assert study.accuracy("a", config, 1) == 0
    monkeypatch.setattr(recipe.train, "run", None)
    assert study.accuracy("a", config, 1) == 0


def test_a_study_without_held_out_images_is_refused(capsys):
    command = ["recipe", "--data.validation-fraction", "0"]
    assert reproduce.main(command) == 1
    assert "looks at held-out images only" in capsys.readouterr().err


@pytest.mark.slow
def test_the_study_runs_and_finished_runs_are_read(
    tmp_path, monkeypatch, capsys
):
    for name, optimizer in recipe.OPTIMIZERS.items():
        first = {"learning_rate": (optimizer.learning_rate,)}
        monkeypatch.setitem(recipe.TUNING, name, first)
    few = {k: recipe.TRICKS[k] for k in ("whitened stem", "average")}
    monkeypatch.setattr(recipe, "TRICKS", few)
    command = ["recipe", "--data.source", "digits", "--model", "smallest"]
    command += ["--epochs", "1", "--out", str(tmp_path)]
    assert reproduce.main(command) == 0
    first = capsys.readouterr().out
    times = {p: p.stat().st_mtime for p in tmp_path.rglob("last.keras")}
    # SGD, Muon and two tricks, and what is together as the gains say.
    assert 2 * (1 + 1 + 2) <= len(times) <= 2 * (1 + 1 + 2) + 2
    assert reproduce.main(command) == 0
    second = capsys.readouterr().out
    assert first.splitlines()[-4:] == second.splitlines()[-4:]
    assert times == {p: p.stat().st_mtime for p in tmp_path.rglob("last.keras")}
