import keras
import numpy as np
import pytest

import keras_ratn
from keras_ratn import Architecture
from keras_ratn import ResidualAttentionNetwork

TINY = Architecture(
    stem="cifar",
    stem_filters=4,
    stage_filters=(8, 16),
    num_modules=(1, 2),
    mask_depths=(1, 1),
    num_trunk_units=1,
    num_tail_units=0,
)
MODULES = ["stage1_attention1", "stage2_attention1", "stage2_attention2"]
IMAGES = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), "uint8")


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    return ResidualAttentionNetwork(TINY)


def test_masks_of_every_module(model):
    masks = keras_ratn.attention_masks(model, IMAGES)
    assert list(masks) == MODULES
    assert masks["stage1_attention1"].shape == (3, 32, 32, 8)
    assert masks["stage2_attention2"].shape == (3, 16, 16, 16)
    assert all(0 <= mask.min() and mask.max() <= 1 for mask in masks.values())


def test_masks_are_those_that_the_module_returns(model):
    module = model.get_layer("stage1_attention1")
    features = keras.Model(model.inputs, module.input)
    _, expected = module(features(IMAGES), return_attention_mask=True)
    masks = keras_ratn.attention_masks(model, IMAGES)
    np.testing.assert_allclose(
        masks["stage1_attention1"],
        keras.ops.convert_to_numpy(expected),
        atol=1e-5,
    )


def test_the_model_is_not_altered(model):
    before = model.predict(IMAGES, verbose=0)
    config = model.get_config()
    for _ in range(2):
        keras_ratn.attention_masks(model, IMAGES)
    assert model.get_config() == config
    np.testing.assert_array_equal(model.predict(IMAGES, verbose=0), before)


def test_masks_of_a_loaded_and_of_a_nested_model(model, tmp_path):
    masks = keras_ratn.attention_masks(model, IMAGES)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    outer = keras.Sequential(
        [keras.Input((32, 32, 3)), keras.layers.Identity(), model]
    )
    for name, mask in keras_ratn.attention_masks(loaded, IMAGES).items():
        np.testing.assert_allclose(mask, masks[name], atol=1e-6)
    for name, mask in keras_ratn.attention_masks(outer, IMAGES).items():
        inner = name.removeprefix(f"{model.name}/")
        np.testing.assert_allclose(mask, masks[inner], atol=1e-6)


def test_channels_first_masks_come_channels_last(model):
    other = ResidualAttentionNetwork(
        TINY, data_format="channels_first", input_shape=(3, 32, 32)
    )
    other.set_weights(model.get_weights())
    masks = keras_ratn.attention_masks(other, IMAGES.transpose(0, 3, 1, 2))
    for name, mask in keras_ratn.attention_masks(model, IMAGES).items():
        np.testing.assert_allclose(masks[name], mask, atol=1e-4)


def test_overlay_by_hand():
    images = np.zeros((1, 2, 2, 1))
    masks = np.array([[0.2, 0.2], [0.2, 0.8]]).reshape(1, 2, 2, 1)
    overlay = keras_ratn.overlay_masks(images, masks, alpha=1.0)
    assert overlay.dtype == "uint8"
    assert overlay[0, 0, 0].tolist() == [0, 0, 128]  # lowest: dark blue
    assert overlay[0, 1, 1].tolist() == [200, 0, 0]  # highest: red
    half = keras_ratn.overlay_masks(images + 100, masks, alpha=0.5)
    assert half[0, 1, 1].tolist() == [150, 50, 50]


@pytest.mark.parametrize(
    ("images", "masks", "alpha", "words"),
    [
        (np.zeros((2, 2, 3)), np.zeros((1, 2, 2, 1)), 0.5, "`images` must"),
        (np.zeros((1, 2, 2, 3)), np.zeros((2, 2, 2, 1)), 0.5, "`masks` must"),
        (np.zeros((1, 2, 2, 3)), np.zeros((1, 2, 2, 1)), 2, "`alpha` must"),
    ],
)
def test_wrong_overlays_are_explained(images, masks, alpha, words):
    with pytest.raises(ValueError, match=words):
        keras_ratn.overlay_masks(images, masks, alpha)


def test_figure_shows_the_last_module_of_each_stage(model, tmp_path):
    path = tmp_path / "attention.png"
    figure = keras_ratn.plot_attention(model, IMAGES[:1], path=path)
    assert len(figure.axes) == 2 * 4
    titles = [axis.get_title() for axis in figure.axes[:4]]
    assert titles == ["image", "feature before", "mask", "feature after"]
    assert path.read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ValueError, match="`modules` must be one of"):
        keras_ratn.plot_attention(model, IMAGES[:1], modules=["stage9"])


def test_figure_of_nested_models_shows_each_ones_stages(model):
    inner = keras.Model(model.inputs, model.output, name="my_inner_net")
    images = keras.Input((32, 32, 3))
    outer = keras.Model(images, inner(images))
    figure = keras_ratn.plot_attention(outer, IMAGES[:1])
    labels = [axis.get_ylabel() for axis in figure.axes[::4]]
    assert labels == [
        "my\ninner\nnet/stage1\nattention1",
        "my\ninner\nnet/stage2\nattention2",
    ]


def _picture(model, images):
    """The first picture of the figure."""
    figure = keras_ratn.plot_attention(model, images)
    return np.asarray(figure.axes[0].images[0].get_array())


def _gated(*before, data_format):
    gate = keras_ratn.layers.SqueezeExcite(1, data_format=data_format)
    return keras.Sequential([*before, gate])


