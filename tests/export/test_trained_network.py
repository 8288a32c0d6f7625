"""What 8 bits cost really trained networks: of digits, and of photos."""

import keras
import numpy as np
import pytest
from tiny_models import predict
from tiny_models import tune

import keras_ratn
from export import flatbuffer
from export.litert import LiteRTModel
from export.quantization_aware import quantization_aware
from export.tflite import to_tflite
from export.tfmot_engine import fine_tune_with_tfmot
from export.verify import verify

# The stem that quarters the size makes it quick to train.
NETWORK = keras_ratn.Architecture(
    stem_filters=16,
    stage_filters=(32, 64),
    num_modules=(1, 1),
    mask_depths=(2, 1),
    tail_filters=None,
    num_tail_units=0,
)
EPOCHS = 12

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        keras.backend.backend() != "tensorflow",
        reason="written with TensorFlow",
    ),
]


@pytest.fixture(scope="module")
def digits():
    """Training and test images, 8x8 digits enlarged to 32x32."""
    datasets = pytest.importorskip("sklearn.datasets")
    data = datasets.load_digits()
    images = np.kron(data.images, np.ones((1, 4, 4)))[..., None]
    # Whole numbers, as pixels are.
    images = np.rint(np.repeat(images * (255 / 16), 3, axis=-1))
    images = images.astype("float32")
    order = np.random.default_rng(0).permutation(len(images))
    images, labels = images[order], data.target[order]
    return (images[:1297], labels[:1297]), (images[1297:], labels[1297:])


@pytest.fixture(scope="module")
def model(digits):
    keras.utils.set_random_seed(1704)
    model = keras_ratn.ResidualAttentionNetwork(
        NETWORK, input_shape=(32, 32, 3), classes=10
    )
    schedule = keras.optimizers.schedules.CosineDecay(3e-3, EPOCHS * 41)
    model.compile(
        keras.optimizers.Adam(schedule),
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    model.fit(*digits[0], batch_size=32, epochs=EPOCHS, verbose=2)
    return model


def accuracy(scores, labels):
    return (scores.argmax(-1) == labels).mean()


def run(file, images):
    return LiteRTModel(file).predict(images)["scores"]


@pytest.fixture
def photos(shared, monkeypatch):
    """CIFAR-10: images and labels, of training and of test."""
    monkeypatch.syspath_prepend(shared / "data")
    import read_packed

    return read_packed.cifar10("train"), read_packed.cifar10("test")


def test_cost_of_eight_bits_on_photos(photos, tmp_path):
    """The weights that ship, tuned for 250 steps; all 10,000 test images."""
    (images, labels), (unseen, truth) = photos
    model = keras_ratn.create_model("CifarAttention56:cifar10")
    unseen, calibration = unseen.astype("float32"), [images[:500]]
    before = accuracy(predict(model, unseen), truth)
    file = to_tflite(model, tmp_path / "post.tflite", "int8", calibration)
    post_training = accuracy(run(file, unseen), truth)

    aware = quantization_aware(model, calibration)
    chosen = np.random.default_rng(0).permutation(len(images))[:8000]
    tune(aware, images[chosen], labels[chosen], learning_rate=1e-5)
    file = to_tflite(aware, tmp_path / "tuned.tflite", "int8")
    assert not flatbuffer.not_integer(file)
    simulated, actual = predict(aware, unseen), run(file, unseen)
    tuned = accuracy(actual, truth)
    agreement = (simulated.argmax(-1) == actual.argmax(-1)).mean()
    close = (np.abs(simulated - actual) * 256 <= 3).mean()
    print(
        f"float {before:.4f}, post-training int8 {post_training:.4f}, tuned "
        f"{tuned:.4f}; file against simulation: agreement {agreement:.4f}, "
        f"within 3 steps {close:.4f}"
    )
    assert before - post_training <= 0.010
    assert before - tuned <= 0.003
    assert agreement >= 0.999
    assert close >= 0.999


def test_cost_of_eight_bits(model, digits, tmp_path):
    (images, labels), (unseen, truth) = digits
    calibration = [images[:200]]
    scores = predict(model, unseen)
    before = accuracy(scores, truth)
    assert before > 0.95  # really trained
    file = to_tflite(model, tmp_path / "post.tflite", "int8", calibration)
    assert not flatbuffer.not_integer(file)
    post_training = accuracy(run(file, unseen), truth)

    aware = quantization_aware(model, calibration)
    tune(aware, images, labels, epochs=2)
    file = to_tflite(aware, tmp_path / "keras.tflite", "int8")
    assert not flatbuffer.not_integer(file)
    simulated, actual = predict(aware, unseen), run(file, unseen)
    agreement = (simulated.argmax(-1) == actual.argmax(-1)).mean()
    close = (np.abs(simulated - actual) * 256 <= 3).mean()

    tuned, _ = fine_tune_with_tfmot(model, images, labels, epochs=2)
    file = to_tflite(tuned, tmp_path / "tfmot.tflite", "int8", calibration)
    tfmot = accuracy(run(file, unseen), truth)
    print(
        f"float {before:.4f}, post-training int8 {post_training:.4f}, keras "
        f"{accuracy(actual, truth):.4f}, tfmot {tfmot:.4f}; file against "
        f"simulation: agreement {agreement:.4f}, within 3 steps {close:.4f}"
    )
    assert before - post_training <= 0.010
    assert before - accuracy(actual, truth) <= 0.003
    assert before - tfmot <= 0.003
    assert agreement >= 0.999
    assert close >= 0.999


@pytest.mark.parametrize(
    "quantize, agreement", [("float16", 0.999), ("dynamic", 0.99)]
)
def test_half_precision_and_dynamic_range_agree(
    model, digits, tmp_path, quantize, agreement
):
    unseen = digits[1][0]
    path = to_tflite(model, tmp_path / "m.tflite", quantize)
    comparison = verify(model, path, unseen)
    print(quantize, comparison)
    assert comparison.agreement >= agreement
