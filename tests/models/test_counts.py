"""Every network's numbers, pinned: parameters, MACs and depth."""

import math

import keras
import pytest
from network_lists import BUILDERS

import keras_ratn
from keras_ratn.models.architecture import VARIANTS

# name: trainable parameters, MACs at the default size, depth in the name.
# `shared/reference` gives the numbers of all but AttentionNeXt92 and the two
# Inception networks, which follow from the same rule or are reconstructions.
NUMBERS = {
    "Attention56": (31_810_728, 6_270_836_736, 56),
    "Attention92": (52_466_344, 10_533_789_696, 92),
    "Attention128": (65_294_504, 14_899_101_696, 128),
    "Attention164": (78_122_664, 19_264_413_696, 164),
    "Attention236": (103_778_984, 27_995_037_696, 236),
    "Attention452": (192_137_896, 48_316_719_104, 452),
    "AttentionNeXt56": (31_318_824, 6_419_106_816, 56),
    "AttentionNeXt92": (52_102_952, 10_704_337_920, 92),
    "AttentionInception56": (31_951_976, 6_300_039_168, 56),
    "AttentionInception92": (52_836_840, 10_607_548_416, 92),
    "CifarAttention56": (1_030_362, 122_825_216, 56),
    "CifarAttention92": (1_841_242, 211_913_216, 92),
    "CifarAttention128": (2_652_122, 301_001_216, 128),
    "CifarAttention164": (3_463_002, 390_089_216, 164),
    "CifarAttention236": (5_084_762, 568_265_216, 236),
    "CifarAttention452": (10_181_210, 984_386_048, 452),
}
SLOW_TO_BUILD = 128  # layers


def _named(names):
    return [
        pytest.param(
            name,
            marks=pytest.mark.slow if NUMBERS[name][2] >= SLOW_TO_BUILD else (),
        )
        for name in names
    ]


def test_every_builder_is_pinned():
    assert sorted(NUMBERS) == sorted(BUILDERS)
    assert sorted(VARIANTS) == sorted(name.lower() for name in BUILDERS)


@pytest.mark.parametrize("name", sorted(NUMBERS))
def test_depth_equals_the_name(name):
    assert VARIANTS[name.lower()].depth == NUMBERS[name][2]
    assert name.endswith(str(NUMBERS[name][2]))


@pytest.mark.parametrize("name", _named(NUMBERS))
def test_parameters_and_macs(name):
    parameters, macs, depth = NUMBERS[name]
    model = BUILDERS[name]()
    trainable = sum(math.prod(v.shape) for v in model.trainable_variables)
    assert trainable == parameters
    assert keras_ratn.count_macs(model) == macs
    if "Inception" not in name:  # its longest branch has one layer more
        assert _weighted_layers_on_the_trunk(model) == depth


def _weighted_layers_on_the_trunk(model):
    """Counts real layers: stem, three of each trunk unit, classifier."""
    count = 0
    for layer in model.layers:
        if isinstance(layer, (keras.layers.Conv2D, keras.layers.Dense)):
            count += 1
        elif isinstance(layer, keras_ratn.layers.AttentionModule):
            units = layer.pre_units + layer.trunk_units + layer.post_units
            count += sum(map(_convolutions, units))
        else:
            count += _convolutions(layer)
    return count


def _convolutions(unit):
    names = ("conv1", "conv2", "conv3")
    return sum(hasattr(unit, name) for name in names)


@pytest.mark.parametrize(
    ("name", "classes", "parameters"),
    [
        ("CifarAttention56", 100, 1_053_492),
        ("CifarAttention92", 100, 1_864_372),
    ],
)
def test_parameters_with_100_classes(name, classes, parameters):
    model = BUILDERS[name](classes=classes)
    trainable = sum(math.prod(v.shape) for v in model.trainable_variables)
    assert trainable == parameters


def test_inception_lands_where_the_paper_says():
    parameters, macs, _ = NUMBERS["AttentionInception56"]
    assert abs(parameters / 31.9e6 - 1) < 0.01
    assert abs(macs / 6.3e9 - 1) < 0.03