@pytest.mark.parametrize(
    ("shape", "dims", "data_format"),
    [
        ((3, 6, 5), (2, 3, 1), "channels_last"),
        ((6, 5, 3), (3, 1, 2), "channels_first"),
        ((6, 5, 3), (2, 1, 3), "channels_last"),
    ],
)
def test_figure_shows_images_as_they_were_before_a_permute(
    shape, dims, data_format
):
    images = np.arange(90, dtype="float32").reshape(1, *shape)
    expected = images.transpose(0, 2, 3, 1) if shape[0] == 3 else images
    model = _gated(
        keras.Input(shape), keras.layers.Permute(dims), data_format=data_format
    )
    np.testing.assert_array_equal(_picture(model, images), expected[0])


@pytest.mark.parametrize("channels", [1, 3])
def test_figure_shows_preprocessed_images(channels):
    model = _gated(keras.Input((6, 5, channels)), data_format="channels_last")
    pixels = np.arange(30.0).reshape(1, 6, 5, 1).repeat(channels, axis=-1)
    for low, high in ((-1, 1), (0, 1), (-2.2, 2.64), (-128, 127)):
        scaled = low + (high - low) * pixels / 29
        picture = _picture(model, scaled)
        assert (picture.min(), picture.max()) == (0, 255)
        assert np.all(np.diff(picture[:, 0], axis=0) > 40)
    assert _picture(model, pixels).max() == 29
    assert _picture(model, 0 * pixels).max() == 0


def test_a_model_without_masks_is_explained():
    inputs = keras.Input((4, 4, 3))
    plain = keras.Model(inputs, keras.layers.ReLU()(inputs))
    with pytest.raises(ValueError, match="holds no AttentionModule"):
        keras_ratn.attention_masks(plain, np.zeros((1, 4, 4, 3)))
    with pytest.raises(ValueError, match="needs a network of this package"):
        keras_ratn.response_profile(plain, np.zeros((1, 4, 4, 3)))
    with pytest.raises(ValueError, match="needs a network of this package"):
        keras_ratn.feature_pyramid(plain)


def test_response_profile_by_hand(model):
    profile = keras_ratn.response_profile(
        model, IMAGES, batch_size=2, relative=False
    )
    assert list(profile) == [
        "stage1_unit",
        "stage1_attention1",
        "stage2_unit",
        "stage2_attention1",
        "stage2_attention2",
    ]
    features = keras.Model(
        model.inputs, model.get_layer("stage2_unit").output
    ).predict(IMAGES, verbose=0)
    assert profile["stage2_unit"] == pytest.approx(
        np.abs(features).mean(), rel=1e-4
    )
    batches = [(IMAGES[:2], None), (IMAGES[2:], None)]
    relative = keras_ratn.response_profile(model, batches)
    largest = max(profile.values())
    for name, value in relative.items():
        assert value == pytest.approx(profile[name] / largest, rel=1e-4)
    with pytest.raises(ValueError, match="at least one image"):
        keras_ratn.response_profile(model, [])


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_response_profile_sums_in_double_precision(dtype):
    inputs = keras.Input((1, 1, 1), dtype=dtype)
    layer = keras.layers.Identity(dtype=dtype, name="stage1_unit")
    model = keras.Model(inputs, layer(inputs))
    data = np.full((300, 1, 1, 1), 1000.0, "float32")
    profile = keras_ratn.response_profile(model, data, 300, relative=False)
    assert profile == {"stage1_unit": 1000.0}


def test_feature_pyramid_levels():
    model = ResidualAttentionNetwork(
        Architecture(
            stem_filters=4,
            stage_filters=(8, 8, 8),
            num_modules=(0, 0, 0),
            tail_filters=8,
            num_tail_units=1,
        ),
        input_shape=(64, 96, 3),
        include_top=False,
    )
    pyramid = keras_ratn.feature_pyramid(model)
    assert {k: t.shape[1:3] for k, t in pyramid.items()} == {
        "P2": (16, 24),
        "P3": (8, 12),
        "P4": (4, 6),
        "P5": (2, 3),
    }
    assert pyramid["P5"] is model.output
    features = keras.Model(model.inputs, pyramid)
    assert features(np.zeros((1, 64, 96, 3)))["P3"].shape == (1, 8, 12, 8)


SMALLEST = Architecture(
    stem_filters=4,
    stage_filters=(64, 8),
    num_modules=(0, 0),
    mask_depths=(1, 1),
    num_tail_units=0,
)


def test_feature_pyramid_counts_from_the_image_that_the_stem_sees():
    images = keras.Input((80, 96, 3))
    model = ResidualAttentionNetwork(
        SMALLEST, input_tensor=keras.layers.CenterCrop(64, 64)(images)
    )
    assert list(keras_ratn.feature_pyramid(model)) == ["P2", "P3"]


def test_feature_pyramid_does_not_take_channels_for_sizes():
    # Stage 1 is (64, 64, 16): as many channels as rows divided by one.
    model = ResidualAttentionNetwork(
        SMALLEST, input_shape=(3, 256, 64), data_format="channels_first"
    )
    pyramid = keras_ratn.feature_pyramid(model)
    assert {k: t.shape[1:] for k, t in pyramid.items()} == {
        "P2": (64, 64, 16),
        "P3": (8, 32, 8),
    }


def test_feature_pyramid_of_unknown_steps_is_refused():
    images = keras.Input((64, 64, 3))
    x = keras.layers.Conv2D(4, 3, strides=3, name="stem")(images)
    x = keras.layers.Conv2D(4, 3, name="stage1_conv")(x)
    with pytest.raises(ValueError, match=r"Received: features of \[19, 19\]"):
        keras_ratn.feature_pyramid(keras.Model(images, x))
