import dataclasses
import json
import os
import zipfile

import keras
import numpy as np
import pytest
from tiny_models import difference
from tiny_models import predict
from tiny_models import random_pixels
from tiny_models import SMALLEST
from tiny_models import tiny_model

import keras_ratn
from export import flatbuffer
from export import metadata
from export.litert import LiteRTModel
from export.tflite import to_tflite
from export.verify import verify

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="written with TensorFlow"
)

CLASSES = ["ant", "bee", "cat", "dog", "eel"]
# (largest difference of a score, smallest agreement) of each kind
LIMITS = {None: 1e-5, "float16": 2e-2, "dynamic": 0.1, "int8": 0.2}


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(1704)
    return tiny_model(architecture=SMALLEST, class_names=CLASSES)


@pytest.fixture(scope="module")
def files(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tflite")
    return {
        quantize: to_tflite(
            model,
            folder / f"{quantize}.tflite",
            quantize,
            representative_data=[random_pixels(24)],
        )
        for quantize in LIMITS
    }


@pytest.mark.parametrize("quantize", LIMITS)
def test_file_computes_what_the_model_does(model, files, quantize):
    images = random_pixels(8, seed=2)
    scores = LiteRTModel(files[quantize]).predict(images)["scores"]
    expected = predict(model, images)
    assert np.abs(scores - expected).max() < LIMITS[quantize]
    names = {o.name for o in flatbuffer.operations(files[quantize])}
    assert not any(name.startswith(("CUSTOM", "FLEX")) for name in names)


def test_int8_computes_in_integers_only(files):
    assert not flatbuffer.not_integer(files["int8"])
    assert flatbuffer.not_integer(files[None])["CONV_2D"] > 0
    found = [o.name for o in flatbuffer.operations(files["int8"])]
    # One each at the ends: uint8 pixels in, float scores out.
    assert found.count("QUANTIZE") == found.count("DEQUANTIZE") == 1


def test_int8_takes_pixels_as_they_are(files):
    (detail,) = LiteRTModel(files["int8"]).inputs.values()
    assert detail["dtype"] == np.uint8
    assert detail["quantization"] == (1.0, 0)


def test_batch_norms_before_units_leave_the_int8_file(files):
    def number(quantize, name):
        found = flatbuffer.operations(files[quantize])
        return [o.name for o in found].count(name)

    assert number("int8", "MUL") == 1  # mask times trunk
    assert number("int8", "DEPTHWISE_CONV_2D") == 0
    # Each unit's sum, 1 + mask, and the normalizations behind the mask's
    # pooling and behind the product, where no convolution can shift.
    assert number("int8", "ADD") == 7 + 1 + 2
    assert number("int8", "MAX_POOL_2D") == 1 + 7  # 7 are bounds of ReLUs
    assert number(None, "DEPTHWISE_CONV_2D") == 0
    assert number(None, "MAX_POOL_2D") == 1


def test_facts_stand_beside_and_inside(files):
    path = files["int8"]
    assert (path.parent / "labels.txt").read_text().split() == CLASSES
    entry = metadata.read(path)
    assert entry["classes"] == CLASSES
    assert entry["quantization"] == "int8"
    assert entry["sha256"] == metadata.sha256(path)
    assert entry["inputs"]["images"]["shape"] == [1, 32, 32, 3]
    assert entry["inputs"]["images"]["type"] == "uint8"
    assert entry["outputs"]["scores"]["shape"] == [1, 5]
    records = json.loads((path.parent / "model.json").read_text())
    assert set(records) == {file.name for file in files.values()}
    with zipfile.ZipFile(path) as archive:
        assert archive.read("labels.txt").decode().split() == CLASSES
        assert json.loads(archive.read("model.json"))["model"] == entry["model"]


def with_step(function):
    """A small model with this function of the maps in its middle."""
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Rescaling(1 / 255)(inputs)
    x = function(keras.layers.Conv2D(4, 3)(x))
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, keras.layers.Dense(3)(x))


def test_keeps_in_floats_what_has_no_integer_kernel(tmp_path):
    model = with_step(keras.ops.sin)
    images = random_pixels(16, 8)
    path = to_tflite(model, tmp_path / "m.tflite", "int8", [images])
    assert metadata.read(path)["float_operations"]["SIN"] == 1
    scores = LiteRTModel(path).predict(images)["scores"]
    expected = predict(model, images)
    assert np.abs(scores - expected).max() < 0.1 * np.abs(expected).max()


def test_names_what_litert_cannot_compute(tmp_path):
    with pytest.raises(ValueError, match="no operation for a step.*Erf"):
        to_tflite(with_step(keras.ops.erf), tmp_path / "m.tflite")
    assert nothing_in(tmp_path)


