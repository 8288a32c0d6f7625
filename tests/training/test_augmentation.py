"""Each augmentation does what its definition says, by measured shares.

Distributions are compared by SciPy's tests; the seeds are fixed, so that a
test that passes once passes always.
"""

import colorsys
import math

import keras
import numpy as np
import pytest
from keras import ops
from scipy import stats

from training.augmentation import image_layers
from training.augmentation import mixing_layers
from training.augmentation import RandomCropping
from training.config import AugmentationConfig

IMAGES = np.random.default_rng(0).integers(1, 256, (64, 8, 8, 3)).astype("f4")


@pytest.fixture(params=["channels_last", "channels_first"])
def any_layout(request):
    """Keras's default, of which nothing may depend."""
    keras.config.set_image_data_format(request.param)


def augmented(images, **config):
    """Images after the layers of a config that has nothing but these."""
    config = AugmentationConfig(**{"flip": False, "shift": 0.0, **config})
    x = ops.convert_to_tensor(images)
    for layer in image_layers(config, 5):
        x = layer(x, training=True)
    return ops.convert_to_numpy(x)


def assert_distributed(values, distribution):
    """Kolmogorov's and Smirnov's test."""
    assert stats.kstest(values, distribution.cdf).pvalue > 0.001


def uniform(low, high):
    return stats.uniform(low, high - low)


def test_half_of_the_images_are_mirrored(any_layout):
    images = np.tile(IMAGES[:1], (2000, 1, 1, 1))
    found = augmented(images, flip=True)
    kept = (found == images).all(axis=(1, 2, 3))
    mirrored = (found == images[:, :, ::-1]).all(axis=(1, 2, 3))
    assert (kept ^ mirrored).all()
    assert stats.binomtest(int(mirrored.sum()), 2000, 0.5).pvalue > 0.001


def test_all_shifts_are_as_frequent(any_layout):
    images = np.zeros((4000, 16, 16, 1), "f4")
    images[:, 8, 8] = 255
    found = augmented(images, shift=0.125)  # of 16 pixels: by up to 2
    places = found.reshape(len(found), -1).argmax(axis=1)
    assert (found.max(axis=(1, 2, 3)) == 255).all()
    counts = np.bincount(places, minlength=256).reshape(16, 16)
    counts = counts[6:11, 6:11]  # 5 rows times 5 columns
    assert counts.sum() == 4000
    assert stats.chisquare(counts.ravel()).pvalue > 0.001


@pytest.mark.parametrize("min_area", [0.08, 0.9])
def test_areas_are_even_and_aspects_within_their_bounds(min_area, any_layout):
    ramps = np.stack(np.meshgrid(*[np.arange(32.0)] * 2, indexing="ij"), -1)
    images = np.tile(ramps.astype("f4"), (2000, 1, 1, 1))
    found = augmented(images, min_area=min_area).astype("f8")
    # What a pixel's way to the next one is in the image.
    height = (found[:, 24, 16, 0] - found[:, 8, 16, 0]) / 16
    width = (found[:, 16, 24, 1] - found[:, 16, 8, 1]) / 16
    assert max(height.max(), width.max()) < 1.001
    area, aspect = height * width, np.log(width / height)
    assert area.min() > min_area - 0.001
    assert_distributed(area, uniform(min_area, 1))
    # As wide or high as fits.
    bound = np.minimum(math.log(4 / 3), -np.log(np.minimum(area, 0.9999)))
    assert (np.abs(aspect) < bound + 0.001).all()
    chosen = area < 0.99
    shares = aspect[chosen] / bound[chosen]
    assert_distributed(shares, uniform(-1, 1))
    # And anywhere: half-pixel centres, new pixel 16 is at start + 16.5 share.
    start = (found[:, 16, 16, 0] + 0.5 - 16.5 * height) / 32
    chosen = height < 0.9
    shares = start[chosen] / (1 - height[chosen])
    if chosen.sum() > 100:
        assert_distributed(shares, uniform(0, 1))


COLOR = 0.2


def colored(*pixels):
    """One image of these pixels, side by side, augmented a thousand times."""
    images = np.tile(np.array(pixels, "f4"), (1000, 2, 1, 1))
    return augmented(images, color=COLOR).astype("f8")


def test_brightness_changes_by_that_share_of_the_range(any_layout):
    change = colored([128] * 3)[:, 0, 0, 0] - 128
    assert_distributed(change / 255, uniform(-COLOR, COLOR))


