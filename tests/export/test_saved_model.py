import io
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
from export.served_images import decoded
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


def encoded(image, kind, **options):
    """The content of an image file, written by Pillow."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def pixel_model(channels):
    """Scores are the image itself, so that every pixel is seen."""
    return keras.Sequential(
        [keras.Input((32, 32, channels)), keras.layers.Flatten()]
    )


def pictures():
    """Files of many kinds with the same 32x32 image, opaque and not."""
    from PIL import Image

    values = np.random.default_rng(0).integers(0, 256, (4, 4, 4), "uint8")
    values[..., 3] |= 1  # WebP may change colours where nothing is seen
    image = Image.fromarray(np.kron(values, np.ones((8, 8, 1), "uint8")))
    opaque = image.convert("RGB")
    return {
        "JPEG": encoded(opaque, "JPEG"),
        "grey JPEG": encoded(opaque.convert("L"), "JPEG"),
        "CMYK JPEG": encoded(opaque.convert("CMYK"), "JPEG"),
        "PNG": encoded(opaque, "PNG"),
        "PNG with opacity": encoded(image, "PNG"),
        "grey PNG with opacity": encoded(image.convert("LA"), "PNG"),
        "PNG with a palette": encoded(opaque.quantize(16), "PNG"),
        "GIF": encoded(opaque, "GIF"),
        "BMP": encoded(opaque, "BMP"),
        "WebP": encoded(opaque, "WEBP", lossless=True),
        "WebP with opacity": encoded(image, "WEBP", lossless=True),
    }


@pytest.mark.parametrize("channels, mode", [(1, "L"), (3, "RGB"), (4, "RGBA")])
def test_serves_every_kind_of_file_and_says_which_are_none(
    channels, mode, tmp_path
):
    import tensorflow as tf
    from PIL import Image

    files = pictures()
    damaged = {
        "empty": b"",
        "text": b"no image",
        "half a JPEG": files["JPEG"][: len(files["JPEG"]) // 2],
        "half a PNG": files["PNG"][: len(files["PNG"]) // 2],
    }
    path = to_saved_model(pixel_model(channels), tmp_path / "served")
    serve = tf.saved_model.load(str(path)).signatures["serve_bytes"]
    # Between the others, so that none may lose its place.
    batch = {**dict(list(files.items())[:3]), **damaged, **files}
    found = serve(encoded_images=tf.constant(list(batch.values())))
    readable = dict(zip(batch, found["readable"].numpy()))
    scores = dict(zip(batch, found["scores"].numpy()))
    for name, file in files.items():
        assert readable[name]
        image = np.asarray(Image.open(io.BytesIO(file)).convert(mode))
        # Of CMYK everybody makes other colours, by a little.
        limit = 2 if name == "CMYK JPEG" else 1 if channels == 1 else 0
        assert np.abs(scores[name] - image.ravel()).max() <= limit, name
    for name in damaged:
        assert not readable[name] and np.isnan(scores[name]).all()
    alone = serve(encoded_images=tf.constant([b"no image"]))
    assert not alone["readable"][0]


# Served in a process whose memory is looked at.
THIN = """
import resource, sys
import tensorflow as tf
model = tf.saved_model.load(sys.argv[1]).signatures["serve_bytes"]
small = tf.io.encode_png(tf.zeros((2, 2, 3), tf.uint8))
thin = tf.io.encode_png(tf.zeros((1, 5000, 3), tf.uint8))
model(encoded_images=small[None])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
assert model(encoded_images=thin[None])["readable"][0]
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print((after - before) / 1024)
"""


def test_scales_no_more_than_it_keeps(tmp_path):
    """A PNG of 99 bytes, a pixel high, took 2.7 GB."""
    model = keras.Sequential(
        [keras.Input((224, 224, 3)), keras.layers.GlobalAveragePooling2D()]
    )
    path = to_saved_model(model, tmp_path / "served")
    done = subprocess.run(
        [sys.executable, "-c", THIN, str(path)],
        check=True,
        capture_output=True,
        text=True,
    )
    assert float(done.stdout) < 200  # MB


@pytest.mark.parametrize(
    "size", [(1, 500), (37, 61), (150, 211), (5, 4), (31, 33)]
)
def test_scales_as_if_it_kept_everything(size):
    """The centre of the whole image, scaled by `tf.image.resize`."""
    import tensorflow as tf

    target = np.array((24, 32))
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), "uint8")
    scale = max(target / size)
    scaled = np.maximum(np.round(scale * np.array(size)), target).astype(int)
    whole = tf.image.resize(image, scaled, antialias=True).numpy()
    top, left = (scaled - target) // 2
    expected = whole[top : top + 24, left : left + 32].round().clip(0, 255)
    (actual,), _ = decoded(tf.io.encode_png(image)[None], (24, 32, 3))
    # Some values are half-way between two.
    assert np.abs(actual - expected).max() <= 1
    assert np.abs(actual - expected).mean() < 0.01


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
