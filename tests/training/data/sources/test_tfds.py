import dataclasses
import types

import numpy as np
import pytest

from training.config import DataConfig
from training.data import load_source
from training.data import Stream
from training.data.sources import tfds as tfds_source
from training.errors import RunError


@pytest.fixture
def tiny_tfds(monkeypatch):
    """TFDS with one prepared data set, whose examples are not in order."""
    tfds = pytest.importorskip("tensorflow_datasets")
    tf = pytest.importorskip("tensorflow")
    numbers = np.array([3, 7, 1, 9, 0, 5, 8, 2, 6, 4])
    images = np.zeros((10, 40, 40, 3), np.uint8)
    examples = {
        "id": [f"train_{number:02d}" for number in numbers],
        "image": images + numbers.astype("uint8")[:, None, None, None],
        "label": numbers % 2,
    }
    label = types.SimpleNamespace(names=["a", "b"])
    image = types.SimpleNamespace(shape=(40, 40, 3))
    builder = types.SimpleNamespace(
        info=types.SimpleNamespace(
            splits={"train": types.SimpleNamespace(num_bytes=1)},
            features={"label": label, "image": image},
        ),
        as_dataset=lambda split, shuffle_files: (
            tf.data.Dataset.from_tensor_slices(examples)
        ),
    )
    monkeypatch.setattr(tfds, "builder", lambda name, data_dir: builder)
    return DataConfig("tfds", "tiny_colors")


def test_a_tfds_name_that_is_not_there_says_how_to_prepare_it(tmp_path):
    pytest.importorskip("tensorflow_datasets")
    config = DataConfig(
        "tfds", "no_such_data_set", tfds_directory=str(tmp_path)
    )
    with pytest.raises(RunError, match="no prepared 'no_such_data_set'") as e:
        load_source(config, seed=1)
    assert "tfds.load('no_such_data_set')" in str(e.value)


def test_tfds_without_labels_is_refused(tiny_tfds, monkeypatch):
    tfds = pytest.importorskip("tensorflow_datasets")
    builder = tfds.builder("tiny", data_dir=None)
    del builder.info.features["label"]
    with pytest.raises(RunError, match="image and label. Received: image"):
        load_source(tiny_tfds, seed=1)


def test_nothing_can_be_held_out_of_a_stream(tiny_tfds, monkeypatch):
    monkeypatch.setattr(tfds_source, "MEMORY_LIMIT", 0)
    assert isinstance(load_source(tiny_tfds, seed=1).train, Stream)
    config = dataclasses.replace(tiny_tfds, validation_fraction=0.1)
    with pytest.raises(RunError, match="must be 0. Received: 0.1"):
        load_source(config, seed=1)


def test_tfds_images_come_in_their_original_order(tiny_tfds):
    source = load_source(tiny_tfds, seed=1)
    assert source.class_names == ["a", "b"] and source.channels == 3
    assert (len(source.train), len(source.test)) == (9, 1)
    images, _ = source.train.read(np.arange(9))
    assert images.shape == (9, 32, 32, 3)
    numbers = images[:, 0, 0, 0]
    assert list(numbers) == sorted(numbers)
    np.testing.assert_array_equal(source.train.labels, numbers % 2)
