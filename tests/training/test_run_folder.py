import json
import os
import subprocess
import sys
import types

import pytest
from training_runs import smallest

from export import training_runs
from training import compare
from training import compare_attention
from training import configs
from training import release
from training import reproduce
from training import train
from training.callbacks import TensorBoardLog
from training.errors import RunError
from training.run_folder import check_folder
from training.run_folder import open_run
from training.run_folder import read_environments
from training.run_folder import read_inputs
from training.run_folder import remove_leftovers


def contents(folder):
    """All files below a folder, with what is in them."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(p.relative_to(folder)): p.read_bytes() for p in files}


@pytest.fixture
def foreign(tmp_path):
    """Somebody's project, in which no run is."""
    folder = tmp_path / "project"
    (folder / "tensorboard").mkdir(parents=True)
    for name in ("README.md", "tensorboard/events.out.tfevents.1.a", ".3.txt"):
        (folder / name).write_text("mine")
    return folder


def test_a_folder_with_other_things_is_left_alone(foreign):
    before = contents(foreign)
    with pytest.raises(RunError) as error:
        train.run(smallest(epochs=1), foreign)
    assert "but .3.txt, README.md, tensorboard." in str(error.value)
    assert "Nothing in it was touched" in str(error.value)
    assert "by --run-dir" in str(error.value)
    assert contents(foreign) == before


def test_what_a_killed_run_left_is_no_other_thing(tmp_path):
    (tmp_path / f".{os.getpid()}.config.json").write_text("{")
    open_run(tmp_path, smallest())
    assert json.loads((tmp_path / "config.json").read_text())


def test_only_what_the_run_wrote_is_removed(tmp_path, monkeypatch):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    of_the_living = f".{os.getppid()}.checkpoint.npz"
    of_the_dead = f".{ended.pid}.checkpoint.npz"
    foreign = {f".{ended.pid}.txt", f".{ended.pid}.backup.tar.gz", ".a.txt"}
    for name in (of_the_dead, f".{os.getpid()}.best.keras", *foreign):
        (tmp_path / name).write_text("")
    for name in (of_the_living, "log.csv"):
        (tmp_path / name).write_text("")
    remove_leftovers(tmp_path)
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {of_the_living, "log.csv", *foreign}

    # TensorBoard's log begins anew; beside it may be something else.
    events = tmp_path / "tensorboard" / "events.out.tfevents.1.host.2.0"
    events.parent.mkdir()
    events.write_text("")
    (events.parent / "notes.txt").write_text("mine")
    summary = types.SimpleNamespace(Writer=lambda folder: None)
    monkeypatch.setitem(sys.modules, "tensorboard.summary", summary)
    record = types.SimpleNamespace(folder=tmp_path, history=[])
    TensorBoardLog(record).on_train_begin()
    assert [p.name for p in events.parent.iterdir()] == ["notes.txt"]


def test_commands_name_their_own_option(foreign, capsys, monkeypatch):
    """`--run-dir` would be advice that they do not understand."""
    out = foreign.parent
    foreign.rename(out / "none-1")
    command = ["--attentions", "none", "--budget", "1", "--model", "tiny"]
    command += ["--max-images", "64", "--out", str(out)]
    monkeypatch.setattr(
        compare_attention,
        "row_of_costs",
        lambda config, name, source: {"attention": name, "run": config},
    )
    assert compare_attention.main(command) == 1
    error = capsys.readouterr().err
    assert "none-1 is not empty" in error and "by --out" in error
    cell = out / "small" / "mask_structure" / "local_convolution"
    cell.parent.mkdir(parents=True)
    (out / "none-1").rename(cell)
    command = ["mask_structure", "--scale", "small", "--epochs", "1"]
    command += ["--max-images", "64", "--out", str(out)]
    monkeypatch.setattr(train, "prepare_keras", None)
    assert reproduce.main(command) == 1
    error = capsys.readouterr().err
    assert "local_convolution is not empty" in error and "by --out" in error


DAMAGED = ["", "{", "[1]", '"text"', "null", "\ufffd", '{"a": 1}']


@pytest.mark.parametrize("text", DAMAGED)
def test_a_damaged_config_is_named(text, tmp_path, capsys):
    path = tmp_path / "config.json"
    path.write_bytes(text.encode("utf-16"))
    if text.isascii():
        path.write_text(text)
    before = contents(tmp_path)
    assert train.main(["smoke", "--run-dir", str(tmp_path)]) == 1
    error = capsys.readouterr().err
    assert f"{path} is no config of `ratn train`: " in error
    assert error.endswith("or choose another --run-dir.\n")
    assert contents(tmp_path) == before


@pytest.mark.parametrize("text", [*DAMAGED[:-1], '{"test": {"top1": 1}}'])
@pytest.mark.parametrize("command", ["train", "compare", "release", "export"])
def test_a_damaged_result_is_named(text, command, tmp_path, capsys):
    config, _ = configs.load("smoke")
    (tmp_path / "config.json").write_text(json.dumps(config.to_dict()))
    (tmp_path / "last.keras").touch()
    path = tmp_path / "results.json"
    path.write_text(text)
    if command == "export":
        with pytest.raises(ValueError) as raised:
            training_runs.run_of(tmp_path / "last.keras")
        error = str(raised.value)
    else:
        folder = str(tmp_path)
        status = {
            "train": lambda: train.main(["smoke", "--run-dir", folder]),
            "compare": lambda: compare.main([folder]),
            "release": lambda: release.main([folder, "digits"]),
        }[command]()
        assert status == 1
        error = capsys.readouterr().err
        assert len(error.splitlines()) == 1
    assert f"{path} is damaged: " in error and "Remove it: " in error


@pytest.mark.parametrize("text", DAMAGED[:2])
def test_other_damaged_records_are_named(text, tmp_path):
    for name, read in (
        ("inputs.json", read_inputs),
        ("environment.json", read_environments),
    ):
        assert not read(tmp_path)
        (tmp_path / name).write_text(text)
        with pytest.raises(RunError, match=f"{name} is damaged: .*Remove it"):
            read(tmp_path)


@pytest.mark.parametrize(
    "log", ["epoch,loss\n1,much\n", "epoch\n1\n", "loss\n1,2\n", "a\0b\n1\n"]
)
def test_a_damaged_log_is_named(log, tmp_path, capsys):
    open_run(tmp_path, smallest())
    (tmp_path / "log.csv").write_text(log)
    assert compare.main([str(tmp_path)]) == 1
    error = capsys.readouterr().err
    assert "log.csv is damaged: " in error and len(error.splitlines()) == 1


def test_a_field_that_an_older_run_lacks_is_what_was_done_then(tmp_path):
    config = smallest()
    folder = open_run(tmp_path / "run", config)
    values = config.to_dict()
    del values["label_smoothing"], values["data"]["test_fraction"]
    (folder / "config.json").write_text(json.dumps(values))
    check_folder(folder, config)
    with pytest.raises(RunError, match="label_smoothing: 0.0 -> 0.1"):
        check_folder(folder, smallest(label_smoothing=0.1))
