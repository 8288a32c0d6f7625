import keras
import numpy as np
import pytest
from keras import ops

from training.augmentation import image_layers
from training.augmentation import mixing_layers
from training.augmentation import RandomCropping
from training.config import AugmentationConfig

IMAGES = np.random.default_rng(0).integers(1, 256, (64, 8, 8, 3)).astype("f4")


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
        "RandomColorJitter",
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

    def augmented(seed):
        x = IMAGES
        for layer in image_layers(config, seed):
            x = layer(x, training=True)
        return ops.convert_to_numpy(x)

    np.testing.assert_array_equal(augmented(1), augmented(1))
    assert not np.array_equal(augmented(1), augmented(2))
