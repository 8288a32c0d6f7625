import dataclasses
import types

import keras
import numpy as np
import pytest

from training.config import DataConfig
from training.data import load_source
from training.data import own_errors
from training.data import Stream
from training.data import training_batches
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
    label = tfds.features.ClassLabel(names=["a", "b"])
    image = tfds.features.Image(shape=(40, 40, 3))
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


@pytest.fixture
def prepare(tmp_path, monkeypatch):
    """Function that writes a data set by TFDS's own builder."""
    tfds = pytest.importorskip("tensorflow_datasets")
    tfds.disable_progress_bar()

    def prepare(image, label, images, **labels):
        class TinyPhotos(tfds.core.GeneratorBasedBuilder, skip_registration=1):
            VERSION = tfds.core.Version("1.0.0")
            url_infos = {}  # nothing is downloaded

            def _info(self):
                features = {"image": image, "label": label}
                features = tfds.features.FeaturesDict(features)
                return self.dataset_info_from_configs(features=features)

            def _split_generators(self, manager):
                return {part: self._examples(part) for part in labels}

            def _generate_examples(self, part):
                for number, label in enumerate(labels[part]):
                    yield number, {"image": images[number], "label": label}

            def _examples(self, part):
                return self._generate_examples(part)

        builder = TinyPhotos(data_dir=tmp_path)
        builder.download_and_prepare()
        monkeypatch.setattr(tfds, "builder", lambda name, data_dir: builder)
        return DataConfig("tfds", "tiny_photos", image_size=32)

    return prepare


@pytest.fixture(params=["in memory", "stream"])
def place(request, monkeypatch):
    if request.param == "stream":
        monkeypatch.setattr(tfds_source, "MEMORY_LIMIT", 0)


def test_images_of_16_bits_keep_their_greys(prepare, place):
    tfds = pytest.importorskip("tensorflow_datasets")
    levels = np.array([100, 300, 1000, 40_000, 65_535], "uint16")
    images = np.broadcast_to(levels[:, None, None, None], (5, 40, 50, 1))
    config = prepare(
        tfds.features.Image(shape=(None, None, 1), dtype=np.uint16),
        tfds.features.ClassLabel(num_classes=5),
        images,
        train=range(5),
        test=range(5),
    )
    source = load_source(config, seed=1)
    assert source.class_names == ["0", "1", "2", "3", "4"]
    assert source.channels == 1
    for inputs, labels in training_batches(source.train, 5, 1, epochs=1):
        images = keras.ops.convert_to_numpy(inputs["images"])
        assert images.dtype == np.uint8 and images.shape == (5, 32, 32, 1)
        expected = levels[keras.ops.convert_to_numpy(labels)] // 256
        np.testing.assert_array_equal(images[:, 16, 16, 0], expected)


def test_images_without_a_label_are_refused(prepare, place, monkeypatch):
    """Competitions keep the labels of their test images to themselves."""
    tfds = pytest.importorskip("tensorflow_datasets")
    config = prepare(
        tfds.features.Image(shape=(40, 40, 3)),
        tfds.features.ClassLabel(num_classes=3),
        np.zeros((3, 40, 40, 3), "uint8"),
        train=range(3),
        validation=range(3),
        test=[0, -1, -1],
    )
    with pytest.raises(RunError, match="Split 'test' of .* without a label"):
        test = load_source(config, seed=1).test
        with own_errors(test):
            list(test.evaluation_batches(3))
    config = dataclasses.replace(config, test_split="validation")
    assert len(load_source(config, seed=1).test) == 3


@pytest.mark.parametrize("kind", ["image", "label"])
def test_features_of_another_kind_are_refused(prepare, kind):
    tfds = pytest.importorskip("tensorflow_datasets")
    image = tfds.features.Image(shape=(40, 40, 3))
    label = tfds.features.ClassLabel(num_classes=2)
    images = np.zeros((2, 40, 40, 3), "uint8")
    if kind == "image":
        image = tfds.features.Tensor(shape=(40, 40, 3), dtype=np.float32)
        images, message = images.astype("float32"), "uint8 or uint16.*float32"
    else:
        label = tfds.features.Scalar(np.int64)
        message = "which classes there are.*Scalar"
    config = prepare(image, label, images, train=[0, 1])
    with pytest.raises(RunError, match=message):
        load_source(config, seed=1)
