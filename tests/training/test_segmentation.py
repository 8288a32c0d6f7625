import dataclasses
import json
import shutil

import keras
import numpy as np
import pytest
from PIL import Image

import keras_ratn
from training import segmentation
from training.errors import RunError
from training.segmentation import Arguments
from training.segmentation import Batches
from training.segmentation import confusion
from training.segmentation import IGNORED
from training.segmentation import load_pairs
from training.segmentation import report
from training.segmentation import shapes


def test_shapes_are_what_their_masks_say():
    images, masks = shapes(3, 48, seed=4)
    assert images.shape == (3, 48, 48, 3) and images.dtype == np.uint8
    assert masks.shape == (3, 48, 48) and masks.dtype == np.uint8
    means = [images[masks == number].mean() for number in range(3)]
    np.testing.assert_allclose(means, [128, 198, 58], atol=2)
    again, _ = shapes(3, 48, seed=4)
    np.testing.assert_array_equal(images, again)


def test_intersection_over_union_by_hand():
    truth = np.array([[0, 0, 1, 1, IGNORED]])
    predicted = np.array([[0, 1, 1, 1, 2]])
    matrix = confusion(truth, predicted, 4)
    assert matrix.tolist()[:2] == [[1, 1, 0, 0], [0, 2, 0, 0]]
    result = report(matrix, list("abcd"))
    assert [row["iou"] for row in result["classes"]] == [
        1 / 2,
        2 / 3,
        None,
        None,
    ]
    assert result["miou"] == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert result["pixel_accuracy"] == 3 / 4
    assert result["pixels"] == 4


@pytest.mark.parametrize("model", ["tiny_danet", "tiny_eanet"])
def test_network_is_trained_kept_and_measured(model, tmp_path, capsys):
    images, masks = shapes(20, 32)
    masks[:, :2] = IGNORED
    data = tmp_path / "shapes.npz"
    names = ["ground", "square", "disc"]
    np.savez(data, images=images, masks=masks, class_names=names)
    command = ["--data", str(data), "--model", model, "--epochs", "2"]
    command += ["--image-size", "32", "--out", str(tmp_path / "run")]
    assert segmentation.main(command) == 0
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    # 4 of 20 to test on, two rows of each not counted.
    assert results["images"] == {"training": 12, "validation": 4, "test": 4}
    assert results["pixels"] == 4 * 30 * 32
    assert [row["class"] for row in results["classes"]] == names
    assert (tmp_path / "run" / "predictions.png").stat().st_size > 1000
    out = capsys.readouterr().out
    assert f"mean IoU on test images: {results['miou']:.1%}" in (
        " ".join(out.split())
    )

    # The network that was kept gives these numbers, and one output.
    network = keras.saving.load_model(tmp_path / "run" / "best.keras")
    assert network.output_shape == (None, 32, 32, 3)
    assert keras_ratn.class_names(network) == names
    held_out = np.random.default_rng([0]).permutation(20)[:4]
    predicted = network.predict(images[held_out], verbose=0).argmax(axis=-1)
    metric = keras.metrics.MeanIoU(3, ignore_class=IGNORED)
    metric.update_state(masks[held_out].astype("int32"), predicted)
    assert float(metric.result()) == pytest.approx(results["miou"], abs=2e-3)
    assert results["test_images"] == sorted(held_out)


def test_what_chooses_the_epoch_does_not_test(folder, tmp_path, monkeypatch):
    """Training reads no image that the network is measured on."""
    read, reading = {"choosing": set(), "testing": set()}, None
    load = segmentation.load_pairs

    def watched(arguments):
        pairs = load(arguments)

        def read_pair(number):
            if reading:
                read[reading].add(pairs.names[number])
            return pairs.read(number)

        return dataclasses.replace(pairs, read=read_pair)

    def fit(network, training, validation, *_):
        nonlocal reading
        reading = "choosing"
        for batches in (training, validation):
            for index in range(len(batches)):
                batches[index]
        reading = "testing"
        return segmentation.serving(network), 0.5

    for number in range(20):
        for part, ending in (("images", "jpg"), ("masks", "png")):
            shutil.copy(
                folder / part / f"0.{ending}",
                folder / part / f"more{number}.{ending}",
            )
    monkeypatch.setattr(segmentation, "load_pairs", watched)
    monkeypatch.setattr(segmentation, "fit", fit)
    results = segmentation.segment(
        Arguments(
            data=str(folder),
            model="tiny_eanet",
            image_size=32,
            out=str(tmp_path / "run"),
        )
    )
    assert read["testing"] == set(results["test_images"])
    assert not read["testing"] & read["choosing"]
    assert (len(read["testing"]), len(read["choosing"])) == (5, 18)
    assert results["validation_miou"] == 0.5


