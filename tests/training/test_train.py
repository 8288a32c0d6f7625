import contextlib
import csv
import dataclasses
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import keras
import numpy as np
import pytest
from PIL import Image
from training_runs import checkpoint_arrays
from training_runs import smallest

from keras_ratn.models.named import NETWORKS
from training import callbacks
from training import runtime
from training import train
from training.checkpoint import load_checkpoint
from training.checkpoint import save_checkpoint
from training.config import DataConfig
from training.config import RuntimeConfig
from training.data import EvaluationBatches
from training.data import load_source
from training.data import Split
from training.errors import RunError
from training.model import compile_model
from training.model import TrainingModel
from training.networks import build_network
from training.optimization import build_optimizer

ROOT = pathlib.Path(__file__).resolve().parents[2]


def assert_same_arrays(actual, expected):
    assert actual.keys() == expected.keys()
    for key, value in expected.items():
        np.testing.assert_array_equal(actual[key], value, err_msg=key)


def test_a_run_leaves_its_record(tmp_path):
    config = smallest()
    results = train.run(config, tmp_path)
    files = {path.name for path in tmp_path.iterdir()}
    assert files >= {
        "config.json",
        "log.csv",
        "best.keras",
        "last.keras",
        "checkpoint.npz",
        "curves.png",
        "inputs.json",
        "results.json",
    }
    assert json.loads((tmp_path / "config.json").read_text()) == (
        config.to_dict()
    )
    rows = list(csv.DictReader((tmp_path / "log.csv").open()))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert float(rows[1]["loss"]) == results["history"][1]["loss"]
    network = keras.saving.load_model(tmp_path / "last.keras")
    names = network.get_layer("predictions").class_names
    assert names == [str(digit) for digit in range(10)]
    card = (tmp_path / "README.md").read_text()
    assert f"| test accuracy | {results['test']['accuracy']:.2%} |" in card
    assert "probability for each of\n10 classes: 0, 1, 2" in card
    record = json.loads((tmp_path / "model_card.json").read_text())
    assert record["classes"] == names and record["test"] == results["test"]
    (environment,) = json.loads((tmp_path / "environment.json").read_text())
    assert environment["versions"]["keras"] == keras.__version__
    # A finished run is neither trained nor tested again, nor even built.
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert train.run(config, tmp_path, build=None) == results
    assert before == {p: p.stat().st_mtime_ns for p in tmp_path.iterdir()}
    with pytest.raises(RunError, match="another config"):
        train.run(smallest(seed=7), tmp_path)


def logged_steps(folder, tag):
    """Epochs and values of a curve, as TensorBoard reads them."""
    accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator"
    )
    log = accumulator.EventAccumulator(str(folder / "tensorboard"))
    log.Reload()
    return {e.step: e.tensor_proto.float_val[0] for e in log.Tensors(tag)}


class Killed(BaseException):
    """Stands in for a kill: nothing catches it."""


def test_a_run_stopped_while_it_publishes_ends_as_if_it_were_not(
    tmp_path, monkeypatch
):
    averaging = dataclasses.replace(smallest().optimizer, ema=0.5)
    config = smallest(epochs=3, optimizer=averaging)
    results = train.run(config, tmp_path / "whole")

    replace = os.replace
    # Before anything is saved, and between the files of the second epoch.
    for name, occurrence in (("best.keras", 1), ("checkpoint.npz", 2)):
        targets = []

        def stop(source, target, name=name, nth=occurrence, seen=targets):
            seen.append(os.path.basename(target))
            if seen.count(name) == nth:
                raise Killed
            replace(source, target)

        monkeypatch.setattr(os, "replace", stop)
        with pytest.raises(Killed):
            train.run(config, tmp_path / "stopped")
    monkeypatch.setattr(os, "replace", replace)
    train.run(config, tmp_path / "stopped")
    assert_same_arrays(
        checkpoint_arrays(tmp_path / "stopped"),
        checkpoint_arrays(tmp_path / "whole"),
    )
    for name in ("best.keras", "last.keras"):
        models = [
            keras.saving.load_model(tmp_path / run / name).get_weights()
            for run in ("stopped", "whole")
        ]
        for actual, expected in zip(*models):
            np.testing.assert_array_equal(actual, expected)
    again = train.run(config, tmp_path / "whole")
    assert again["test"] == results["test"]
    logs = [
        [
            {k: v for k, v in row.items() if k != "images_per_second"}
            for row in csv.DictReader((tmp_path / run / "log.csv").open())
        ]
        for run in ("stopped", "whole")
    ]
    assert logs[0] == logs[1]
    for tag in ("loss", "val_accuracy"):
        expected = {row["epoch"]: row[tag] for row in results["history"]}
        for run in ("stopped", "whole"):
            found = logged_steps(tmp_path / run, tag)
            assert found == pytest.approx(expected)


