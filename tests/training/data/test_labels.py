import dataclasses

import numpy as np
import pytest
from image_places import write_npz

from training.data import load_source
from training.data import noisy_labels
from training.errors import RunError


@pytest.mark.parametrize("rate", [0.1, 0.3, 0.5, 0.7])
def test_label_noise_has_the_confusion_matrix_of_the_paper(rate):
    labels = np.repeat(np.arange(10), 5000)
    noisy = noisy_labels(labels, rate, 10, seed=1)
    counts = np.zeros((10, 10))
    np.add.at(counts, (labels, noisy), 1)
    expected = np.full((10, 10), rate / 9)
    np.fill_diagonal(expected, 1 - rate)
    # Five standard deviations of a share of 5,000 draws.
    deviation = np.sqrt(expected * (1 - expected) / 5000)
    assert np.all(np.abs(counts / 5000 - expected) < 5 * deviation)
    np.testing.assert_array_equal(noisy, noisy_labels(labels, rate, 10, 1))
    assert np.any(noisy != noisy_labels(labels, rate, 10, seed=2))


def test_label_noise_and_label_files_never_touch_the_test_labels(tmp_path):
    config, arrays = write_npz(tmp_path / "a.npz")
    true = arrays["y_train"].reshape(-1)
    noisy = load_source(dataclasses.replace(config, label_noise=1.0), seed=1)
    assert not np.any(noisy.train.labels == true)
    assert list(noisy.test.labels) == [0, 1, 2, 3, 0, 1]
    np.savez(tmp_path / "labels.npz", worst=3 - true)
    config = dataclasses.replace(
        config, label_file=str(tmp_path / "labels.npz:worst")
    )
    source = load_source(config, seed=1)
    np.testing.assert_array_equal(source.train.labels, 3 - true)
    assert list(source.test.labels) == [0, 1, 2, 3, 0, 1]


def test_test_images_that_are_held_out_keep_their_own_labels(tmp_path):
    config, arrays = write_npz(tmp_path / "a.npz", x_test=None, y_test=None)
    true = arrays["y_train"].reshape(-1)
    np.save(tmp_path / "labels.npy", 3 - true)
    config = dataclasses.replace(config, test_fraction=0.5)
    plain = load_source(config, seed=1)
    config = dataclasses.replace(
        config, label_file=str(tmp_path / "labels.npy")
    )
    source = load_source(config, seed=1)
    np.testing.assert_array_equal(source.test.labels, plain.test.labels)
    np.testing.assert_array_equal(source.train.labels, 3 - plain.train.labels)
    numbers = np.arange(10)
    for part in ("train", "test"):
        actual, expected = (getattr(s, part) for s in (source, plain))
        np.testing.assert_array_equal(
            actual.read(numbers)[0], expected.read(numbers)[0]
        )


@pytest.mark.parametrize(
    "labels, message",
    [
        (np.zeros(19, int), "one label for each of the 20 training images"),
        (np.full(20, 4), "labels from 0 to 3. Received: .* from 4 to 4"),
        (np.full(20, "cat"), "numbers of classes.* <U3, such as cat"),
        (np.full(20, 0.9), "numbers of classes.* float64, such as 0.9"),
    ],
)
def test_label_files_that_do_not_fit(tmp_path, labels, message):
    config, _ = write_npz(tmp_path / "a.npz")
    np.save(tmp_path / "labels.npy", labels)
    config = dataclasses.replace(
        config, label_file=str(tmp_path / "labels.npy")
    )
    with pytest.raises(RunError, match=message):
        load_source(config, seed=1)
    np.savez(tmp_path / "labels.npz", worst=labels, best=labels)
    for file, reason in (
        ("nowhere.npz:key", "No such file"),
        ("labels.npz:none", "none"),
        ("labels.npz", "it holds the arrays worst, best"),
    ):
        config = dataclasses.replace(config, label_file=str(tmp_path / file))
        message = f"cannot be read.*{reason}.*FILE.npz:KEY"
        with pytest.raises(RunError, match=message):
            load_source(config, seed=1)
