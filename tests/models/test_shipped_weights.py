"""The weights in the package have the accuracy that their cards tell."""

import json

import keras
import numpy as np
import pytest

import keras_ratn
from keras_ratn.models.pretrained import CHECKPOINTS
from keras_ratn.models.pretrained import PACKAGED

NAMES = keras_ratn.list_weights("*:cifar10*")


@pytest.fixture
def photos(shared, monkeypatch):
    """CIFAR-10's test images and labels."""
    monkeypatch.syspath_prepend(shared / "data")
    import read_packed

    return read_packed.cifar10("test")


def card_of(name):
    network, weights = name.split(":")
    source = CHECKPOINTS[network.lower()][weights].source
    path = PACKAGED / source.replace(".weights.h5", ".json")
    return json.loads(path.read_text())


def hits(model, images, labels):
    scores = model.predict(images.astype("float32"), 250, verbose=0)
    return int((scores.argmax(1) == labels).sum())


@pytest.mark.parametrize("name", NAMES)
def test_they_classify_real_images(name, photos):
    images, labels = photos
    model = keras_ratn.create_model(name)
    assert hits(model, images[:250], labels[:250]) > 0.8 * 250
    assert keras_ratn.class_names(model)[labels[0]] == "cat"


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_the_card_tells_the_accuracy(name, photos):
    images, labels = photos
    found = hits(keras_ratn.create_model(name), images, labels)
    expected = round(card_of(name)["measured"]["top1"] * len(images))
    # TensorFlow measured it; the others round otherwise.
    tolerance = 0 if keras.backend.backend() == "tensorflow" else 2
    assert abs(found - expected) <= tolerance


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_the_card_tells_the_accuracy_of_the_int8_file(name, photos):
    interpreter = pytest.importorskip("ai_edge_litert.interpreter")
    images, labels = photos
    path = keras_ratn.int8_file(name)
    network = interpreter.Interpreter(str(path), num_threads=2)
    network.allocate_tensors()
    (inputs,) = network.get_input_details()
    (outputs,) = network.get_output_details()
    found = 0
    for image, label in zip(images, labels):
        network.set_tensor(inputs["index"], image[None])
        network.invoke()
        scores = network.get_tensor(outputs["index"])
        found += int(np.argmax(scores) == label)
    accuracy = 100 * found / len(images)
    assert accuracy == pytest.approx(card_of(name)["int8_accuracy"], abs=0.01)