@pytest.mark.slow
def test_ten_kills_change_no_bit(tmp_path):
    """SIGKILL at ten random moments, each time the same command again."""
    command = [sys.executable, "-m", "keras_ratn", "train", "smoke"]
    command += ["--epochs", "30", "--runtime.deterministic"]
    command += ["--data.max-images", "128", "--batch-size", "32", "--run-dir"]

    def start(folder):
        return subprocess.Popen(
            [*command, str(tmp_path / folder)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )

    def wait_for_checkpoint(process, folder):
        """Until the process has published one of its own."""
        path = tmp_path / folder / "checkpoint.npz"
        before = path.stat().st_mtime_ns if path.exists() else None
        while not path.exists() or path.stat().st_mtime_ns == before:
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.01)

    started = time.monotonic()
    whole = start("whole")
    wait_for_checkpoint(whole, "whole")
    first_checkpoint = time.monotonic() - started
    assert whole.wait() == 0

    generator = np.random.default_rng()
    for kill in range(10):
        process = start("killed")
        if kill % 2:
            # Among the epochs and their publishing.
            wait_for_checkpoint(process, "killed")
            time.sleep(generator.uniform(0, 0.6))
        else:
            # Anywhere from the start to the first epoch's end.
            time.sleep(generator.uniform(0, first_checkpoint))
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL, "finished before the kills"
    assert start("killed").wait() == 0
    assert_same_arrays(
        checkpoint_arrays(tmp_path / "killed"),
        checkpoint_arrays(tmp_path / "whole"),
    )


def test_a_changed_config_is_refused_with_the_difference(tmp_path):
    train.open_run(tmp_path, smallest())
    train.open_run(tmp_path, smallest())
    with pytest.raises(RunError, match="another config") as error:
        train.open_run(tmp_path, smallest(seed=7))
    assert "seed: 1704 -> 7" in str(error.value)


def photo_folder(root, count=20):
    """Noise in two classes, and the experiment that tells them apart."""
    random = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (root / name).mkdir(parents=True)
        for index in range(count):
            pixels = random.integers(0, 256, (32, 32, 3), np.uint8)
            Image.fromarray(pixels).save(root / name / f"{index:02d}.png")
    return smallest(data=DataConfig(source="folder", location=str(root)))


def test_an_older_config_means_what_was_done_before_its_fields_came(tmp_path):
    """Once with and once without the one that then had no name."""
    path = tmp_path / "config.json"
    train.open_run(tmp_path, smallest())
    values = json.loads(path.read_text())
    del values["optimizer"]["bias_factor"]
    path.write_text(json.dumps(values))
    train.open_run(tmp_path, smallest())
    faster = dataclasses.replace(smallest().optimizer, bias_factor=64.0)
    with pytest.raises(RunError) as error:
        train.open_run(tmp_path, smallest(optimizer=faster))
    assert "optimizer.bias_factor: 1.0 -> 64.0" in str(error.value)