def test_refuses_a_file_that_litert_cannot_run(tmp_path):
    """Its integer division stops where the divisor rounds to zero."""

    def share(x):
        x = keras.ops.relu(x)
        return x / (keras.ops.sum(x, axis=-1, keepdims=True) + 1e-6)

    images = random_pixels(16, 8)
    with pytest.raises(ValueError, match="LiteRT cannot run the file"):
        to_tflite(with_step(share), tmp_path / "m.tflite", "int8", [images])
    assert nothing_in(tmp_path)


def test_dead_tensors_do_not_stop_the_file(tmp_path):
    """XNNPACK refuses steps that are far finer than those before."""
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Rescaling(1 / 255)(inputs)
    x = keras.layers.Conv2D(
        4, 3, bias_initializer=keras.initializers.Constant(-9)
    )(x)
    x = keras.layers.ReLU()(x)
    x = keras.layers.Conv2D(4, 3, bias_initializer="ones")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, x)
    images = random_pixels(16, 8)
    path = to_tflite(model, tmp_path / "m.tflite", "int8", [images])
    scores = LiteRTModel(path).predict(images)["scores"]
    assert np.abs(scores - predict(model, images)).max() < 0.05


def test_takes_a_network_inside_of_a_sequential_model(model, tmp_path):
    """The usual graph of transfer learning."""
    base = keras.Model(model.input, model.layers[-2].output)
    head = keras.layers.Dense(3, activation="softmax")
    tuned = keras.Sequential([keras.Input((32, 32, 3)), base, head])
    path = to_tflite(tuned, tmp_path / "m.tflite", "int8", [random_pixels(24)])
    assert not flatbuffer.not_integer(path)
    assert metadata.read(path)["scores"] == "softmax"
    assert "pixels 0-255" in metadata.read(path)["normalization"]
    images = random_pixels(8, seed=2)
    scores = LiteRTModel(path).predict(images)["scores"]
    assert np.abs(scores - predict(tuned, images)).max() < LIMITS["int8"]


def logits_of(model):
    """The model without the softmax of its last layer."""
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    copy.layers[-1].activation = keras.activations.linear
    return copy


def test_logits_do_not_tie_where_probabilities_do(tmp_path):
    """An 8-bit softmax has steps of 1/256."""
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Rescaling(1 / 255)(inputs)
    x = keras.layers.Conv2D(16, 3, activation="relu")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, keras.layers.Dense(50, "softmax")(x))
    images = random_pixels(16, 8)
    distinct = {}
    for logits in (False, True):
        path = tmp_path / f"{logits}.tflite"
        to_tflite(model, path, "int8", [images], logits=logits)
        scores = LiteRTModel(path).predict(images)["scores"]
        distinct[logits] = len(np.unique(scores[0]))
        assert verify(model, path, images, min_agreement=0).passes
    assert distinct[True] > 3 * distinct[False]
    expected = predict(logits_of(model), images)
    assert np.abs(scores - expected).max() < 0.05 * np.abs(expected).max()
    entry = metadata.read(path)
    assert (entry["scores"], entry["postprocessing"]) == ("linear", "softmax")
    # Differences of a model of logits are judged in units of its logits.
    large = logits_of(model)
    large.layers[-1].set_weights(
        [1000 * w for w in large.layers[-1].get_weights()]
    )
    path = to_tflite(large, tmp_path / "large.tflite", "float16")
    comparison = verify(large, path, images)
    assert comparison.largest_difference > 2e-2
    assert comparison.passes


@pytest.mark.parametrize("kind", ["uint8", "int8", "float32"])
def test_types_of_both_ends(tmp_path, kind):
    model = with_step(keras.ops.relu)
    path = to_tflite(
        model,
        tmp_path / "m.tflite",
        "int8",
        representative_data=[random_pixels(24, 8)],
        input_type=kind,
        output_type=kind,
    )
    loaded = LiteRTModel(path)
    (taken,) = loaded.inputs.values()
    (given,) = loaded.outputs.values()
    assert taken["dtype"] == given["dtype"] == np.dtype(kind)
    assert not flatbuffer.not_integer(path)
    images = random_pixels(4, 8, seed=2)
    expected = predict(model, images)
    scores = loaded.predict(images)["scores"]
    assert difference(expected, scores) < 0.05


def test_batch_size_and_mask(model, tmp_path):
    path = to_tflite(model, tmp_path / "m.tflite", batch_size=3, with_mask=True)
    loaded = LiteRTModel(path)
    assert loaded.input_shape == (3, 32, 32, 3)
    images = random_pixels(4, seed=2)  # not a multiple of the batch
    outputs = loaded.predict(images)
    np.testing.assert_allclose(
        outputs["scores"], predict(model, images), atol=1e-5
    )
    assert outputs["mask"].shape == (4, 32, 32, 8)
    assert 0 <= outputs["mask"].min() < outputs["mask"].max() <= 1


