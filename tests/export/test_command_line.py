"""`ratn export`, `ratn verify` and `ratn benchmark`, from file to file."""

import json
import pathlib
import shutil

import keras
import numpy as np
import pytest
from tiny_models import random_pixels
from tiny_models import SMALLEST
from tiny_models import tiny_model
from training_runs import smallest

from export import benchmark
from export import convert
from export import flatbuffer
from export import images as export_images
from export import training_runs
from export.operation_times import operation_times
from export.published import publishing
from export.saved_model import os_errors
from export.verify import verify
from keras_ratn.__main__ import main

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="written with TensorFlow"
)

CLASSES = ["ant", "bee", "cat", "dog", "eel"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A saved model, images and files exported by the command."""
    keras.utils.set_random_seed(1704)
    folder = tmp_path_factory.mktemp("command")
    model = tiny_model(architecture=SMALLEST, class_names=CLASSES)
    model.save(folder / "model.keras")
    pixels = random_pixels(30)
    labels = np.arange(30) % 5
    np.savez(folder / "data.npz", images=pixels, labels=labels)
    for number, (image, label) in enumerate(zip(pixels, labels)):
        place = folder / "photos" / CLASSES[label]
        place.mkdir(parents=True, exist_ok=True)
        # Of another size than the model takes.
        image = np.kron(image, np.ones((2, 2, 1)))
        keras.utils.save_img(place / f"{number:02}.png", image, scale=False)
    export(folder, "--quantize", "int8", "--data", str(folder / "photos"))
    export(folder, "--format", "saved_model")
    return folder


def export(folder, *options):
    assert main(["export", str(folder / "model.keras"), *options]) == 0


def run_verify(folder, file, *options):
    return main(
        [
            "verify",
            str(folder / "model.keras"),
            str(folder / file),
            "--data",
            str(folder / "data.npz"),
            *options,
        ]
    )


def test_export_writes_beside_the_model(folder):
    assert not flatbuffer.not_integer(folder / "model_int8.tflite")
    assert (folder / "model_saved_model" / "saved_model.pb").exists()
    records = json.loads((folder / "model.json").read_text())
    assert set(records) == {"model_int8.tflite", "model_saved_model"}
    assert records["model_int8.tflite"]["source"].endswith("model.keras")


def test_export_takes_labels_and_refuses_too_few(folder, capsys, tmp_path):
    (tmp_path / "names.txt").write_text("only\ntwo\n")
    arguments = [str(folder / "model.keras"), "--labels"]
    status = main(["export", *arguments, str(tmp_path / "names.txt")])
    assert status == 1
    assert "2 labels for 5 classes" in capsys.readouterr().err


def test_export_leaves_the_labels_of_other_files(tmp_path, capsys):
    for name, classes in (("first", 5), ("second", 3)):
        means_model(classes=classes).save(tmp_path / f"{name}.keras")
    assert main(["export", str(tmp_path / "first.keras")]) == 0
    before = (tmp_path / "labels.txt").read_text()
    assert main(["export", str(tmp_path / "second.keras")]) == 1
    said = capsys.readouterr().err
    assert "names the classes of first_none.tflite, which are others" in said
    assert (tmp_path / "labels.txt").read_text() == before
    # A file may replace itself.
    (tmp_path / "second.keras").replace(tmp_path / "first.keras")
    assert main(["export", str(tmp_path / "first.keras"), "--logits"]) == 0
    entry = json.loads((tmp_path / "model.json").read_text())
    assert entry["first_none.tflite"]["postprocessing"] == "softmax"
    assert len((tmp_path / "labels.txt").read_text().splitlines()) == 3


def test_export_says_what_is_missing(folder, capsys):
    assert main(["export", str(folder / "none.keras")]) == 1
    assert "which does not exist" in capsys.readouterr().err
    assert main(["export", "NoNetwork:cifar10"]) == 1
    assert "Received: name='NoNetwork:cifar10'" in capsys.readouterr().err
    model = str(folder / "model.keras")
    assert main(["export", model, "--quantize", "int8"]) == 1
    assert "--data FOLDER" in capsys.readouterr().err


class OddOne(keras.Layer):
    """Of a class that no other process knows."""

    def call(self, x):
        return x


@pytest.mark.parametrize("command", ["export", "verify", "quantize"])
def test_names_a_layer_that_it_cannot_load(command, tmp_path, capsys):
    inputs = keras.Input((8, 8, 3))
    model = keras.Model(inputs, OddOne(name="odd_one")(inputs))
    model.save(tmp_path / "m.keras")
    file = [str(tmp_path / "m.tflite")] if command == "verify" else []
    assert main([command, str(tmp_path / "m.keras"), *file]) in (1, 2)
    said = capsys.readouterr().err
    assert "the layer 'odd_one' of class OddOne, which neither" in said
    (tmp_path / "m.keras").write_bytes(b"PK, but no more")
    assert main([command, str(tmp_path / "m.keras"), *file]) in (1, 2)
    assert "m.keras cannot be loaded: " in capsys.readouterr().err


def test_export_says_what_it_cannot_read(folder, tmp_path, capsys):
    model = str(folder / "model.keras")
    assert main(["export", model, "--labels", str(tmp_path / "none.txt")]) == 1
    assert "none.txt" in capsys.readouterr().err
    (tmp_path / "broken.jpg").write_bytes(b"no image")
    options = ["--quantize", "int8", "--data", str(tmp_path)]
    assert main(["export", model, *options]) == 1
    assert "broken.jpg' cannot be read as an" in capsys.readouterr().err
    (tmp_path / "broken.npz").write_bytes(b"no arrays")
    options[-1] += "/broken.npz"
    assert main(["export", model, *options]) == 1
    assert "broken.npz' cannot be read" in capsys.readouterr().err


def test_a_full_disk_is_an_error_of_the_disk(tmp_path):
    import tensorflow as tf

    with pytest.raises(ValueError, match="served': No space left. Choose"):
        with publishing(tmp_path / "served", is_folder=True), os_errors():
            raise tf.errors.ResourceExhaustedError(None, None, "No space left")


@pytest.mark.parametrize("file", ["model_int8.tflite", "model_saved_model"])
def test_verify_passes(folder, file, capsys):
    # Random weights are near a tie on every image: judge by scores.
    assert run_verify(folder, file, "--min-agreement", "0.5") == 0
    out = capsys.readouterr().out
    assert "PASSED" in out
    assert "top-1 agreement" in out


def test_verify_fails_over_its_limits(folder, capsys):
    options = ["--max-difference", "1e-9"]
    assert run_verify(folder, "model_int8.tflite", *options) == 1
    assert "FAILED" in capsys.readouterr().out


def test_verify_measures_what_it_says(folder):
    model = keras.saving.load_model(folder / "model.keras")
    pixels = random_pixels(10)
    expected = model.predict(pixels, verbose=0)
    best = expected.argmax(-1)
    comparison = verify(
        model, folder / "model_saved_model", pixels, labels=best
    )
    assert comparison.largest_difference < 1e-5
    assert comparison.agreement == 1
    assert set(comparison.class_drop.values()) == {0.0}


def test_verify_refuses_the_wrong_file(folder, tmp_path):
    other = tiny_model(classes=3, architecture=SMALLEST)
    with pytest.raises(ValueError, match="5 scores from the file, 3 from"):
        verify(other, folder / "model_int8.tflite", random_pixels(2))
    larger = tiny_model(architecture=SMALLEST, input_shape=(40, 40, 3))
    with pytest.raises(ValueError, match="Was the file exported from another"):
        verify(larger, folder / "model_int8.tflite", random_pixels(2, 40))
    renamed = tiny_model(architecture=SMALLEST, class_names=list("vwxyz"))
    with pytest.raises(ValueError, match="with other classes"):
        verify(renamed, folder / "model_int8.tflite", random_pixels(2))
    with pytest.raises(ValueError, match="which does not exist"):
        verify(renamed, tmp_path / "none.tflite", random_pixels(2))


def test_verify_wants_classes_that_the_model_has(folder):
    model = keras.saving.load_model(folder / "model.keras")
    file, images = folder / "model_int8.tflite", random_pixels(2)
    with pytest.raises(ValueError, match="below 5. Received: classes up to 7"):
        verify(model, file, images, labels=np.array([0, 7]))


def means_model(shape=(32, 32, 3), classes=5, data_format="channels_last"):
    """The least that export takes: it converts at once."""
    inputs = keras.Input(shape)
    x = keras.layers.Rescaling(1 / 255)(inputs)
    x = keras.layers.GlobalAveragePooling2D(data_format)(x)
    outputs = keras.layers.Dense(classes, activation="softmax")(x)
    return keras.Model(inputs, outputs)


def test_verify_finds_the_test_images_of_a_run(tmp_path, capsys):
    """Without `--data`, as export and quantize do."""
    pytest.importorskip("sklearn")
    model = str(tmp_path / "best.keras")
    means_model(classes=10).save(model)
    file = str(tmp_path / "best_none.tflite")
    assert main(["export", model]) == 0
    assert main(["verify", model, file]) == 2
    assert "Pass --data FOLDER" in capsys.readouterr().err
    config = json.dumps(smallest(seed=7).to_dict())
    (tmp_path / "config.json").write_text(config)
    results = {"environment": {"commit": "abc123"}}
    (tmp_path / "results.json").write_text(json.dumps(results))
    assert main(["verify", model, file, "--num-images", "20"]) == 0
    assert "images              20" in capsys.readouterr().out
    assert main(["export", model]) == 0
    entry = json.loads((tmp_path / "model.json").read_text())
    run = entry["best_none.tflite"]["run"]
    assert run == {"folder": str(tmp_path), "commit": "abc123"}


def test_verify_takes_what_the_file_takes(tmp_path, capsys):
    """Whatever the model's layout, and of models without a size."""
    data = ["--data", str(tmp_path / "data.npz")]
    np.savez(tmp_path / "data.npz", x_test=random_pixels(20))
    for name, model, options in (
        (
            "first",
            means_model((3, 32, 32), data_format="channels_first"),
            ["--quantize", "int8", *data],
        ),
        ("any", means_model((None, None, 3)), ["--size", "32", "32"]),
    ):
        model.save(tmp_path / f"{name}.keras")
        model = str(tmp_path / f"{name}.keras")
        file = str(tmp_path / f"{name}.tflite")
        assert main(["export", model, "--output", file, *options]) == 0
        options = [*data, "--min-agreement", "0.5"]
        assert main(["verify", model, file, *options]) == 0
        assert "PASSED" in capsys.readouterr().out


def test_verify_refuses_a_changed_file(folder, tmp_path):
    for name in ("model_int8.tflite", "model.json"):
        shutil.copy(folder / name, tmp_path)
    with open(tmp_path / "model_int8.tflite", "ab") as file:
        file.write(b"more")
    model = keras.saving.load_model(folder / "model.keras")
    with pytest.raises(ValueError, match="its checksum differs"):
        verify(model, tmp_path / "model_int8.tflite", random_pixels(2))


@pytest.mark.parametrize("change", ["scaled", "nan"])
def test_verify_refuses_images_that_are_no_pixels(folder, change):
    model = keras.saving.load_model(folder / "model.keras")
    images = random_pixels(2) / 255
    if change == "nan":
        images = 255 * images
        images[0, 3, 3] = np.nan
    with pytest.raises(ValueError, match="pixels from 0 to 255"):
        verify(model, folder / "model_int8.tflite", images)


@pytest.mark.parametrize(
    "text", ['{"format": "layers-model"}', "[]", "{broken"]
)
def test_a_model_json_of_others_is_left_alone(folder, tmp_path, text, capsys):
    (tmp_path / "model.json").write_text(text)
    target = str(tmp_path / "model.tflite")
    command = ["export", str(folder / "model.keras"), "--output", target]
    assert main(command) == 1
    assert "model.json is none of ours" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["model.json"]
    assert (tmp_path / "model.json").read_text() == text


def test_benchmark_measures_and_draws(folder, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    file = str(folder / "model_int8.tflite")
    out = tmp_path / "results.json"
    assert main(["benchmark", file, "--runs", "3", "--output", str(out)]) == 0
    results = json.loads(out.read_text())
    entry = results["files"][file]
    assert [run["threads"] for run in entry["runs"]] == [1, 2, 4]
    assert all(run["median_ms"] > 0 for run in entry["runs"])
    assert entry["bytes"] == (folder / "model_int8.tflite").stat().st_size
    assert entry["operations"]["LOGISTIC (int8)"] == 1
    assert out.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    assert "int8 instructions" in capsys.readouterr().out


def test_times_every_operation(folder):
    file = folder / "model_int8.tflite"
    times = operation_times(file)
    numbers = {(r["name"], r["type"]): r["number"] for r in times}
    assert sum(numbers.values()) == len(flatbuffer.operations(file))
    assert numbers["LOGISTIC", "int8"] == 1
    assert all(row["milliseconds"] > 0 for row in times)
    assert times[0]["milliseconds"] >= times[-1]["milliseconds"]


def test_benchmark_refuses_what_is_no_model(tmp_path, capsys):
    assert main(["benchmark", str(tmp_path / "none.tflite")]) == 1
    assert "which does not exist" in capsys.readouterr().err
    (tmp_path / "empty.tflite").write_bytes(b"no flatbuffer at all, surely")
    assert main(["benchmark", str(tmp_path / "empty.tflite")]) == 1
    assert "it is no .tflite file" in capsys.readouterr().err
    with pytest.raises(ValueError, match="LiteRT cannot run"):
        benchmark._probe(str(tmp_path / "empty.tflite"), 1, 1)


def test_images_have_to_fit(folder, tmp_path):
    load = export_images.load_images
    images, labels, names = load(folder / "photos", (32, 32, 3), limit=7)
    assert images.shape == (7, 32, 32, 3)
    assert names == CLASSES
    assert labels.max() < 5
    with pytest.raises(ValueError, match="Resize them"):
        load(folder / "data.npz", (40, 40, 3))
    with pytest.raises(ValueError, match="which is none of them"):
        load(tmp_path / "none", (32, 32, 3))
    with pytest.raises(ValueError, match="which has none"):
        load(tmp_path, (32, 32, 3))
    np.savez(tmp_path / "other.npz", pictures=np.zeros(3))
    with pytest.raises(ValueError, match="must hold an array `images`"):
        load(tmp_path / "other.npz", (32, 32, 3))


def test_images_of_the_part_that_is_wanted(tmp_path):
    """Folders and arrays as `ratn train` takes them."""
    pixels = random_pixels(6, size=8)
    np.savez(
        tmp_path / "data.npz",
        x_train=pixels[:4],
        y_train=np.array([[0], [1], [0], [1]]),
        x_test=pixels[4:],
        y_test=np.array([[1], [1]]),
    )
    for part, numbers in (("train", range(4)), ("test", range(4, 6))):
        for number in numbers:
            place = tmp_path / "photos" / part / "ab"[number % 2]
            place.mkdir(parents=True, exist_ok=True)
            file = place / f"{number}.png"
            keras.utils.save_img(file, pixels[number], scale=False)
    load = export_images.load_images
    images, labels, _ = load(tmp_path / "data.npz", (8, 8, 3))
    assert len(images) == 4 and sorted(labels) == [0, 0, 1, 1]
    images, labels, _ = load(tmp_path / "data.npz", (8, 8, 3), part="test")
    assert len(images) == 2 and labels.tolist() == [1, 1]
    images, labels, names = load(tmp_path / "photos", (8, 8, 3), part="test")
    assert names == ["a", "b"] and sorted(labels) == [0, 1]
    images, labels, names = load(tmp_path / "photos", (8, 8, 3))
    assert len(images) == 4 and sorted(labels) == [0, 0, 1, 1]


def test_images_by_the_name_of_a_data_set():
    pytest.importorskip("sklearn")
    load = export_images.load_images
    images, labels, names = load("digits", (16, 16, 3), limit=9, part="test")
    assert images.shape == (9, 16, 16, 3) and images.max() > 100
    assert names == [str(digit) for digit in range(10)]
    with pytest.raises(ValueError, match="Training images are square"):
        load("digits", (16, 8, 3))


def test_images_are_turned_upright(tmp_path):
    """Phones store a photo as the sensor lay."""
    from PIL import Image

    upright = np.zeros((16, 16, 3), "uint8")
    upright[:8] = 255  # sky
    lying = Image.fromarray(np.rot90(upright).copy())
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by a quarter, clockwise
    lying.save(tmp_path / "photo.png", exif=exif)
    images, _, _ = export_images.load_images(tmp_path, (16, 16, 3))
    np.testing.assert_array_equal(images[0], upright)


def test_a_colon_in_a_path_is_no_name(tmp_path, monkeypatch):
    folder = tmp_path / "12:30"
    folder.mkdir()
    for name in ("best.keras", "config.json"):
        (folder / name).touch()
    assert convert.output_stem(folder / "best.keras") == folder / "best"
    by_name = "CifarAttention56:cifar10"
    expected = pathlib.Path("CifarAttention56_cifar10")
    assert convert.output_stem(by_name) == expected
    monkeypatch.chdir(folder)
    assert training_runs.run_of("best.keras")["folder"] == str(folder)
    assert training_runs.run_of(by_name) is None


def test_dollars_in_file_names_are_no_formulas(tmp_path):
    run = {"median_ms": 1.0, "threads": 1}
    results = {
        "files": {"1$x^$.tflite": {"bytes": 10, "runs": [run]}},
        "machine": {"int8_instructions": "none"},
    }
    benchmark.plot(results, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 1000
