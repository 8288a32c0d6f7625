"""Every layer under other global settings of Keras: the same numbers."""

import keras
import numpy as np
import pytest
from keras import ops
from layer_checks import random_images
from tiny_models import randomize

from keras_ratn import layers

SHAPE = (2, 9, 7, 16)
PSA = {"kernel_sizes": (3, 5), "groups": (1, 2), "reduction_ratio": 2}
MAP_LAYERS = [
    ("AttentionModule", {"filters": 8, "mask_depth": 1}),
    ("BilinearUpsampling2D", {}),
    ("BottleneckAttentionModule", {}),
    ("ChannelAffinityAttention", {}),
    ("ConvolutionalBlockAttention", {}),
    ("DualAttention", {"classes": 3, "filters": 8}),
    ("EfficientChannelAttention", {}),
    ("EfficientMultiHeadSelfAttention", {"num_heads": 2}),
    ("EfficientMultiHeadSelfAttention", {"spatial_reduction_ratio": 2}),
    ("ExternalAttention", {}),
    ("HighwayGate", {}),
    ("InceptionUnit", {"filters": 8, "strides": 2}),
    ("LocalConvolutionMask", {}),
    ("MaskActivation", {"mode": "channel"}),
    ("MaskActivation", {"mode": "spatial"}),
    ("PixelAttention", {}),
    ("PositionAttention", {}),
    ("PyramidSqueezeAttention", {**PSA, "strides": 2}),
    ("ResNeXtUnit", {"filters": 8, "strides": 2}),
    ("ResidualUnit", {"filters": 8, "strides": 2}),
    ("SelfCalibratedConv2D", {"strides": 2}),
    ("SoftMaskBranch", {"mask_depth": 1}),
    ("SpatialTransformer", {}),
    ("SqueezeExcite", {"variant": "grouped"}),
    ("TransposedUpsampling2D", {}),
]
# Policy, layout, and how far half precision may be off, as a share. Always
# run: both at once.
GLOBALS = [
    pytest.param("float32", "channels_first", 1e-4, marks=pytest.mark.slow),
    pytest.param(
        "mixed_float16", "channels_last", 0.03, marks=pytest.mark.slow
    ),
    ("mixed_bfloat16", "channels_first", 0.15),
]


def _model(name, options, layout):
    shape = SHAPE[1:]
    if layout == "channels_first":
        shape = (shape[2], *shape[:2])
    inputs = keras.Input(shape, dtype="float32")
    return keras.Model(inputs, getattr(layers, name)(**options)(inputs))


def _outputs(model, x, layout):
    """Channels last, whatever the model's layout."""
    if layout == "channels_first":
        x = x.transpose(0, 3, 1, 2)
    y = ops.convert_to_numpy(ops.cast(model(x, training=False), "float32"))
    return y.transpose(0, 2, 3, 1) if layout == "channels_first" else y


@pytest.mark.parametrize(("policy", "layout", "share"), GLOBALS)
@pytest.mark.parametrize(("name", "options"), MAP_LAYERS)
def test_a_layer_computes_the_same(
    name, options, policy, layout, share, tmp_path
):
    x = random_images(SHAPE)
    standard = _model(name, options, "channels_last")
    randomize(standard)
    expected = _outputs(standard, x, "channels_last")
    standard.save(tmp_path / "standard.keras")

    keras.config.set_dtype_policy(policy)
    keras.config.set_image_data_format(layout)
    other = _model(name, options, layout)
    assert other.layers[-1].dtype_policy.name == policy
    other.set_weights(standard.get_weights())
    actual = _outputs(other, x, layout)
    difference = np.linalg.norm(actual - expected)
    assert difference <= share * np.linalg.norm(expected)
    other.save(tmp_path / "other.keras")
    # What a file says is not what is global where it is loaded.
    loaded = keras.saving.load_model(tmp_path / "standard.keras")
    np.testing.assert_allclose(
        _outputs(loaded, x, "channels_last"), expected, rtol=1e-5, atol=1e-5
    )
    keras.config.set_dtype_policy("float32")
    keras.config.set_image_data_format("channels_last")
    loaded = keras.saving.load_model(tmp_path / "other.keras")
    np.testing.assert_allclose(
        _outputs(loaded, x, layout), actual, rtol=1e-5, atol=1e-5
    )