def test_a_folder_with_other_things_is_left_alone(folder, tmp_path, capsys):
    out = tmp_path / "run"
    out.mkdir()
    for name in ("config.json", "best.keras", "results.json"):
        (out / name).write_text("{}")  # of `ratn train`
    command = ["--data", folder, "--out", out]
    assert "run that could go on or be replaced there, but config.json." in (
        _error(command, capsys)
    )
    assert (out / "best.keras").read_text() == "{}"
    # Its own it replaces, of a run that was killed, too.
    (out / "config.json").unlink()
    segmentation._refuse_foreign(out)
    (out / "results.json").write_text('{"miou": 0.5}')
    (out / "notes.txt").write_text("mine")
    segmentation._refuse_foreign(out)


def test_parts_are_a_function_of_the_seed_and_never_empty():
    def parts(count, **changes):
        pairs = segmentation.Pairs(["a"], count, None)
        return segmentation.split(pairs, Arguments(**changes))

    first, again, other = (parts(50, seed=seed) for seed in (1, 1, 2))
    assert all(np.array_equal(first[part], again[part]) for part in first)
    assert not np.array_equal(first["test"], other["test"])
    for count in (3, 4, 5, 50):
        for shares in ((0.2, 0.2), (0.01, 0.98), (0.5, 0.49), (0.3, 0.3)):
            found = parts(
                count, validation_share=shares[0], test_share=shares[1]
            )
            assert min(map(len, found.values())) >= 1
            together = np.concatenate(list(found.values()))
            assert sorted(together) == list(range(count))
    sizes = [len(x) for x in parts(50, test_share=0.1).values()]
    assert sizes == [35, 10, 5]


@pytest.fixture
def folder(tmp_path):
    """Three photos, one of which is lying, and their masks."""
    root = tmp_path / "photos"
    for part in ("images", "masks"):
        (root / part).mkdir(parents=True)
    for number in (0, 1, 9):
        image = Image.new("RGB", (40, 60), (10 * number, 0, 0))
        mask = Image.fromarray(np.full((60, 40), number % 9, np.uint8))
        mask.save(root / "masks" / f"{number}.png")
        exif = image.getexif()
        if number == 1:
            image = image.transpose(Image.Transpose.ROTATE_90)
            exif[0x0112] = 6  # turn it by 90 degrees to look at it
        image.save(root / "images" / f"{number}.jpg", exif=exif)
    return root


def test_a_folder_of_pairs(folder):
    pairs = load_pairs(Arguments(data=str(folder), image_size=32))
    assert pairs.class_names == ["0", "1"]
    image, mask = pairs.read(1)
    assert image.shape == (32, 32, 3) and np.all(mask == 1)
    (folder / "classes.txt").write_text("road\nsky\ntree\n")
    pairs = load_pairs(Arguments(data=str(folder)))
    assert pairs.class_names == ["road", "sky", "tree"]


def test_blank_lines_at_the_end_name_no_classes(folder):
    names = folder / "classes.txt"
    names.write_text("\ufeffsky\r\nroad\n\n \n", encoding="utf-8")
    pairs = load_pairs(Arguments(data=str(folder), image_size=32))
    assert pairs.class_names == ["sky", "road"]
    names.write_text("sky\n\nroad\n")
    with pytest.raises(RunError, match="classes.txt .* nothing in line 2"):
        load_pairs(Arguments(data=str(folder), image_size=32))


def test_images_of_16_bits_are_not_white(folder):
    (folder / "images" / "1.jpg").unlink()
    image = Image.fromarray(np.full((60, 40), 128 << 8, np.uint16))
    image.save(folder / "images" / "1.png")
    pairs = load_pairs(Arguments(data=str(folder), image_size=32))
    assert np.all(pairs.read(1)[0] == 128)


def test_palettes_stand_for_their_numbers(folder):
    mask = Image.fromarray(np.full((60, 40), 7, np.uint8), mode="P")
    mask.putpalette([0, 128, 255] * 256)
    mask.save(folder / "masks" / "1.png")
    pairs = load_pairs(Arguments(data=str(folder), image_size=32))
    assert np.all(pairs.read(1)[1] == 7)


