"""The demo, on folders: what it makes, and what it does with bad images."""

import json

import keras
import numpy as np
import pytest

from training import demo


@pytest.fixture
def tiny(monkeypatch):
    """The demo's network with few channels and one module."""
    import keras_ratn

    architecture = keras_ratn.Architecture(
        stem="cifar",
        stem_filters=4,
        stage_filters=(8, 8),
        num_modules=(1, 1),
        mask_depths=(1, 1),
        num_trunk_units=1,
        num_tail_units=0,
    )
    monkeypatch.setattr(demo, "ARCHITECTURE", architecture)


def _folder(path, images_per_class=8):
    """Dark photos and bright photos."""
    random = np.random.default_rng(0)
    for name, low in (("bright", 128), ("dark", 0)):
        (path / name).mkdir(parents=True)
        for index in range(images_per_class):
            pixels = random.integers(low, low + 128, (40, 50, 3))
            keras.utils.save_img(path / name / f"{index}.png", pixels)
    return path


def test_a_folder_of_images_with_bad_ones(tmp_path, tiny, capsys):
    images = _folder(tmp_path / "images")
    (images / "dark" / "empty.jpg").write_bytes(b"")
    (images / "bright" / "notes.txt").write_text("not an image")
    whole = (images / "dark" / "0.png").read_bytes()
    (images / "dark" / "cut.png").write_bytes(whole[: len(whole) // 2])
    output = tmp_path / "made"
    arguments = ["--data-directory", str(images), "--epochs", "1"]
    # Whatever the user's Keras is set to, and stays.
    keras.config.set_dtype_policy("mixed_float16")
    keras.config.set_image_data_format("channels_first")
    assert demo.main([*arguments, "--output", str(output)]) == 0
    assert keras.config.dtype_policy().name == "mixed_float16"
    assert keras.config.image_data_format() == "channels_first"

    results = json.loads((output / "results.json").read_text())
    assert results["train_images"] + results["test_images"] == 16
    assert results["classes"] == ["bright", "dark"]
    assert results["reloaded_test_accuracy"] == results["test_accuracy"]
    names = sorted(path.split("/")[-1] for path in results["skipped_files"])
    assert names == ["cut.png", "empty.jpg"]
    for name in ("curves.png", "attention.png"):
        assert (output / name).read_bytes().startswith(b"\x89PNG")
    said = capsys.readouterr()
    for name in names:
        assert name in said.err
    assert "2 files skipped" in said.err
    assert "not read: 1 files below" in said.err and ".txt (1)" in said.err
    assert "test accuracy" in said.out


def test_digits_come_from_scikit_learn():
    pytest.importorskip("sklearn")
    images, labels, names, skipped = demo._load(None)
    assert images.shape == (1797, 32, 32, 1)
    assert images.dtype == "uint8" and images.max() == 255
    assert names == [str(n) for n in range(10)] and skipped == []
    assert np.bincount(labels).min() > 150


def test_split_keeps_every_class_on_both_sides_and_no_image_twice():
    images = np.arange(50)
    labels = np.repeat([0, 1], [40, 10])
    (train, train_labels), (test, test_labels) = demo._split(images, labels, 0)
    assert sorted([*train, *test]) == list(range(50))
    assert np.bincount(test_labels).tolist() == [8, 2]
    assert np.bincount(train_labels).tolist() == [32, 8]


@pytest.mark.parametrize(
    ("prepare", "words"),
    [
        (lambda path: None, "there is no folder"),
        (lambda path: path.mkdir(), "at least two classes, but has 0"),
        (
            lambda path: _folder(path, images_per_class=2),
            "'bright' has 2 readable images; at least 5",
        ),
    ],
)
def test_unusable_folders_are_explained(tmp_path, capsys, prepare, words):
    folder = tmp_path / "images"
    prepare(folder)
    arguments = ["--data-directory", str(folder)]
    output = ["--output", str(tmp_path / "made")]
    assert demo.main([*arguments, *output]) == 1
    assert words in capsys.readouterr().err


def test_an_unwritable_output_is_explained(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert demo.main(["--output", str(tmp_path / "file" / "made")]) == 1
    assert "Not a directory" in capsys.readouterr().err


def test_hidden_folders_are_no_classes(tmp_path):
    """Jupyter makes .ipynb_checkpoints wherever a notebook was opened."""
    for name in (".ipynb_checkpoints", ".git"):
        _folder(tmp_path / name)
    _folder(tmp_path)
    _folder(tmp_path / "dark" / ".ipynb_checkpoints")
    images, labels, names, skipped = demo._load(tmp_path)
    assert names == ["bright", "dark"] and len(images) == len(labels) == 16


def test_a_bomb_is_skipped(tmp_path, monkeypatch, capsys):
    """Pillow's error is neither an OSError nor a ValueError."""
    from PIL import Image

    Image.new("L", (60, 60)).save(_folder(tmp_path) / "dark" / "bomb.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 2 * 40 * 50 // 3)
    with pytest.warns(Image.DecompressionBombWarning):  # of the others
        images, *_, skipped = demo._load(tmp_path)
    assert len(images) == 16 and skipped == [str(tmp_path / "dark/bomb.png")]
    assert "decompression bomb" in capsys.readouterr().err


def test_parts_are_no_classes(tmp_path, capsys):
    for part in ("train", "test"):
        _folder(tmp_path / part)
    arguments = ["--data-directory", str(tmp_path)]
    assert demo.main([*arguments, "--output", str(tmp_path / "made")]) == 1
    err = capsys.readouterr().err
    assert f"Pass {tmp_path / 'train'}" in err and "ratn train folder" in err


@pytest.mark.slow
def test_the_digits_are_learnt(tmp_path):
    pytest.importorskip("sklearn")
    assert demo.main(["--output", str(tmp_path)]) == 0
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["test_accuracy"] >= 0.98
