import dataclasses
import os
import shutil
import struct
import subprocess
import sys
import types

import numpy as np
import pytest
from PIL import Image

from export import images as export_images
from training import sources
from training.config import DataConfig
from training.errors import RunError
from training.sources import load_source
from training.streams import Stream


def write_folder(root, parts=("",), classes=("cat", "dog"), count=4):
    for part in parts:
        for label, name in enumerate(classes):
            folder = root / part / name
            folder.mkdir(parents=True)
            for index in range(count):
                # Landscape, of one colour: red is the class, green the number.
                color = (100 * label, 10 * index, 0)
                Image.new("RGB", (64, 40), color).save(folder / f"{index}.png")
    return DataConfig(source="folder", location=str(root))


def test_a_folder_with_its_own_splits(tmp_path):
    config = write_folder(tmp_path, ("train", "validation", "test"))
    source = load_source(config, seed=1)
    assert source.class_names == ["cat", "dog"]
    assert (len(source.train), len(source.validation)) == (8, 8)
    images, readable = source.train.read(np.array([1, 6]))
    assert images.shape == (2, 32, 32, 3) and images.dtype == np.uint8
    assert readable.all()
    assert list(images[0, 0, 0]) == [0, 10, 0]
    assert list(images[1, 31, 31]) == [100, 20, 0]
    assert list(source.train.labels) == [0] * 4 + [1] * 4


def test_a_folder_split_by_the_seed(tmp_path):
    config = write_folder(tmp_path, count=20)
    config = dataclasses.replace(
        config, validation_fraction=0.25, test_fraction=0.5
    )
    source = load_source(config, seed=1)
    parts = (source.train, source.validation, source.test)
    assert [len(part) for part in parts] == [15, 5, 20]
    pixels = [p.read(np.arange(len(p)))[0][:, 0, 0, :2] for p in parts]
    # Every image is in one part.
    assert len(np.unique(np.concatenate(pixels), axis=0)) == 40


def pixels_of(folder, part="train"):
    """Colours of the images that the export takes, and their classes."""
    images, labels, names = export_images.load_images(
        folder, (32, 32, 3), part=part
    )
    return images[:, 0, 0], labels, names


def test_hidden_files_and_folders_are_no_images(tmp_path):
    config = write_folder(tmp_path)
    (tmp_path / "cat" / "._0.png").write_bytes(b"Mac OS X")
    hidden = tmp_path / "dog" / ".ipynb_checkpoints"
    hidden.mkdir()
    shutil.copy(tmp_path / "dog" / "0.png", hidden / "0-checkpoint.png")
    (tmp_path / ".git").mkdir()
    config = dataclasses.replace(config, test_fraction=0.0)
    assert len(load_source(config, 1).train) == 8
    pixels, labels, names = pixels_of(tmp_path)
    assert len(pixels) == 8 and names == ["cat", "dog"]
    np.testing.assert_array_equal(pixels[:, 0], 100 * labels)


@pytest.mark.parametrize(
    "parts",
    [
        ("train", "val", "test"),
        ("Training", "Valid", "Testing"),
        ("TRAIN", "Validation", "Test"),
    ],
)
def test_other_names_of_the_splits(tmp_path, parts):
    config = write_folder(tmp_path, parts)
    for path in (tmp_path / parts[1]).rglob("3.png"):
        path.unlink()
    for path in (tmp_path / parts[2]).rglob("[23].png"):
        path.unlink()
    source = load_source(config, seed=1)
    splits = (source.train, source.validation, source.test)
    assert [len(split) for split in splits] == [8, 6, 4]
    assert source.class_names == ["cat", "dog"]
    assert [len(pixels_of(tmp_path, p)[0]) for p in ("train", "test")] == [8, 4]


def test_two_folders_of_one_split_are_refused(tmp_path):
    config = write_folder(tmp_path, ("train", "val", "valid"))
    with pytest.raises(RunError, match="Received: val and valid. Rename"):
        load_source(config, seed=1)
    with pytest.raises(ValueError, match="Received: val and valid. Rename"):
        pixels_of(tmp_path)


def test_a_train_among_vehicles_is_a_class(tmp_path):
    config = write_folder(tmp_path, classes=("Bus", "Train"))
    assert load_source(config, seed=1).class_names == ["Bus", "Train"]