def test_epochs_differ_and_repeat():
    images, masks = shapes(8, 32)
    pairs = segmentation.Pairs(["a"], 8, lambda i: (images[i], masks[i]))
    batches = [Batches(pairs, np.arange(8), 3, 5, True) for _ in range(2)]
    assert len(batches[0]) == 3
    first = [batches[0][i][0] for i in range(3)]
    assert [len(x) for x in first] == [3, 3, 2]
    np.testing.assert_array_equal(batches[1][0][0], first[0])
    batches[0].on_epoch_end()
    assert np.any(batches[0][0][0] != first[0])
    plain, _ = Batches(pairs, np.arange(8), 8)[0]
    np.testing.assert_array_equal(plain, images)
    # An image and its mask are mirrored together.
    for x, (y,) in (batches[0][i] for i in range(3)):
        assert np.all(x[y == 1].mean() > 180) and np.all(x[y == 2].mean() < 80)


def _error(arguments, capsys):
    assert segmentation.main([str(a) for a in arguments]) == 1
    return capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "resnet50"], "no network 'resnet50' that segments"),
        (["--epochs", "0"], "--epochs must be at least 1"),
        (["--batch-size", "0"], "--batch-size must be at least 1"),
        (["--validation-share", "1"], "between 0 and 1. Received: 1"),
        (["--test-share", "0"], "--test-share must be between 0 and 1."),
        (
            ["--test-share", "0.5", "--validation-share", "0.5"],
            "must leave images to train on. Received: 0.5 and 0.5",
        ),
        (["--data", "nowhere"], "nothing to segment: 'nowhere'"),
        (["--image-size", "16"], "Height and width must be at least 32"),
        (["--out", "/proc/nowhere"], "Choose another one by --out"),
    ],
)
def test_wrong_arguments(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert message in _error(arguments, capsys)


def test_folders_that_do_not_fit(folder, capsys):
    command = ["--data", folder]
    (folder / "classes.txt").write_text("road\n")
    message = "1 class names, but a mask holds the number 1"
    assert message in _error(command, capsys)
    (folder / "classes.txt").unlink()
    mask = folder / "masks" / "1.png"
    Image.new("L", (40, 61)).save(mask)
    assert "an image of (40, 60), a mask of (40, 61)" in _error(command, capsys)
    Image.new("RGB", (40, 60)).save(mask)
    assert "mode 'RGB'" in _error(command, capsys)
    mask.write_bytes(b"")
    assert "1.jpg or its mask is empty" in _error(command, capsys)
    mask.rename(folder / "masks" / "2.png")
    assert "Without its other half: 1, 2 (2 in all)" in _error(command, capsys)
    for path in (folder / "images").iterdir():
        path.unlink()
    assert "There are no files ending in" in _error(command, capsys)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"masks": None}, "must hold `images` and `masks`. Received: images"),
        (
            {"masks": np.zeros((2, 32, 31), np.uint8)},
            "Received: (2, 32, 32, 3)",
        ),
        ({"masks": np.zeros((2, 32, 32))}, "must be integers from 0 to 255"),
        ({"masks": np.full((2, 32, 32), 256)}, "must be integers from 0 to"),
        ({"images": np.zeros((2, 32, 32, 3))}, "must be of type uint8"),
        (
            {"images": np.zeros((1, 32, 32, 3), np.uint8), "masks": 1},
            "Three pairs of image and mask at least",
        ),
    ],
)
def test_files_that_do_not_fit(changes, message, tmp_path, capsys):
    images, masks = shapes(2, 32)
    arrays = {"images": images, "masks": masks, **changes}
    if isinstance(arrays["masks"], int):
        arrays["masks"] = masks[:1]
    arrays = {key: value for key, value in arrays.items() if value is not None}
    np.savez(tmp_path / "data.npz", **arrays)
    assert message in _error(["--data", tmp_path / "data.npz"], capsys)


def test_a_loss_that_is_no_number_ends_the_training(tmp_path, capsys):
    command = ["--image-size", "32", "--learning-rate", "1e30", "--epochs", "3"]
    error = _error([*command, "--out", tmp_path], capsys)
    assert "Choose a smaller --learning-rate" in error


def test_a_weight_that_is_no_number_ends_it_at_a_finite_loss(tmp_path):
    inputs = keras.Input((4, 4, 3))
    network = keras.Model(inputs, keras.layers.Conv2D(2, 1)(inputs))
    keeper = segmentation.KeepBest(network, tmp_path / "best.keras")
    keeper.on_epoch_end(0, {"loss": 1.0, "val_miou": 0.5})
    before = (tmp_path / "best.keras").read_bytes()
    network.layers[-1].bias.assign([0.0, np.nan])
    with pytest.raises(RunError, match="bias became nan or infinite in epoch"):
        keeper.on_epoch_end(1, {"loss": 1.0, "val_miou": 0.9})
    assert (tmp_path / "best.keras").read_bytes() == before
