import dataclasses

import numpy as np
import pytest
from image_places import write_npz

from training.config import DataConfig
from training.data import load_source
from training.errors import RunError


def test_arrays_from_a_file(tmp_path):
    config, arrays = write_npz(
        tmp_path / "a.npz", class_names=np.array(["a", "b", "c", "d"])
    )
    source = load_source(config, seed=1)
    assert source.class_names == ["a", "b", "c", "d"]
    np.testing.assert_array_equal(
        source.test.read(np.arange(6))[0], arrays["x_test"]
    )
    assert list(source.test.labels) == [0, 1, 2, 3, 0, 1]
    capped = load_source(dataclasses.replace(config, max_images=3), seed=1)
    assert (len(capped.train), len(capped.test)) == (3, 3)


@pytest.mark.parametrize(
    "arrays, message",
    [
        ({"y_train": None}, "lacks y_train and holds the arrays x_train, x_t"),
        ({"x_train": np.zeros((20, 32, 32, 3))}, "x_train must be uint8"),
        ({"y_test": np.arange(5) % 4}, "5 labels for 6 images"),
        ({"y_test": np.arange(6)}, "from 0 to 3. Received: labels from 0 to 5"),
        ({"y_train": np.arange(20) % 4 - 1}, "Received: labels from -1 to 2"),
        ({"y_train": np.array(["a", "b"] * 10)}, "Received: <U1, such as a"),
        ({"y_train": np.arange(20) + 0.5}, "Received: float64, such as 0.5"),
        ({"y_train": np.array([0.0, np.nan] * 10)}, "float64, such as nan"),
        ({"y_test": None}, "lacks y_test and holds .*x_test. Wanted"),
        (
            {"x_test": np.zeros((0, 32, 32, 3), "u1"), "y_test": np.zeros(0)},
            "0 labels for 0 images",
        ),
        (
            {"x_test": np.zeros((6, 32, 32, 1), "u1")},
            "Received: {'train': 3, 'test': 1}",
        ),
    ],
)
def test_arrays_that_are_wrong_say_what_was_wanted(tmp_path, arrays, message):
    config, _ = write_npz(tmp_path / "a.npz", **arrays)
    with pytest.raises(RunError, match=message):
        load_source(config, seed=1)


def test_a_file_that_is_no_npz(tmp_path):
    def assert_refused(name, message="cannot be read"):
        with pytest.raises(RunError, match=message):
            load_source(DataConfig("npz", str(tmp_path / name)), seed=1)

    (tmp_path / "a.npz").write_text("no")
    assert_refused("a.npz")
    np.save(tmp_path / "a.npy", np.zeros(3))
    assert_refused("a.npy", "is one array without a name. Wanted: x_train")
    write_npz(tmp_path / "half.npz")
    whole = (tmp_path / "half.npz").read_bytes()
    (tmp_path / "half.npz").write_bytes(whole[: len(whole) // 2])
    assert_refused("half.npz")
    (tmp_path / "empty.npz").write_bytes(b"")
    assert_refused("empty.npz")


@pytest.mark.parametrize("channels", [1, 2, 4, 5])
def test_channels_do_not_touch_each_other(tmp_path, channels):
    """Pillow would take the last of 2 or 4 for opacity."""
    values = np.array([200, 150, 100, 0, 50])[:channels]
    values[-1] = 0
    images = np.broadcast_to(values.astype("u1"), (20, 48, 40, channels))
    config, _ = write_npz(tmp_path / "a.npz", x_train=images, x_test=images[:6])
    source = load_source(config, seed=1)
    assert source.channels == channels
    found, _ = source.train.read(np.arange(20))
    assert found.shape == (20, 32, 32, channels)
    assert (found == values).all()