def test_contrast_rises_as_often_as_it_falls(any_layout):
    found = colored([118] * 3, [138] * 3)[:, 0, :, 0]
    factor = (found[:, 1] - found[:, 0]) / 20
    assert_distributed(factor, uniform(1 - COLOR, 1 + COLOR))


def test_saturation_rises_as_often_as_it_falls(any_layout):
    found = colored([140, 120, 110])[:, 0, 0]
    # max - min is saturation times max, and brightness moves both.
    factor = (found.max(axis=1) - found.min(axis=1)) / 30
    assert_distributed(
        factor / (1 + factor), uniform(0.5 - COLOR / 4, 0.5 + COLOR / 4)
    )


def test_saturated_colors_keep_hue_and_value():
    (layer,) = [
        layer
        for layer in image_layers(AugmentationConfig(color=1.0), 1)
        if isinstance(layer, keras.layers.RandomSaturation)
    ]
    images = np.tile(np.array([200, 50, 0], "f4"), (100, 1, 1, 1))
    found = ops.convert_to_numpy(layer(images, training=True))[:, 0, 0]
    full = found[:, 2] < 0.01
    assert 30 < full.sum() < 70
    np.testing.assert_allclose(found[full], images[full, 0, 0], atol=0.01)


def test_hue_turns_both_ways(any_layout):
    pixel = [140, 120, 110]
    found = colored(pixel)[:, 0, 0] / 255
    before = colorsys.rgb_to_hsv(*pixel)[0]
    after = np.array([colorsys.rgb_to_hsv(*p)[0] for p in found])
    turn = (after - before + 0.5) % 1 - 0.5
    assert_distributed(turn, uniform(-COLOR / 20, COLOR / 20))


@pytest.mark.parametrize("share", [0.25, 0.5, 1.0])
def test_that_share_of_the_images_is_erased(share, any_layout):
    images = np.full((2000, 32, 32, 1), 128, "f4")
    changed = (augmented(images, cutout=share) != images)[..., 0]
    erased = changed.any(axis=(1, 2))
    assert stats.binomtest(int(erased.sum()), 2000, share).pvalue > 0.001
    # A whole rectangle, of 2 to 33 % of the image up to one pixel more.
    rows, columns = changed[erased].any(axis=2), changed[erased].any(axis=1)
    height, width = rows.sum(axis=1), columns.sum(axis=1)
    assert (changed[erased].sum(axis=(1, 2)) == height * width).all()
    for side in (height, width):
        assert side.min() >= math.floor(math.sqrt(0.02) * 32)
        assert side.max() <= math.ceil(math.sqrt(0.33) * 32)


def mixed(layer, images):
    """Images and labels after mixing; each image is a class of its own."""
    labels = np.eye(len(images), dtype="f4")
    inputs = {"images": images, "labels": labels}
    found = layer(inputs, training=True)
    return [ops.convert_to_numpy(found[key]) for key in ("images", "labels")]


def own_shares(labels):
    """What images kept of themselves, without those mixed with themselves."""
    shares = np.diagonal(labels)
    return shares[(labels > 0).sum(axis=1) == 2]


@pytest.mark.parametrize("alpha", [0.2, 1.0])
def test_mixup_mixes_by_its_beta_distribution(alpha, any_layout):
    (layer,) = mixing_layers(AugmentationConfig(mixup=alpha), 3)
    # Each image has a pixel of its own.
    images = np.eye(1024, dtype="f4").reshape(1024, 32, 32, 1)
    found, labels = mixed(layer, images)
    np.testing.assert_allclose(found.reshape(labels.shape), labels, atol=1e-6)
    shares = own_shares(labels)
    assert len(shares) > 850  # of some, float32 keeps nothing
    assert_distributed(shares, stats.beta(alpha, alpha))


def test_cutmix_mixes_by_beta_1_1(any_layout):
    (layer,) = mixing_layers(AugmentationConfig(cutmix=True), 3)
    images = np.zeros((512, 32, 32, 1), "f4")
    images += np.arange(512, dtype="f4")[:, None, None, None]
    shares, differences = [], []
    for _ in range(4):  # batches
        found, labels = mixed(layer, images)
        shares += list(np.diagonal(labels))
        pixels = (found == images).mean(axis=(1, 2, 3))
        differences += list(pixels - np.diagonal(labels))
    # Keras's label knows the patch's sides more finely than the pixels do.
    assert np.abs(differences).max() < 65 / 1024
    assert np.abs(np.mean(differences)) < 5e-3
    assert_distributed(shares, uniform(0, 1))


