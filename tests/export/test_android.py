"""The Android project against exported files, as far as without Android."""

import json
import pathlib
import re
import xml.etree.ElementTree

import keras
import numpy as np
import pytest
from tiny_models import predict
from tiny_models import random_pixels
from tiny_models import SMALLEST
from tiny_models import tiny_model

import export
from export.litert import LiteRTModel
from export.metadata import LABELS
from export.metadata import RECORDS
from export.metadata import RESIZING
from export.tflite import to_tflite

APP = pathlib.Path(export.__file__).parent / "android" / "app"
SOURCES = APP / "src" / "main" / "java" / "keras_ratn" / "classifier"
CLASSES = ["ant", "bee", "cat", "dog", "eel"]


def constants(file):
    """`const val NAME = value` of a Kotlin file."""
    text = (SOURCES / file).read_text()
    found = re.findall(r"const val (\w+) = (\S+)", text)
    return {name: json.loads(value) for name, value in found}


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A file with mask, as the project's README has it made."""
    if keras.backend.backend() != "tensorflow":
        pytest.skip("written with TensorFlow")
    keras.utils.set_random_seed(1704)
    model = tiny_model(architecture=SMALLEST, class_names=CLASSES)
    path = tmp_path_factory.mktemp("assets") / "model.tflite"
    to_tflite(
        model,
        path,
        "int8",
        representative_data=[random_pixels(24)],
        with_mask=True,
    )
    return model, path


def test_app_reads_the_names_shapes_and_types_that_files_have(exported):
    _, path = exported
    app = constants("Classifier.kt")
    assert path.name == app["MODEL_FILE"]
    assert (path.parent / app["LABELS_FILE"]).exists()
    records = json.loads((path.parent / app["RECORDS_FILE"]).read_text())
    entry = records[app["MODEL_FILE"]]
    source = (SOURCES / "Classifier.kt").read_text()
    (field,) = re.findall(r'\.getString\("(\w+)"\)', source)
    assert entry[field] == "none"
    taken = entry["inputs"][app["INPUT_NAME"]]
    assert len(taken["shape"]) == 4
    assert taken["shape"][0] == 1
    assert taken["shape"][-1] == app["CHANNELS"]
    assert taken["type"] == "uint8"
    scores = entry["outputs"][app["SCORES_NAME"]]
    assert scores["shape"] == [1, len(CLASSES)]
    mask = entry["outputs"][app["MASK_NAME"]]
    assert len(mask["shape"]) == 4
    # The app makes arrays of floats for both.
    assert scores["type"] == mask["type"] == "float32"


def test_readme_and_gradle_agree_with_the_app():
    app = constants("Classifier.kt")
    readme = (APP.parent / "README.md").read_text()
    assert f"--output {app['MODEL_FILE']}" in readme
    assert app["LABELS_FILE"] == LABELS
    assert app["RECORDS_FILE"] == RECORDS
    assert LABELS in readme and RECORDS in readme
    gradle = (APP / "build.gradle.kts").read_text()
    assert "com.google.ai.edge.litert:litert:" in gradle
    assert 'noCompress += "tflite"' in gradle
    (namespace,) = re.findall(r'namespace = "(.+)"', gradle)
    for file in SOURCES.glob("*.kt"):
        assert file.read_text().startswith(f"package {namespace}\n")
    settings = (APP.parent / "settings.gradle.kts").read_text()
    assert 'include(":app")' in settings
    assert (APP / "src" / "main" / "assets").is_dir()


def test_manifest_names_the_activity():
    manifest = APP / "src" / "main" / "AndroidManifest.xml"
    root = xml.etree.ElementTree.parse(manifest).getroot()
    (activity,) = root.iter("activity")
    name = activity.get("{http://schemas.android.com/apk/res/android}name")
    source = SOURCES / f"{name.lstrip('.')}.kt"
    assert f"class {name.lstrip('.')} : Activity()" in source.read_text()


