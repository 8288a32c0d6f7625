import subprocess
import sys

import keras
import numpy as np
import pytest
from tiny_models import predict
from tiny_models import random_pixels
from tiny_models import SMALLEST
from tiny_models import tiny_model

from export import metadata
from export.saved_model import to_saved_model
from export.verify import verify

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="written with TensorFlow"
)

CLASSES = ["ant", "bee", "cat", "dog", "eel"]

# Runs where neither Keras nor this package can be imported.
CLIENT = """
import importlib.abc, sys

class Refuse(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("keras_ratn", "export"):
            raise ImportError(name)

sys.meta_path.insert(0, Refuse())
import numpy as np
import tensorflow as tf
folder, out = sys.argv[1:]
model = tf.saved_model.load(folder + "/served")
images = np.load(folder + "/images.npy")
plain = model.signatures["serving_default"](images=tf.constant(images))
files = [tf.io.encode_png(i.astype("uint8")) for i in images]
coded = model.signatures["serve_bytes"](encoded_images=tf.stack(files))
assert not any(name.startswith("keras_ratn") for name in sys.modules)
np.savez(
    out,
    plain=plain["scores"],
    coded=coded["scores"],
    labels=coded["labels"].numpy().astype(str),
)
"""


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(1704)
    return tiny_model(architecture=SMALLEST, class_names=CLASSES)


def test_runs_with_tensorflow_alone(model, tmp_path):
    images = np.rint(random_pixels(3))
    np.save(tmp_path / "images.npy", images)
    to_saved_model(model, tmp_path / "served")
    out = str(tmp_path / "out.npz")
    # From another folder, so that the checkout is not on the path.
    subprocess.run(
        [sys.executable, "-c", CLIENT, str(tmp_path), out],
        check=True,
        cwd=tmp_path,
    )
    results = np.load(out)
    expected = predict(model, images)
    np.testing.assert_allclose(results["plain"], expected, atol=1e-5)
    np.testing.assert_allclose(results["coded"], expected, atol=1e-5)
    assert results["labels"].tolist() == [CLASSES] * 3
    assert (tmp_path / "labels.txt").read_text().split() == CLASSES
    entry = metadata.read(tmp_path / "served")
    assert entry["inputs"]["images"]["shape"] == [None, 32, 32, 3]
    assert entry["outputs"] == {
        "scores": {"shape": [None, 5], "type": "float32"}
    }
    # A checksum of all files, so that none can change unseen.
    assert entry["sha256"] == metadata.sha256(tmp_path / "served")
    (shard,) = (tmp_path / "served" / "variables").glob("*.data-*")
    shard.write_bytes(shard.read_bytes()[:-1] + b"!")
    with pytest.raises(ValueError, match="its checksum differs"):
        verify(model, tmp_path / "served", images)


def test_resizes_encoded_images_and_replaces_the_old_model(model, tmp_path):
    import tensorflow as tf
    from PIL import Image

    from training.data.pixels import fit_image

    to_saved_model(model, tmp_path / "served")
    to_saved_model(model, tmp_path / "served")
    loaded = tf.saved_model.load(str(tmp_path / "served"))
    # Wide, large and fine-grained, through Pillow as in training.
    photo = np.random.default_rng(0).integers(0, 256, (150, 211, 3), "uint8")
    fitted = fit_image(Image.fromarray(photo), 32, 32)
    encoded = tf.io.encode_png(photo)[None]
    scores = loaded.signatures["serve_bytes"](encoded_images=encoded)["scores"]
    expected = predict(model, fitted[None].astype("float32"))
    np.testing.assert_allclose(scores, expected, atol=1e-3)


def test_serves_logits(model, tmp_path):
    path = to_saved_model(model, tmp_path / "served", logits=True)
    assert metadata.read(path)["postprocessing"] == "softmax"
    assert verify(model, path, random_pixels(2)).passes


def test_replaces_nothing_but_saved_models(model, tmp_path):
    folder = tmp_path / "precious"
    folder.mkdir()
    (folder / "thesis.txt").write_text("words")
    with pytest.raises(ValueError, match="exists and is no SavedModel"):
        to_saved_model(model, folder)
    assert (folder / "thesis.txt").read_text() == "words"