EVERY_OPTION = [
    {"unit": "resnext"},
    {"unit": "inception"},
    {"mask_activation": "channel"},
    {"mask_activation": "spatial"},
    {"mask_structure": "local_convolution"},
    {"interpolation": "bilinear_align_corners"},
    {"interpolation": "transpose"},
    {"attention_learning": "naive"},
]


@pytest.mark.slow
@pytest.mark.parametrize("quantize", LIMITS)
@pytest.mark.parametrize("options", EVERY_OPTION, ids=str)
def test_every_option_in_every_kind(options, quantize, tmp_path):
    architecture = dataclasses.replace(SMALLEST, **options)
    model = tiny_model(architecture=architecture)
    path = to_tflite(
        model,
        tmp_path / "m.tflite",
        quantize,
        representative_data=[random_pixels(24)],
    )
    images = random_pixels(8, seed=2)
    scores = LiteRTModel(path).predict(images)["scores"]
    assert np.abs(scores - predict(model, images)).max() < LIMITS[quantize]


@pytest.mark.slow
@pytest.mark.parametrize("name", keras_ratn.list_models("*attention*"))
def test_every_registered_network_in_int8(name, tmp_path):
    model = getattr(keras_ratn, name)(input_shape=(32, 32, 3))
    to_tflite(
        model,
        tmp_path / "m.tflite",
        "int8",
        representative_data=[random_pixels(16)],
    )
    assert not flatbuffer.not_integer(tmp_path / "m.tflite")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["Attention56", "CifarAttention92"])
def test_sizes_of_the_compressed_kinds(name, tmp_path):
    model = getattr(keras_ratn, name)()
    sizes = {}
    for quantize in (None, "float16", "dynamic"):
        path = to_tflite(model, tmp_path / f"{quantize}.tflite", quantize)
        sizes[quantize] = path.stat().st_size
    print(name, sizes)
    assert sizes["float16"] <= 0.51 * sizes[None]
    assert sizes["dynamic"] <= 0.27 * sizes[None]


def nothing_in(folder):
    return not os.listdir(folder)


def test_a_full_disk_is_an_error_of_the_disk(tmp_path, monkeypatch):
    import tensorflow as tf

    def fill_disk(*_, **__):
        raise tf.errors.ResourceExhaustedError(None, None, "No space left")

    monkeypatch.setattr(tf.saved_model, "save", fill_disk)
    with pytest.raises(ValueError, match="m.tflite': No space left. Choose"):
        to_tflite(with_step(keras.ops.relu), tmp_path / "m.tflite")
    assert nothing_in(tmp_path)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({}, "Int8 needs `representative_data`"),
        ({"representative_data": [random_pixels(3)]}, "16 images or more"),
        (
            {"representative_data": [random_pixels(24, size=16)]},
            r"takes, \(32, 32, 3\). Received: images of \(16, 16, 3\)",
        ),
        (
            {"representative_data": [random_pixels(24) / 255]},
            "must be pixels from 0 to 255",
        ),
        ({"representative_data": [random_pixels(24) - 128]}, "from 0 to 255"),
        ({"labels": ["one"]}, "1 labels for 5 classes"),
        ({"input_type": "int16"}, "`input_type` must be one of"),
        ({"output_type": "int16"}, "`output_type` must be one of"),
        ({"batch_size": 0}, "`batch_size` must be a positive integer"),
    ],
)
def test_bad_input_writes_nothing(model, tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        to_tflite(model, tmp_path / "m.tflite", "int8", **arguments)
    assert nothing_in(tmp_path)


def test_refuses_unknown_precision_and_suffix(model, tmp_path):
    with pytest.raises(ValueError, match="`quantize` must be one of"):
        to_tflite(model, tmp_path / "m.tflite", "int4")
    with pytest.raises(ValueError, match="must end in .tflite"):
        to_tflite(model, tmp_path / "m.lite")


def test_refuses_a_folder_that_is_a_file(model, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ValueError, match="Cannot write to"):
        to_tflite(model, tmp_path / "file" / "m.tflite")


def test_failure_leaves_the_old_file(model, tmp_path, monkeypatch):
    path = tmp_path / "m.tflite"
    path.write_bytes(b"old")

    def fail(*_):
        raise RuntimeError("in the middle")

    monkeypatch.setattr(metadata, "write", fail)
    with pytest.raises(RuntimeError, match="in the middle"):
        to_tflite(model, path)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["m.tflite"]
