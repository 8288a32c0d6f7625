import dataclasses

import keras
import numpy as np
import pytest
from training_runs import smallest

import keras_ratn
from training.errors import RunError
from training.networks import build_network


def test_layers_before_the_named_one_are_frozen():
    config = smallest(model="tiny", freeze_until="stage2")
    network = build_network(config, ["a", "b"])
    trainable = {v.path for v in network.trainable_variables}
    assert any("stage2_unit" in path for path in trainable)
    assert not any("stage1" in path or "stem" in path for path in trainable)
    with pytest.raises(RunError, match="names no layer: 'stage9'"):
        build_network(smallest(freeze_until="stage9"), ["a", "b"])


def test_weights_of_other_classes_give_all_but_the_head(tmp_path):
    path = str(tmp_path / "ten.weights.h5")
    ten = build_network(smallest(), [str(i) for i in range(10)])
    ten.save_weights(path)
    two = build_network(smallest(init=path), ["a", "b"])
    weights = ten.get_weights()
    for index, value in enumerate(two.get_weights()[:-2]):
        np.testing.assert_array_equal(value, weights[index])
    assert two.get_layer("predictions").class_names == ["a", "b"]


def test_choices_of_the_config_reach_the_network():
    config = smallest(attention_learning="naive", mask_activation="spatial")
    module = build_network(config, ["a", "b"]).get_layer("stage2_attention1")
    assert module.attention_learning == "naive"
    assert module.mask_activation == "spatial"
    remat = dataclasses.replace(config.runtime, remat=True)
    network = build_network(dataclasses.replace(config, runtime=remat), "ab")
    assert network.get_layer("stage2_attention1").remat
    assert isinstance(network, keras.Model)


def test_attention_of_the_config_reaches_the_network():
    network = build_network(smallest(attention="eca"), ["a", "b"])
    assert isinstance(
        network.get_layer("stage2_attention1"),
        keras_ratn.layers.EfficientChannelAttention,
    )
    trunk = build_network(smallest(attention="none"), ["a", "b"])
    assert "stage2_attention1" not in [layer.name for layer in trunk.layers]
    assert trunk.count_params() == network.count_params() - 3


def test_networks_of_the_attention_family():
    config = smallest(model="CifarResNet18", attention="eca")
    network = build_network(config, ["a", "b"])
    assert network.name == "cifarresnet18"
    assert network.output_shape == (None, 2)
    attention = network.get_layer("stage4_block2_attention")
    assert attention.output.shape == (None, 4, 4, 512)
    for changes, words in (
        ({"mask_activation": "spatial"}, "no choice of mask_activation"),
        ({"model": "restlite"}, "'restlite' has no choice of attention"),
        ({"model": "danet50"}, "no network 'danet50'"),
    ):
        with pytest.raises(RunError, match=words):
            build_network(dataclasses.replace(config, **changes), ["a", "b"])