def test_files_that_are_not_read_are_counted(tmp_path, capsys):
    config = write_folder(tmp_path)
    image = Image.open(tmp_path / "cat" / "0.png")
    image.save(tmp_path / "cat" / "4.tif")
    image.save(tmp_path / "dog" / "4.TIFF")
    for name in ("a.heic", "b.HEIC", "notes"):
        (tmp_path / "dog" / name).write_bytes(b"x")
    config = dataclasses.replace(config, test_fraction=0.0)
    train = load_source(config, 1).train
    assert len(train) == 10 and train.read(np.arange(10))[1].all()
    err = capsys.readouterr().err.splitlines()
    assert err == [
        f"not read: 3 files below {tmp_path} that end in .heic (2), nothing (1)"
    ]


def test_classes_may_lack_test_images(tmp_path):
    config = write_folder(tmp_path, ("train",), ("cat", "cow", "dog"))
    write_folder(tmp_path, ("test",), ("cow",))
    (tmp_path / "test" / "dog").mkdir()
    test = load_source(config, seed=1).test
    assert list(test.labels) == [1] * 4
    _, labels, names = pixels_of(tmp_path, "test")
    assert names == ["cat", "cow", "dog"] and list(labels) == [1] * 4
    (tmp_path / "test" / "hen").mkdir()
    with pytest.raises(ValueError, match="classes of .* Received: hen"):
        pixels_of(tmp_path, "test")
    (tmp_path / "test" / "hen").rmdir()
    shutil.rmtree(tmp_path / "test" / "cow")
    with pytest.raises(RunError, match="no images in .*test. Wanted"):
        load_source(config, seed=1)


def test_the_centre_of_an_image_is_kept_at_its_aspect(tmp_path):
    config = write_folder(tmp_path)
    image = np.zeros((40, 80, 3), np.uint8)
    image[:, 20:60] = 200
    Image.fromarray(image).save(tmp_path / "cat" / "0.png")
    config = dataclasses.replace(config, image_size=40, test_fraction=0.0)
    source = load_source(config, seed=1)
    assert (source.train.read(np.array([0]))[0] == 200).all()