def centre(image, height, width):
    """`centre` of Classifier.kt."""
    actual_height, actual_width = image.shape[:2]
    scale = min(actual_width / width, actual_height / height)
    crop_width, crop_height = round(scale * width), round(scale * height)
    left = (actual_width - crop_width) // 2
    top = (actual_height - crop_height) // 2
    return image[top : top + crop_height, left : left + crop_width]


def resized(image, height, width):
    """`resized` of Classifier.kt: `createScaledBitmap` reads four pixels."""

    def scaled(image, height, width):
        image = keras.ops.image.resize(image, (height, width))
        return np.rint(keras.ops.convert_to_numpy(image))

    while image.shape[0] >= 2 * height and image.shape[1] >= 2 * width:
        image = scaled(image, image.shape[0] // 2, image.shape[1] // 2)
    return scaled(image, height, width)


def test_app_sees_what_training_does():
    """A wide, grainy photo, through the app's steps and `ratn train`'s."""
    from PIL import Image

    from training.data.pixels import fit_image

    photo = np.kron(
        random_pixels(1, size=36, seed=3)[0, :32], np.ones((8, 8, 1))
    )
    grain = np.random.default_rng(0).normal(0, 60, photo.shape)
    photo = np.clip(photo + grain, 0, 255).astype("uint8")
    theirs = fit_image(Image.fromarray(photo), 32, 32).astype("float32")
    cut = centre(photo, 32, 32).astype("float32")
    assert cut.shape == (256, 256, 3)
    # In one step four pixels of 64 would count.
    at_once = keras.ops.image.resize(cut, (32, 32))
    at_once = np.abs(keras.ops.convert_to_numpy(at_once) - theirs).mean()
    by_halves = np.abs(resized(cut, 32, 32) - theirs).mean()
    assert 2 * by_halves < at_once


def test_app_resizes_by_halves():
    source = (SOURCES / "Classifier.kt").read_text()
    assert "while (smaller.width >= 2 * width &&" in source
    assert "pixels(resized(image, width, height))" in source


def test_app_takes_images_from_gallery_and_camera():
    source = (SOURCES / "MainActivity.kt").read_text()
    assert "Intent.ACTION_GET_CONTENT" in source
    assert "MediaStore.ACTION_IMAGE_CAPTURE" in source
    # Declared, the permission would have to be granted before the intent.
    manifest = (APP / "src" / "main" / "AndroidManifest.xml").read_text()
    assert "permission.CAMERA" not in manifest
    # Each image goes through the same crop before it is classified.
    assert re.search(r"classifier\.centre\(image\)", source)
    assert source.count("classifier.classify(") == 1


def test_steps_of_the_app_in_python(exported):
    """From `model.json` and the file alone: resize, bytes in, top 3 out."""
    model, path = exported
    app = constants("Classifier.kt")
    folder = path.parent
    entry = json.loads((folder / "model.json").read_text())[path.name]
    labels = (folder / app["LABELS_FILE"]).read_text().splitlines()
    _, height, width, _ = entry["inputs"][app["INPUT_NAME"]]["shape"]
    assert entry["resizing"] == RESIZING
    photo = np.rint(random_pixels(1, size=80, seed=5))[0, :60]
    image = resized(centre(photo, height, width), height, width)
    image = image.astype("uint8")
    interpreter = LiteRTModel(path)
    outputs = interpreter.run(**{app["INPUT_NAME"]: image[None]})
    scores = outputs[app["SCORES_NAME"]][0]
    best = scores.argsort()[::-1][: app["TOP"]]
    expected = predict(model, image[None].astype("float32"))[0]
    assert labels[best[0]] == CLASSES[expected.argmax()]
    assert np.abs(scores - expected).max() < 0.1
    mask = outputs[app["MASK_NAME"]][0].mean(-1)
    assert mask.shape == (height, width)
    assert 0 < mask.min() < mask.max() < 1