def test_changed_data_are_refused(tmp_path, capsys):
    """They would be held out otherwise: tested on what was trained on."""
    photos, folder = tmp_path / "photos", tmp_path / "run"
    config = photo_folder(photos)
    train.run(config, folder, time_limit=0)
    kept = json.loads((folder / "inputs.json").read_text())["data"]
    assert kept["classes"] == ["cat", "dog"]
    assert (kept["train"]["images"], kept["test"]["images"]) == (36, 4)
    before = (folder / "checkpoint.npz").read_bytes()
    (photos / "cat" / "19.png").rename(photos / "cat" / "x.png")
    with pytest.raises(RunError, match="other images or weights") as error:
        train.run(config, folder)
    assert "data.train.sha256" in str(error.value)
    assert "another --run-dir" in str(error.value)
    (photos / "cat" / "x.png").unlink()
    with pytest.raises(RunError, match="data.train.images: 36 -> 35"):
        train.run(config, folder)
    assert (folder / "checkpoint.npz").read_bytes() == before
    # Older runs have no such file.
    (folder / "inputs.json").unlink()
    results = train.run(config, folder)
    assert train.run(config, folder) == results
    # A finished one is compared where the data are at hand anyway.
    (photos / "cat" / "18.png").unlink()
    assert train.run(config, folder) == results
    source = load_source(config.data, config.seed)
    with pytest.raises(RunError, match="data.train.images: 35 -> 34"):
        train.run(config, folder, source=source)


def test_labels_and_names_tell_images_apart():
    names = np.array(["a", "b", "c"], object)
    split = Split(np.arange(3), None, names=names)
    found = split.fingerprint()
    assert found["images"] == 3
    assert split.subset([0, 1, 2]).fingerprint() == found
    others = (
        split.subset([0, 2, 1]),
        Split(np.array([0, 1, 1]), None, names=names),
        Split(np.arange(3), None, names=names[::-1]),
        Split(np.arange(3), None),
    )
    assert all(other.fingerprint() != found for other in others)


def test_changed_weights_to_start_from_are_refused(tmp_path):
    start, folder = tmp_path / "start.keras", tmp_path / "run"
    config = smallest(init=str(start))
    names = [str(digit) for digit in range(10)]
    network = build_network(smallest(), names)
    network.save(start)
    train.run(config, folder, time_limit=0)
    network.set_weights([w + 1 for w in network.get_weights()])
    network.save(start)
    with pytest.raises(RunError, match="init.sha256: '"):
        train.run(config, folder)
    shutil.copy(folder / "last.keras", start)
    (folder / "inputs.json").unlink()
    results = train.run(config, folder)
    assert train.run(config, folder) == results
    network.save(start)
    with pytest.raises(RunError, match="init.sha256: '"):
        train.run(config, folder)
    start.unlink()
    assert train.run(config, folder) == results


def test_a_run_stops_at_nan_and_keeps_the_last_good_model(tmp_path):
    config = smallest()
    optimizer = dataclasses.replace(config.optimizer, learning_rate=1e30)
    config = dataclasses.replace(config, optimizer=optimizer)
    with pytest.raises(
        RunError, match=r"became nan at step \d+, at a learning"
    ):
        train.run(config, tmp_path)
    assert not (tmp_path / "last.keras").exists()
    for array in (tmp_path).glob("checkpoint.npz"):
        assert np.all(np.isfinite(np.load(array)["variable_00000"]))