@pytest.mark.parametrize(
    "border, mode", [("black", "constant"), ("reflect", "reflect")]
)
def test_a_shift_is_pad_and_crop(border, mode):
    shifted = ops.convert_to_numpy(
        RandomCropping(shift=0.25, border=border, seed=1)(IMAGES, training=True)
    )
    padded = np.pad(IMAGES, ((0, 0), (2, 2), (2, 2), (0, 0)), mode)
    offsets = set()
    for image, source in zip(shifted, padded):
        found = [
            (top, left)
            for top in range(5)
            for left in range(5)
            if np.array_equal(image, source[top : top + 8, left : left + 8])
        ]
        assert len(found) == 1
        offsets.update(found)
    # Each image has an offset of its own.
    assert len(offsets) > 15


def test_a_crop_of_a_ramp_is_a_ramp_within_the_image():
    ramp = np.tile(np.arange(16, dtype="f4")[:, None], (32, 1, 16))[..., None]
    crop = ops.convert_to_numpy(
        RandomCropping(min_area=0.25, seed=1)(ramp, training=True)
    )
    assert crop.min() >= 0 and crop.max() <= 15
    steps = np.diff(crop[:, 4:12, 0, 0], axis=1)
    np.testing.assert_allclose(steps, np.tile(steps[:, :1], 7), atol=1e-4)
    # Half the side or more (times an aspect ratio), never enlarged.
    assert steps.min() > 0.4 and steps.max() <= 1.001
    assert steps.std() > 0.05


def test_nothing_happens_outside_training():
    layer = RandomCropping(shift=0.5, min_area=0.1)
    np.testing.assert_array_equal(layer(IMAGES), IMAGES)


def test_config_decides_which_layers_there_are():
    off = AugmentationConfig(flip=False, shift=0.0)
    assert image_layers(off, 1) == []
    assert mixing_layers(off, 1) == []
    turns = AugmentationConfig(shift=0.0, alternate_flip=True)
    assert image_layers(turns, 1) == []
    on = AugmentationConfig(color=0.5, cutout=0.5, mixup=0.2, cutmix=True)
    names = [type(x).__name__ for x in image_layers(on, 1)]
    assert names == [
        "RandomCropping",
        "RandomFlip",
        "RandomBrightness",
        "RandomContrast",
        "RandomSaturation",
        "RandomHue",
        "RandomErasing",
    ]
    assert [type(x).__name__ for x in mixing_layers(on, 1)] == [
        "MixUp",
        "CutMix",
    ]


@pytest.mark.parametrize(
    "layer",
    image_layers(AugmentationConfig(color=0.5, cutout=0.9, min_area=0.3), 7),
    ids=lambda layer: type(layer).__name__,
)
def test_layers_compile_and_keep_pixels_in_range(layer):
    """Layers that do not compile switch XLA off for the whole model."""
    assert layer.supports_jit
    model = keras.Sequential([keras.Input((8, 8, 3)), layer])
    model.compile("sgd", "mse", jit_compile=keras.backend.backend() != "torch")
    model.train_on_batch(IMAGES, IMAGES)
    out = ops.convert_to_numpy(layer(IMAGES, training=True))
    assert not np.array_equal(out, IMAGES)
    assert out.min() >= -1e-3 and out.max() <= 255.001


def test_mixed_labels_keep_their_sum():
    labels = np.eye(4, dtype="f4")[np.arange(64) % 4]
    for layer in mixing_layers(AugmentationConfig(mixup=1.0, cutmix=True), 3):
        mixed = layer({"images": IMAGES, "labels": labels}, training=True)
        mixed = ops.convert_to_numpy(mixed["labels"])
        np.testing.assert_allclose(mixed.sum(1), 1, atol=1e-5)
        assert (mixed.max(1) < 0.999).any()


def test_the_seed_reproduces_what_happens():
    config = AugmentationConfig(color=0.5)

    def run(seed):
        x = IMAGES
        for layer in image_layers(config, seed):
            x = layer(x, training=True)
        return ops.convert_to_numpy(x)

    np.testing.assert_array_equal(run(1), run(1))
    assert not np.array_equal(run(1), run(2))
