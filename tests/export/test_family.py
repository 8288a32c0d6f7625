"""Networks of the attention family become files too."""

import keras
import numpy as np
import pytest
from network_lists import FAMILY_BUILDERS
from tiny_models import calibrate
from tiny_models import difference
from tiny_models import forward
from tiny_models import random_pixels
from tiny_models import randomize

import keras_ratn
from export import metadata
from export.deploy_graph import deploy_graph
from export.litert import LiteRTModel
from export.tflite import to_tflite
from keras_ratn.models import eamlp
from keras_ratn.models import ResidualBackbone
from keras_ratn.models import rest
from keras_ratn.models._ends import image_classifier

needs_tensorflow = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="written with TensorFlow"
)
SIZE = 64


def backbone(unit="bottleneck", **options):
    options = {"widths": (8, 16), "stem_filters": 8, **options}
    return ResidualBackbone((1, 1), unit, **options)


# A network of each kind, as small as the kind allows.
CLASSIFIERS = {
    "basic": backbone("basic"),
    "self_calibrated": backbone("self_calibrated", stem="cifar"),
    "psa": backbone(widths=(64, 64), attention="psa"),
    "rest": rest.ResTArchitecture(
        (8, 16, 16, 16), (1, 1, 1, 1), (1, 2, 2, 2), drop_path_rate=0.2
    ),
    "eamlp": eamlp.EAMLPArchitecture(16, 2, 2, 2, token_width=8),
    **{
        name: backbone(attention=name)
        for name in ("bam", "cbam", "eca", "se", "external")
    },
}
SEGMENTATION = ("danet", "eanet")


def tiny(kind):
    keras.utils.set_random_seed(1704)
    if kind in SEGMENTATION:
        model = keras_ratn.SegmentationNetwork(
            backbone("basic", widths=(16, 32), dilations=((), (1, 2))),
            kind,
            input_shape=(SIZE, SIZE, 3),
            classes=4,
        )
    else:
        model = image_classifier(
            CLASSIFIERS[kind].features,
            variant=None,
            family="imagenet",
            include_top=True,
            weights=None,
            input_tensor=None,
            input_shape=(SIZE, SIZE, 3),
            pooling=None,
            classes=5,
            classifier_activation=None,
            name=kind,
            include_preprocessing=True,
            data_format="channels_last",
            class_names=None,
        )
    randomize(model)
    return model


@pytest.mark.parametrize("kind", [*CLASSIFIERS, *SEGMENTATION])
def test_deploy_graph_computes_what_the_model_does(kind):
    model = tiny(kind)
    images = random_pixels(2, SIZE)
    deployed = deploy_graph(model)
    assert difference(forward(model, images), forward(deployed, images)) < 1e-5


@pytest.mark.parametrize("kind", ["external", "eamlp"])
def test_an_integer_graph_divides_nothing(kind):
    model = tiny(kind)
    images = random_pixels(2, SIZE)
    deployed = deploy_graph(model, integers=True)
    kinds = {type(operation).__name__ for operation in deployed.operations}
    assert "LogSoftmax" in kinds and not kinds & {"Divide", "TrueDivide"}
    assert difference(forward(model, images), forward(deployed, images)) < 1e-5


@needs_tensorflow
def test_int8_looks_up_memories_that_few_positions_resemble(tmp_path):
    """Integer division failed where all shares of a position were 0."""
    inputs = keras.Input((8, 8, 4))
    layer = keras_ratn.layers.ExternalAttention(8)
    model = keras.Model(inputs, layer(inputs))
    layer.key_memory.kernel.assign(1000 * layer.key_memory.kernel)
    images = np.random.default_rng(0).uniform(-1, 1, (16, 8, 8, 4))
    images = images.astype("float32")
    path = to_tflite(model, tmp_path / "m.tflite", "int8", [images], "float32")
    assert np.isfinite(LiteRTModel(path).predict(images[:4])["scores"]).all()


@needs_tensorflow
@pytest.mark.slow
@pytest.mark.parametrize("quantize, limit", [(None, 1e-4), ("int8", 0.3)])
@pytest.mark.parametrize("kind", [*CLASSIFIERS, *SEGMENTATION])
def test_files_compute_what_the_model_does(kind, quantize, limit, tmp_path):
    model = tiny(kind)
    images = random_pixels(16, SIZE)
    path = to_tflite(model, tmp_path / "m.tflite", quantize, [images])
    scores = LiteRTModel(path).predict(images[:2])["scores"]
    left = metadata.read(path).get("float_operations")
    found = difference(forward(model, images[:2]), scores)
    print(kind, quantize, f"difference {found:.2g}", left)
    assert found < limit
    assert (left is None) == (quantize is None)


@needs_tensorflow
@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILY_BUILDERS)
def test_every_network_becomes_a_float_and_an_int8_file(name, tmp_path):
    size = 97 if name.startswith("SCNet") else SIZE  # the least it takes
    options = {"input_shape": (size, size, 3)}
    model = FAMILY_BUILDERS[name](**options)
    images = random_pixels(16, 100)[:, :size, :size]
    calibrate(model, images)
    path = to_tflite(model, tmp_path / "float.tflite")
    scores = LiteRTModel(path).predict(images[:1])["scores"]
    expected = forward(model, images[:1])
    # The deepest of these untrained networks make 4e-3 of a change of their
    # pixels by a millionth: rounding must not do more than that.
    factors = np.random.default_rng(0).normal(1, 1e-6, images[:1].shape)
    changed = forward(model, (images[:1] * factors).astype("float32"))
    limit = max(1e-3, difference(expected, changed))
    assert difference(expected, scores) < limit
    path = to_tflite(model, tmp_path / "int8.tflite", "int8", [images])
    scores = LiteRTModel(path).predict(images[:1])["scores"]
    assert np.isfinite(scores).all()
    print(name, metadata.read(path)["float_operations"])
