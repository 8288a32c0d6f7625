import subprocess
import sys

import keras
import numpy as np
import pytest

from training.checkpoint import load_checkpoint
from training.checkpoint import publish_text
from training.checkpoint import published
from training.checkpoint import save_checkpoint
from training.errors import RunError


def small_model(units=3):
    model = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dropout(0.5, seed=1)]
        + [keras.layers.Dense(units)]
    )
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), "mse")
    model.optimizer.build(model.trainable_variables)
    return model


def test_weights_optimizer_seeds_and_state_come_back_together(tmp_path):
    path = tmp_path / "checkpoint.npz"
    model = small_model()
    assert load_checkpoint(path, model) is None
    x, y = np.ones((8, 4), "f4"), np.ones((8, 3), "f4")
    model.train_on_batch(x, y)
    save_checkpoint(path, model, {"epoch": 3})
    expected = [float(model.train_on_batch(x, y)) for _ in range(3)]

    other = small_model()
    assert load_checkpoint(path, other) == {"epoch": 3}
    assert [float(other.train_on_batch(x, y)) for _ in range(3)] == expected
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint.npz"]


def test_a_damaged_checkpoint_says_so(tmp_path):
    path = tmp_path / "checkpoint.npz"
    save_checkpoint(path, small_model(), {})
    whole = path.read_bytes()
    for length in (0, 10, len(whole) // 2):
        path.write_bytes(whole[:length])
        with pytest.raises(RunError, match="is damaged"):
            load_checkpoint(path, small_model())


def test_another_network_is_refused(tmp_path):
    path = tmp_path / "checkpoint.npz"
    save_checkpoint(path, small_model(), {})
    with pytest.raises(RunError, match="another version"):
        load_checkpoint(path, small_model(units=5))


def test_what_was_there_stays_until_the_new_file_is_whole(tmp_path):
    path = tmp_path / "file.txt"
    publish_text(path, "old")
    with pytest.raises(KeyError):
        with published(path) as temporary:
            temporary.write_text("half")
            raise KeyError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_cannot_be_written_is_one_clear_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="Cannot write .*: Not a directory"):
        publish_text(tmp_path / "file" / "log.csv", "x")


def test_a_full_disk_leaves_the_last_checkpoint_intact(tmp_path):
    """A limit on file size stands in for the full disk: same code path."""
    resource = pytest.importorskip("resource")
    del resource
    script = f"""
import resource
from training.checkpoint import publish_text
from training.errors import RunError
path = {str(tmp_path / "log.csv")!r}
publish_text(path, "good")
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    publish_text(path, "x" * 100_000)
except RunError as error:
    print(error)
"""
    run = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True
    )
    assert "Cannot write" in run.stdout and "File too large" in run.stdout
    assert (tmp_path / "log.csv").read_text() == "good"
    assert [p.name for p in tmp_path.iterdir()] == ["log.csv"]