def test_a_run_that_is_stopped_leaves_a_model(tmp_path, monkeypatch, capsys):
    def interrupt(self, epoch, logs=None):
        if epoch == 2:
            raise KeyboardInterrupt

    def last():
        network = keras.saving.load_model(tmp_path / "last.keras")
        saved = checkpoint_arrays(tmp_path)["variable_00000"]
        np.testing.assert_array_equal(network.get_weights()[0], saved)
        (tmp_path / "last.keras").unlink()
        (tmp_path / "curves.png").unlink()

    command = ["smoke", "--data.max-images", "64", "--batch-size", "16"]
    command += ["--run-dir", str(tmp_path)]
    # A limit that the first epoch goes beyond.
    assert train.main([*command, "--time-limit", "0"]) == 0
    last()
    leftover = tmp_path / f".{os.getpid()}.checkpoint.npz"
    leftover.write_text("half")
    monkeypatch.setattr(callbacks.StopAtNaN, "on_epoch_begin", interrupt)
    assert train.main(command) == 130
    last()
    err = capsys.readouterr().err
    assert "ratn train: interrupted; the same command goes on" in err
    environments = json.loads((tmp_path / "environment.json").read_text())
    assert [entry["after_epoch"] for entry in environments] == [0, 1]
    assert not leftover.exists()


@pytest.fixture
def as_at_a_terminal():
    """Python's own way with Ctrl-C: in the background it is ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_an_interrupt_that_keras_swallows_comes_back(as_at_a_terminal):
    before = signal.getsignal(signal.SIGINT)
    with callbacks.StopAtInterrupt() as listener:
        listener.on_train_batch_end(0)
        with contextlib.suppress(KeyboardInterrupt):  # as Keras does
            signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            listener.on_train_batch_end(1)
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.slow
def test_a_run_on_a_full_disk_keeps_its_checkpoint(tmp_path):
    """A limit on file size stands in for the full disk: same code path."""
    pytest.importorskip("resource")
    command = ["train", "smoke", "--data.max-images", "64"]
    command += ["--batch-size", "16", "--run-dir", str(tmp_path)]
    assert train.main([*command[1:], "--time-limit", "0"]) == 0
    before = (tmp_path / "checkpoint.npz").read_bytes()
    script = f"""
import resource, sys
from keras_ratn.__main__ import main
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
sys.exit(main({command!r}))
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True
    )
    assert done.returncode == 1, done.stderr
    last = done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert last.startswith(f"ratn train: Cannot write {tmp_path}")
    assert "File too large" in last
    assert (tmp_path / "checkpoint.npz").read_bytes() == before
    assert not list(tmp_path.glob(".*"))
    assert train.main(command[1:]) == 0


@pytest.mark.parametrize(
    "name, message",
    [
        ("kernel", "became nan"),
        # Training does not read it: the loss stays finite.
        ("moving_mean", "moving_mean became nan or infinite"),
    ],
)
def test_nan_in_a_later_epoch_leaves_the_earlier_model(
    name, message, tmp_path, monkeypatch
):
    def spoil(self, epoch, logs=None):
        if epoch == 1:
            weight = next(w for w in self.model.weights if w.name == name)
            weight.assign(weight * np.nan)

    monkeypatch.setattr(callbacks.StopAtNaN, "on_epoch_begin", spoil)
    # No validation images: there is no best.keras to fall back on.
    data = dataclasses.replace(smallest().data, validation_fraction=0.0)
    config = smallest(data=data, epochs=3)
    with pytest.raises(
        RunError, match=message + r".* at step \d+, .*last.keras"
    ):
        train.run(config, tmp_path)
    network = keras.saving.load_model(tmp_path / "last.keras")
    saved = checkpoint_arrays(tmp_path)
    for index, weights in enumerate(network.get_weights()):
        assert np.all(np.isfinite(weights))
        if index == 0:
            np.testing.assert_array_equal(weights, saved["variable_00000"])
    assert len((tmp_path / "log.csv").read_text().splitlines()) == 2


def test_the_environment_names_versions_and_devices():
    found = runtime.environment()
    assert found["versions"]["keras"] == keras.__version__
    assert found["backend"] in found["versions"]
    assert found["devices"]