def test_corrupt_images_are_named_and_counted_up_to_a_limit(tmp_path, capsys):
    config = write_folder(tmp_path)
    config = dataclasses.replace(
        config, max_corrupt_images=2, test_fraction=0.0
    )
    bad = [tmp_path / "cat" / f"{index}.png" for index in range(3)]
    whole = bad[1].read_bytes()
    bad[0].write_bytes(b"")
    bad[1].write_bytes(whole[: len(whole) // 2])
    source = load_source(config, seed=1)
    for _ in range(2):  # counted once
        _, readable = source.train.read(np.arange(4))
        assert list(readable) == [False, False, True, True]
    err = capsys.readouterr().err
    assert str(bad[0]) in err and str(bad[1]) in err
    assert err.count("skipped") == 2
    bad[2].write_text("not an image")
    with pytest.raises(RunError, match="3 images cannot be read") as error:
        source.train.read(np.arange(4))
    assert str(bad[2]) in str(error.value)


def test_photos_are_turned_upright(tmp_path):
    config = write_folder(tmp_path, count=2)
    pixels = np.zeros((32, 32, 3), np.uint8)
    pixels[:16] = 200
    image = Image.fromarray(pixels)
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise
    image.save(tmp_path / "cat" / "0.png", exif=exif)
    image.save(tmp_path / "cat" / "1.png", exif=b"Exif\0\0damaged")
    config = dataclasses.replace(config, test_fraction=0.0)
    images, readable = load_source(config, 1).train.read(np.arange(2))
    assert readable.all()
    assert (images[0][:, 16:] == 200).all() and not images[0][:, :16].any()
    assert (images[1][:16] == 200).all() and not images[1][16:].any()


@pytest.mark.parametrize(
    "error", [Image.DecompressionBombError, EOFError, struct.error]
)
def test_whatever_a_decoder_raises_is_a_corrupt_image(
    tmp_path, monkeypatch, error
):
    config = write_folder(tmp_path)
    config = dataclasses.replace(config, test_fraction=0.0)

    def convert(image, mode):
        raise error

    monkeypatch.setattr(Image.Image, "convert", convert)
    _, readable = load_source(config, 1).train.read(np.arange(2))
    assert not readable.any()


def test_images_of_16_bits_keep_their_greys(tmp_path, capsys):
    config = write_folder(tmp_path)
    pixels = np.full((32, 32), 100 * 257, np.uint16)
    Image.fromarray(pixels).save(tmp_path / "cat" / "0.png")
    unknown = Image.fromarray(pixels.astype("float32"))
    unknown.save(tmp_path / "cat" / "1.png", format="TIFF")
    config = dataclasses.replace(config, test_fraction=0.0)
    images, readable = load_source(config, 1).train.read(np.arange(2))
    assert list(readable) == [True, False]
    assert (images[0] == 100).all()
    assert (
        "cannot be read: pixels of unknown range (mode F)"
        in capsys.readouterr().err
    )
    # As the export reads them, for any number of channels.
    path = tmp_path / "cat" / "0.png"
    for channels in (1, 3, 4):
        found = export_images._read(path, (32, 32, channels))
        assert found.shape == (32, 32, channels) and found[0, 0, 0] == 100
    with pytest.raises(ValueError, match="cannot be read .* unknown range"):
        export_images._read(tmp_path / "cat" / "1.png", (32, 32, 3))


def test_the_digits_without_scikit_learn(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(RunError, match="pip install keras_ratn.train"):
        load_source(DataConfig("digits"), 1)


def test_commands_without_tyro(tmp_path):
    (tmp_path / "tyro.py").write_text(
        "raise ModuleNotFoundError(\"No module named 'tyro'\")"
    )
    path = os.pathsep.join([str(tmp_path), *sys.path])
    done = subprocess.run(
        [sys.executable, "-c", "import training.command_line"],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("ratn: No module named")
    assert "Traceback" not in done.stderr


def test_folders_that_are_wrong_say_what_was_wanted(tmp_path):
    def load(folder):
        return load_source(
            DataConfig(source="folder", location=str(folder)), seed=1
        )

    with pytest.raises(RunError, match="is no folder"):
        load(tmp_path / "nowhere")
    with pytest.raises(RunError, match="a folder for each class, two"):
        load(tmp_path)
    write_folder(tmp_path / "empty")
    (tmp_path / "empty" / "bird").mkdir()
    with pytest.raises(RunError, match="There are no images in .*bird"):
        load(tmp_path / "empty")
    write_folder(tmp_path / "other", ("train",))
    write_folder(tmp_path / "other", ("test",), classes=("cat", "cow"))
    with pytest.raises(RunError, match="must have the classes"):
        load(tmp_path / "other")


def write_npz(path, **arrays):
    rng = np.random.default_rng(0)
    defaults = {
        "x_train": rng.integers(0, 256, (20, 32, 32, 3), np.uint8),
        "y_train": np.arange(20)[:, None] % 4,
        "x_test": rng.integers(0, 256, (6, 32, 32, 3), np.uint8),
        "y_test": np.arange(6)[:, None] % 4,
    }
    arrays = {k: v for k, v in {**defaults, **arrays}.items() if v is not None}
    np.savez(path, **arrays)
    return DataConfig(source="npz", location=str(path)), arrays


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


def test_a_tfds_name_that_is_not_there_says_how_to_prepare_it(tmp_path):
    pytest.importorskip("tensorflow_datasets")
    config = DataConfig(
        "tfds", "no_such_data_set", tfds_directory=str(tmp_path)
    )
    with pytest.raises(RunError, match="no prepared 'no_such_data_set'") as e:
        load_source(config, seed=1)
    assert "tfds.load('no_such_data_set')" in str(e.value)


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


def test_tfds_without_labels_is_refused(tiny_tfds, monkeypatch):
    tfds = pytest.importorskip("tensorflow_datasets")
    builder = tfds.builder("tiny", data_dir=None)
    del builder.info.features["label"]
    with pytest.raises(RunError, match="image and label. Received: image"):
        load_source(tiny_tfds, seed=1)


def test_nothing_can_be_held_out_of_a_stream(tiny_tfds, monkeypatch):
    monkeypatch.setattr(sources, "MEMORY_LIMIT", 0)
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
