"""Random networks work: they predict, are saved and come back the same."""

import hypothesis.strategies as st
import keras
import numpy as np
from fuzz import profile
from hypothesis import given

import keras_ratn
from keras_ratn.layers.registry import SHAPE_PRESERVING

POLICIES = ("float32", "mixed_float16", "mixed_bfloat16")
LAYOUTS = ("channels_last", "channels_first")
WIDTHS = st.sampled_from((4, 8, 12))
# What fits the few channels of these networks.
OPTIONS = {
    "bam": {"reduction_ratio": 2, "dilation_rate": 1},
    "bam_sum": {"reduction_ratio": 4},
    "cbam": {"reduction_ratio": 1, "kernel_size": 3},
    "channel_affinity": {},
    "eca": {"kernel_size": 5},
    "emsa": {"num_heads": 2, "spatial_reduction_ratio": 2},
    "external": {"memory_size": 3},
    "position": {"reduction_ratio": 2},
    "psa": {
        "kernel_sizes": (3, 5),
        "groups": (1, 2),
        "reduction_ratio": 2,
    },
    "sc": {"pool_size": 2},
    "se": {"reduction_ratio": 4},
    "se_gc": {"groups": 2},
    "se_var3": {"reduction_ratio": 2},
}


@st.composite
def attentions(draw, others=()):
    """Short name of an attention layer and its options."""
    name = draw(st.sampled_from((None, *others, *SHAPE_PRESERVING)))
    options = OPTIONS.get(name)
    return name, draw(st.sampled_from((options, options, None)))


@st.composite
def architectures(draw):
    """Arguments of a small `Architecture`."""
    stages = draw(st.sampled_from((1, 1, 2, 2, 3)))
    each = {"min_size": stages, "max_size": stages}
    attention, attention_options = None, None
    if draw(st.integers(0, 2)) == 0:
        attention, attention_options = draw(attentions(("none",)))
    unit_attention, unit_options = None, None
    if draw(st.integers(0, 3)) == 0:
        unit_attention, unit_options = draw(attentions())
    tail_units = draw(st.integers(0, 1))
    return {
        "stem": draw(st.sampled_from(("cifar", "imagenet"))),
        "stem_filters": draw(st.integers(1, 9)),
        "stage_filters": draw(st.lists(WIDTHS, **each).map(tuple)),
        "num_modules": draw(st.lists(st.integers(0, 1), **each)),
        "mask_depths": tuple(draw(st.lists(st.integers(1, 3), **each))),
        "num_closing_units": draw(st.integers(0, 1)),
        "tail_filters": draw(WIDTHS) if tail_units else None,
        "num_tail_units": tail_units,
        "num_pre_units": draw(st.integers(0, 1)),
        "num_trunk_units": draw(st.integers(1, 2)),
        "num_mask_units": draw(st.integers(1, 2)),
        "unit": draw(st.sampled_from(("residual", "resnext", "inception"))),
        "attention_learning": draw(st.sampled_from(("residual", "naive"))),
        "mask_activation": draw(
            st.sampled_from(("mixed", "channel", "spatial"))
        ),
        "mask_structure": draw(
            st.sampled_from(
                ("encoder_decoder", "encoder_decoder", "local_convolution")
            )
        ),
        "interpolation": draw(
            st.sampled_from(("bilinear", "bilinear_align_corners", "transpose"))
        ),
        "attention": attention,
        "attention_options": attention_options,
        "unit_attention": unit_attention,
        "unit_attention_options": unit_options,
    }


@st.composite
def options(draw):
    """Arguments of `ResidualAttentionNetwork` beside the architecture."""
    sizes = st.sampled_from((32, 33, 40))
    classes = draw(st.integers(1, 5))
    data_format = draw(st.sampled_from((None, *LAYOUTS)))
    layout = data_format or keras.config.image_data_format()
    shape = (draw(sizes), draw(sizes))
    known = draw(st.sampled_from((shape, shape, (None, None), (40, None))))
    channels = draw(st.sampled_from((3, 3, 1, 4)))
    names = [f"class {i}" for i in range(classes)]
    include_top = draw(st.sampled_from((True, True, False)))
    return {
        "include_top": include_top,
        "input_shape": _ordered(known, channels, layout),
        "pooling": draw(st.sampled_from((None, "avg", "max"))),
        "classes": classes,
        "classifier_activation": draw(
            st.sampled_from(("softmax", None, "sigmoid"))
        ),
        "name": draw(st.sampled_from((None, "network"))),
        "include_preprocessing": draw(st.booleans()),
        "data_format": data_format,
        "remat": False,
        "class_names": draw(st.sampled_from((None, names))),
    }


def _ordered(size, channels, layout):
    if layout == "channels_first":
        return (channels, *size)
    return (*size, channels)


@profile.cases(1)
@given(st.data())
def test_a_legal_network_works(tmp_path_factory, data):
    policy = data.draw(st.sampled_from(POLICIES))
    layout = data.draw(st.sampled_from(LAYOUTS))
    with profile.globally(policy, layout):
        numbers = data.draw(architectures())
        arguments = data.draw(options())
        folder = tmp_path_factory.mktemp("network")
        outcome = check_legal(numbers, arguments, policy, folder)
    profile.count("architectures", outcome)


def check_legal(numbers, arguments, policy, folder):
    """Builds, predicts, saves and loads."""
    architecture = keras_ratn.Architecture(**numbers)
    try:
        model = keras_ratn.ResidualAttentionNetwork(architecture, **arguments)
    except ValueError as error:
        # A width that the attention does not fit.
        assert numbers["attention"] or numbers["unit_attention"], error
        return "refused"
    images = _images(model, arguments)
    expected = _outputs(model, images)
    _check_outputs(model, expected, arguments)
    model.save(folder / "network.keras")
    with profile.globally("float32", "channels_last"):
        loaded = keras.saving.load_model(folder / "network.keras")
    np.testing.assert_array_equal(_outputs(loaded, images), expected)
    assert keras_ratn.class_names(loaded) == keras_ratn.class_names(model)
    model.save_weights(folder / "network.weights.h5")
    again = keras_ratn.ResidualAttentionNetwork(
        architecture,
        **{**arguments, "weights": str(folder / "network.weights.h5")},
    )
    np.testing.assert_array_equal(_outputs(again, images), expected)
    return "accepted"


def _images(model, arguments):
    shape = [40 if size is None else size for size in model.input_shape[1:]]
    pixels = np.random.default_rng(0).uniform(0, 255, (2, *shape))
    if not arguments["include_preprocessing"]:
        pixels = pixels / 128 - 1
    return pixels.astype("float32")


def _outputs(model, images):
    return keras.ops.convert_to_numpy(model(images, training=False))


def _check_outputs(model, outputs, arguments):
    assert np.isfinite(outputs.astype("float32")).all()
    if arguments["include_top"]:
        assert outputs.shape == (2, arguments["classes"])
        assert outputs.dtype == np.float32
        if arguments["classifier_activation"] == "softmax":
            np.testing.assert_allclose(outputs.sum(-1), 1, rtol=1e-5)
    else:
        rank = 4 if arguments["pooling"] is None else 2
        assert outputs.ndim == rank
    for size, known in zip(outputs.shape, model.output_shape):
        assert known in (None, size)