def test_options_are_strict_and_a_dry_run_trains_nothing(tmp_path, capsys):
    assert train.main(["--help"]) == 0
    assert "cifar10_modern" in capsys.readouterr().out
    assert train.main(["no_such_config"]) == 1
    assert "There is no config 'no_such_config'" in capsys.readouterr().err
    with pytest.raises(SystemExit) as error:
        train.main(["smoke", "--no-such-option", "1"])
    assert error.value.code == 2
    folder = tmp_path / "run"
    assert train.main(["smoke", "--dry-run", "--run-dir", str(folder)]) == 0
    out = capsys.readouterr().out
    assert "6 epochs of 20 steps of 64: 120 steps" in out
    assert "1,293 train, 144 validation, 360 test" in out
    assert not folder.exists()


@pytest.mark.parametrize("config", ["cifar10", "imagenet", "folder"])
def test_the_help_of_a_config_holds_its_command(config, capsys):
    with pytest.raises(SystemExit) as error:
        train.main([config, "--help"])
    assert error.value.code == 0
    out = capsys.readouterr().out
    assert f"ratn train {config}" in out
    assert "--optimizer.learning-rate" in out


def readme_commands():
    pages = ROOT / "README.md", ROOT / "training" / "README.md"
    text = "\n".join(page.read_text() for page in pages)
    text = text.replace("\\\n", "")
    lines = [line.partition("#")[0].split() for line in text.splitlines()]
    return [line[2:] for line in lines if line[:2] == ["ratn", "train"]]


@pytest.mark.parametrize("command", readme_commands(), ids=" ".join)
def test_the_readme_s_commands_are_understood(command):
    parsed = train.parse(command, "ratn train")
    assert parsed.run_dir == (
        command[command.index("--run-dir") + 1]
        if "--run-dir" in command
        else f"runs/{command[0]}"
    )
    # The network that they name is there.
    assert NETWORKS[parsed.experiment.model.lower()].task == "classification"


@pytest.mark.slow
def test_fine_tuning_as_the_readme_does_it(tmp_path):
    """Head first, then all layers, the early ones more slowly."""

    def weights(folder):
        model = keras.saving.load_model(folder / "last.keras")
        weights = {v.path: np.array(v) for v in model.weights}
        return {k: w for k, w in weights.items() if "moving" not in k}

    def change(new, old, part):
        changes = [np.abs(new[k] - old[k]).max() for k in old if part in k]
        return max(changes)

    start = smallest()
    train.run(start, tmp_path / "start")
    init = {"init": str(tmp_path / "start" / "last.keras")}
    head = dataclasses.replace(start, **init, freeze_until="predictions")
    train.run(head, tmp_path / "head")
    slow = dataclasses.replace(head.optimizer, layer_decay=0.1)
    init = {"init": str(tmp_path / "head" / "last.keras")}
    rest = dataclasses.replace(start, **init, optimizer=slow)
    train.run(rest, tmp_path / "all")
    begun, headed, ended = (
        weights(tmp_path / name) for name in ("start", "head", "all")
    )
    assert change(headed, begun, "predictions") > 0
    assert all(change(headed, begun, k) == 0 for k in begun if "stage" in k)
    changes = [
        change(ended, headed, part)
        for part in ("stem", "stage1", "stage2", "predictions")
    ]
    assert 0 < changes[0] < changes[1] < changes[2] < changes[3]


