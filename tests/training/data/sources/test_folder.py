import dataclasses
import shutil
import struct

import numpy as np
import pytest
from image_places import write_folder
from PIL import Image

from export import images as export_images
from training.config import DataConfig
from training.data import load_source
from training.errors import RunError


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


@pytest.mark.parametrize("name", ["eval", "dev", "holdout"])
def test_images_beside_the_parts_are_not_dropped(tmp_path, name):
    config = write_folder(tmp_path, ("train", name))
    message = f"images in {name}. Call these validation or test"
    with pytest.raises(RunError, match=message):
        load_source(config, seed=1)
    with pytest.raises(ValueError, match=message):
        pixels_of(tmp_path)
    # What holds no images is no part.
    shutil.rmtree(tmp_path / name)
    (tmp_path / name / "cat").mkdir(parents=True)
    (tmp_path / name / "cat" / "notes.txt").write_text("none")
    assert load_source(config, seed=1).class_names == ["cat", "dog"]


def test_a_part_beside_classes_is_no_class(tmp_path):
    config = write_folder(tmp_path, classes=("images", "test"))
    with pytest.raises(RunError, match="has test, but no train"):
        load_source(config, seed=1)
    shutil.rmtree(tmp_path / "test")
    write_folder(tmp_path, ("valid",))
    with pytest.raises(RunError, match="has valid, but no train"):
        load_source(config, seed=1)
    with pytest.raises(ValueError, match="has valid, but no train"):
        pixels_of(tmp_path)


def test_a_verdict_is_a_class(tmp_path):
    config = write_folder(tmp_path, classes=("invalid", "valid"))
    assert load_source(config, seed=1).class_names == ["invalid", "valid"]


def test_linked_folders_are_read(tmp_path):
    photos, elsewhere = tmp_path / "photos", tmp_path / "elsewhere"
    config = write_folder(photos)
    write_folder(elsewhere, classes=("more",), count=3)
    (photos / "cat" / "more").symlink_to(elsewhere / "more")
    # Links to folders around them would never end.
    (photos / "dog" / "self").symlink_to(photos / "dog")
    (photos / "dog" / "up").symlink_to(photos)
    config = dataclasses.replace(config, test_fraction=0.0)
    train = load_source(config, 1).train
    assert list(np.bincount(train.labels)) == [7, 4]
    assert train.read(np.arange(len(train)))[1].all()


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
