import dataclasses
import json
import os
import pathlib
import subprocess
import sys
import time

import keras
import numpy as np
import pytest
from training_runs import smallest

from training import callbacks
from training import resident
from training import train
from training.config import RuntimeConfig
from training.data import array_split
from training.errors import RunError

ROOT = pathlib.Path(__file__).parents[2]

# A network that compiles in seconds, trained by `fit` and from the
# accelerator's memory; prints what each ended with.
SCRIPT = """
import dataclasses, json, keras, numpy as np
from training.averaging import AverageEvaluation, averaged_weights
from training.config import AugmentationConfig
from training.data import EvaluationBatches, array_split, training_batches
from training.model import TrainingModel, compile_model
from training.optimization import build_optimizer
from training.resident import ResidentTraining
from training_runs import smallest

config = smallest()
averaging = dataclasses.replace(config.optimizer, ema=0.8)
config = dataclasses.replace(config, optimizer=averaging)
random = np.random.default_rng(0)
images = random.integers(0, 256, (40, 32, 32, 3), dtype="uint8")
split = array_split(images, random.integers(0, 3, 40))

def model():
    keras.utils.set_random_seed(3)
    inputs = keras.Input((32, 32, 3))
    x = keras.layers.Rescaling(1 / 255)(inputs)
    x = keras.layers.Conv2D(4, 3, strides=4, use_bias=False)(x)
    x = keras.layers.BatchNormalization()(x)
    x = keras.layers.Flatten()(keras.layers.ReLU()(x))
    x = keras.layers.Dense(3, activation="softmax")(x)
    network = keras.Model(inputs, x)
    mixing = AugmentationConfig(cutmix=True, alternate_flip=True)
    model = TrainingModel(network, mixing, 5)
    compile_model(model, build_optimizer(config, 2), config)
    return model

class Last(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs):
        self.logs = logs

def ended(model, last):
    with averaged_weights(model):
        weights = [np.abs(w).sum() for w in model.network.get_weights()]
    steps = int(model.optimizer.iterations.value)
    numbers = [*weights, last.logs["loss"], last.logs["accuracy"], steps]
    return [float(number) for number in numbers]

def average(model):
    return AverageEvaluation(
        model, lambda: list(training_batches(split, 16, 7, 1, alternate=True))
    )

validation = EvaluationBatches(split, 16)
by_fit, last = model(), Last()
batches = training_batches(split, 16, 7, 3, alternate=True)
by_fit.fit(batches, epochs=3, steps_per_epoch=2, shuffle=False, verbose=0,
           callbacks=[average(by_fit), last])
results = {"fit": ended(by_fit, last)}
resident, last = model(), Last()
training = ResidentTraining(resident, split, 16, 7, alternate=True)
profile = training.profile()
training.fit(3, 0, [average(resident), last], validation, verbose=0)
results["resident"] = ended(resident, last)
results["validation"] = last.logs["val_accuracy"]
results["profile"] = profile
resident.network.layers[-1].bias.assign([np.nan] * 3)
results["wrong"] = training.run_epoch(3)[1]
print(json.dumps(results))
"""


@pytest.fixture(scope="module")
def results():
    environment = {
        **os.environ,
        "KERAS_BACKEND": "jax",
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")]),
    }
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env=environment,
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    return json.loads(run.stdout.splitlines()[-1])


def test_ends_where_fit_ends(results):
    # The same batches, augmentation and updates, compiled otherwise.
    np.testing.assert_allclose(results["resident"], results["fit"], rtol=1e-4)
    assert results["fit"][-1] == 6  # 3 epochs of 2 steps
    assert 0 <= results["validation"] <= 1


def test_profile_says_where_the_time_goes_and_changes_nothing(results):
    profile = results["profile"]
    assert sum(profile["shares"].values()) == pytest.approx(1, abs=0.01)
    assert profile["images_per_second"] > 0


def test_names_the_first_step_without_a_number(results):
    assert results["wrong"] == 0


@pytest.mark.parametrize("precision", ["float32", "mixed_float16"])
@pytest.mark.parametrize("accumulation, left", [(None, 3), (2, 1)])
def test_steps_after_a_wrong_one_do_not_count(precision, accumulation, left):
    keras.config.set_dtype_policy(precision)
    inputs = keras.Input((2,))
    model = keras.Model(inputs, keras.layers.Dense(1)(inputs))
    model.compile(
        keras.optimizers.SGD(gradient_accumulation_steps=accumulation)
    )
    optimizer = model.optimizer  # wrapped for float16
    optimizer.build(model.trainable_variables)
    for _ in range(5):
        optimizer.apply([keras.ops.zeros(v.shape) for v in model.weights])
    resident._set_back(optimizer, 2)
    assert int(optimizer.iterations) == left


def test_report_projects_the_whole_time(tmp_path, capsys):
    profile = {
        "compile_seconds": 3.0,
        "images_per_second": 50.0,
        "shares": {"pooling": 1.0},
    }
    path = tmp_path / "profile.json"
    resident.report(profile, smallest(), 600, 10, path)
    assert "10 epochs will take 2.0 minutes" in capsys.readouterr().out
    assert json.loads(path.read_text())["projected_seconds"] == 120


def test_other_backends_and_streams_are_refused(monkeypatch):
    split = array_split(np.zeros((2, 32, 32, 3), "uint8"), [0, 1])
    if keras.backend.backend() != "jax":
        with pytest.raises(RunError, match="set KERAS_BACKEND=jax"):
            resident.check_resident(split)
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(RunError, match="fit into memory"):
        resident.check_resident(object())
    monkeypatch.setattr(keras.distribution, "distribution", lambda: object())
    with pytest.raises(RunError, match="--runtime.devices 1"):
        resident.check_resident(split)


def test_a_profile_needs_resident_images(tmp_path):
    with pytest.raises(RunError, match="needs --runtime.resident"):
        train.run(smallest(), tmp_path / "run", profile=True)
    assert not (tmp_path / "run").exists()


def test_no_epoch_begins_that_would_end_too_late():
    class Model:
        stop_training = False

    for passed, stops in ((100, True), (0, False)):
        limit = callbacks.TimeLimit(time.monotonic() - passed, 90)
        limit.set_model(Model())
        limit.on_epoch_begin(0)
        limit.on_epoch_end(0)
        assert limit.model.stop_training is stops


@pytest.mark.slow
def test_a_run_cut_by_the_time_limit_goes_on(tmp_path, capsys):
    config = smallest()
    folder = tmp_path / "cut"
    assert train.run(config, folder, time_limit=0.0) is None
    assert "the time limit came after epoch 1" in capsys.readouterr().out
    cut = train.run(config, folder)
    whole = train.run(config, tmp_path / "whole")
    assert cut["test"] == whole["test"]


def test_runs_keep_the_choice_in_their_config():
    config = smallest(runtime=RuntimeConfig(resident=True))
    assert type(config).from_dict(config.to_dict()).runtime.resident
    assert dataclasses.asdict(config)["runtime"]["resident"] is True