def test_a_message_not_a_traceback(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    status = train.main(["smoke", "--run-dir", str(tmp_path / "file" / "run")])
    assert status == 1
    assert "Cannot make the run folder" in capsys.readouterr().err
    assert train.main(["smoke", "--model", "resnet9"]) == 1
    assert "There is no network 'resnet9'" in capsys.readouterr().err
    assert train.main(["smoke", "--batch-size", "0"]) == 1
    assert "`batch_size` must be at least 1" in capsys.readouterr().err
    # Keras would round the 20 steps of an epoch up to 21.
    assert train.main(["smoke", "--runtime.steps-per-execution", "3"]) == 1
    assert "must divide the 20 steps" in capsys.readouterr().err


@pytest.mark.parametrize("part", ["train", "test"])
def test_too_many_corrupt_images_are_one_line(tmp_path, capsys, part):
    photos = tmp_path / "photos"
    for folder in ("train", "validation", "test"):
        for name in ("dark", "bright"):
            (photos / folder / name).mkdir(parents=True)
            for index in range(4):
                path = photos / folder / name / f"{index}.png"
                Image.new("RGB", (32, 32)).save(path)
                if folder == part and name == "dark":
                    path.write_bytes(b"")
    command = ["folder", "--data.location", str(photos), "--model", "smallest"]
    command += ["--data.image-size", "32", "--batch-size", "8", "--epochs"]
    command += ["1", "--optimizer.warmup-epochs", "0"]
    command += ["--data.max-corrupt-images", "3"]
    assert train.main([*command, "--run-dir", str(tmp_path / "run")]) == 1
    err = capsys.readouterr().err
    assert "Traceback" not in err and err.count("ratn train:") == 1
    last = err.splitlines()[-1]
    assert last.startswith("ratn train: 4 images cannot be read, the last one")


def test_validation_loss_is_the_mean_over_the_images():
    """Although its last batch is filled up, and some cannot be read."""
    config = smallest(label_smoothing=0.1)
    source = load_source(config.data, 1)
    network = build_network(config, source.class_names)
    model = TrainingModel(network, config.augmentation, 1)
    compile_model(model, build_optimizer(config, 4), config)
    split, bad = source.test.subset(np.arange(14)), [0, 9, 12]

    def read(numbers):
        return split.read(numbers)[0], ~np.isin(numbers, bad)

    logs = model.evaluate(
        EvaluationBatches(Split(split.labels, read), 8),
        return_dict=True,
        verbose=0,
    )
    split = split.subset(np.delete(np.arange(14), bad))
    images, _ = split.read(np.arange(11))
    scores = network.predict(images.astype("f4"), verbose=0)
    targets = 0.9 * np.eye(10)[split.labels] + 0.01
    expected = -np.mean(np.sum(targets * np.log(scores), axis=1))
    assert logs["loss"] == pytest.approx(expected, rel=1e-4)
    right = scores.argmax(axis=1) == split.labels
    assert logs["accuracy"] == pytest.approx(right.mean())


def test_a_checkpoint_of_float16_is_loaded(tmp_path):
    """Keras wraps its optimizer in one that scales the loss."""
    keras.config.set_dtype_policy("mixed_float16")
    config = smallest()

    def fresh():
        layers = [keras.Input((8, 8, 3)), keras.layers.Flatten()]
        layers += [keras.layers.Dense(10, "softmax", dtype="float32")]
        network = keras.Sequential(layers)
        model = TrainingModel(network, config.augmentation, 1)
        compile_model(model, build_optimizer(config, 4), config)
        return model

    model, labels = fresh(), np.arange(8)
    images = np.ones((8, 8, 8, 3), "uint8")
    model.train_on_batch({"images": images, "labels": labels}, labels)
    path = tmp_path / "checkpoint.npz"
    save_checkpoint(path, model, {"epoch": 1})
    assert load_checkpoint(path, fresh()) == {"epoch": 1}


@pytest.mark.slow
def test_a_run_in_float16_is_resumed(tmp_path):
    optimizer = dataclasses.replace(smallest().optimizer, ema=0.5)
    runtime = RuntimeConfig(precision="mixed_float16", deterministic=True)
    config = smallest(optimizer=optimizer, runtime=runtime)
    train.run(config, tmp_path / "whole")
    # A limit that the first epoch goes beyond.
    assert train.run(config, tmp_path / "halves", time_limit=0) is None
    train.run(config, tmp_path / "halves")
    whole, halves = (
        checkpoint_arrays(tmp_path / run) for run in ("whole", "halves")
    )
    assert_same_arrays(halves, whole)
