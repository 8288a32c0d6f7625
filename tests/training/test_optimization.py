import dataclasses

import keras
import numpy as np
import pytest
from training_runs import smallest

from keras_ratn.models.eamlp import EAMLPArchitecture
from keras_ratn.models.rest import ResTArchitecture
from training import configs
from training.config import Experiment
from training.config import OptimizerConfig
from training.errors import RunError
from training.networks import build_network
from training.optimization import build_optimizer
from training.optimization import check_optimizer
from training.optimization import learning_rate
from training.optimization import learning_rate_factors
from training.optimization import schedule


def test_the_paper_s_schedule():
    config, _ = configs.load("cifar10")
    rate = schedule(config, 781)
    values = [float(rate(step)) for step in (0, 64_000, 64_050, 96_100)]
    np.testing.assert_allclose(values, [0.1, 0.1, 0.01, 0.001], rtol=1e-5)


def test_warm_up_and_cosine():
    config = dataclasses.replace(
        smallest(epochs=10),
        batch_size=64,
        optimizer=OptimizerConfig(schedule="cosine", warmup_epochs=2),
    )
    rate = schedule(config, 100)
    values = [float(rate(step)) for step in (0, 100, 200, 600, 1000)]
    np.testing.assert_allclose(values, [0, 0.05, 0.1, 0.05, 0], atol=1e-6)


def test_the_rate_follows_the_images_of_an_update():
    config = smallest(batch_size=128)
    assert learning_rate(config) == pytest.approx(0.2)
    runtime = dataclasses.replace(config.runtime, accumulation=2)
    config = dataclasses.replace(config, runtime=runtime)
    assert learning_rate(config) == pytest.approx(0.4)


def test_weight_decay_is_the_l2_penalty_of_the_papers():
    """Against the update written out, with a gradient of zero."""
    config = smallest(
        batch_size=64,
        optimizer=OptimizerConfig(schedule="constant", weight_decay=0.001),
    )
    optimizer = build_optimizer(config, 1)
    kernel = keras.Variable([1.0], name="kernel")
    gamma = keras.Variable([1.0], name="gamma")
    optimizer.build([kernel, gamma])
    weight, velocity = 1.0, 0.0
    weights, kernels = [], []
    for _ in range(200):
        optimizer.apply([keras.ops.zeros(1)] * 2)
        velocity = 0.9 * velocity + 0.1 * 0.001 * weight
        weight -= velocity
        weights.append(weight)
        kernels.append(float(keras.ops.convert_to_numpy(kernel)[0]))
    assert float(keras.ops.convert_to_numpy(gamma)[0]) == 1.0
    # The same rate, once the velocity has built up (to first order: 0.001 a
    # step, so 1 %). Without the factor it would be a tenth.
    rate = np.log(kernels[199] / kernels[99])
    assert rate == pytest.approx(np.log(weights[199] / weights[99]), rel=0.03)
    assert rate == pytest.approx(-0.1, rel=0.03)


@pytest.mark.parametrize("accumulation", [1, 4])
def test_the_average_moves_once_an_update(accumulation):
    """Of a weight that falls by 1 an update it lags m / (1 - m) behind."""
    config = smallest(
        batch_size=64,
        optimizer=OptimizerConfig(
            schedule="constant", momentum=0.0, weight_decay=0.0, ema=0.5
        ),
        runtime=dataclasses.replace(
            smallest().runtime, accumulation=accumulation
        ),
    )
    optimizer = build_optimizer(config, 1)
    weight = keras.Variable([0.0])
    optimizer.build([weight])
    rate = learning_rate(config)
    for _ in range(12 * accumulation):
        optimizer.apply([keras.ops.ones(1) / rate])
    last = float(keras.ops.convert_to_numpy(weight)[0])
    assert last == pytest.approx(-12)
    optimizer.finalize_variable_values([weight])
    lag = float(keras.ops.convert_to_numpy(weight)[0]) - last
    # Between the updates it moves in parts, the last of them to come.
    assert 1 <= lag + 1e-2 and lag <= 2


@pytest.mark.parametrize("warmup", [0, 2])
def test_linear_rise_and_fall(warmup):
    config = dataclasses.replace(
        smallest(epochs=10),
        batch_size=64,
        optimizer=OptimizerConfig(schedule="linear", warmup_epochs=warmup),
    )
    rate = schedule(config, 100)
    found = [float(rate(step)) for step in range(1000)]
    assert max(found) == pytest.approx(0.1)
    rise, fall = np.diff(found[: 100 * warmup]), np.diff(found[100 * warmup :])
    np.testing.assert_allclose(rise, 0.1 / 200, rtol=0.01)
    np.testing.assert_allclose(fall, -0.1 / (1000 - 100 * warmup), rtol=0.01)
    # No step is lost to a rate of 0, and the one after the last would be 0.
    assert min(found) > 0
    assert float(rate(1000)) == 0


def updates(momentum=0.9, name="sgd", **options):
    """What a step changes in each variable, and the factors."""
    keras.utils.set_random_seed(0)
    optimizer = OptimizerConfig(
        name,
        schedule="constant",
        learning_rate=100.0,  # so that rounding does not count
        momentum=momentum,
        weight_decay=0.0,
        **options,
    )
    config = smallest(optimizer=optimizer, batch_size=64)
    network = build_network(config, ["a", "b"])
    factors = learning_rate_factors(config, network)
    weights = network.trainable_variables
    before = [keras.ops.convert_to_numpy(v).copy() for v in weights]
    random = np.random.default_rng(0)
    gradients = [
        keras.ops.convert_to_tensor(random.standard_normal(v.shape), "float32")
        for v in weights
    ]
    build_optimizer(config, 1, factors).apply(gradients, weights)
    after = [keras.ops.convert_to_numpy(v) for v in weights]
    names = [variable.path for variable in weights]
    return names, factors, [b - a for b, a in zip(after, before)]


def assert_scaled(factors, changes, plain):
    for factor, change, whole in zip(factors, changes, plain):
        expected = factor * whole
        atol = 1e-3 * np.abs(expected).max() + 1e-7
        np.testing.assert_allclose(change, expected, rtol=1e-3, atol=atol)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_early_layers_learn_more_slowly(momentum):
    names, factors, slow = updates(momentum, layer_decay=0.1)
    _, none, plain = updates(momentum)
    assert none is None
    expected = {"stem": 1e-3, "stage1": 1e-2, "stage2": 1e-1}
    expected |= {"final": 1, "predictions": 1}
    for part, factor in expected.items():
        (found,) = {f for n, f in zip(names, factors) if part in n}
        assert found == pytest.approx(factor)
    assert_scaled(factors, slow, plain)


@pytest.mark.parametrize("name", ["sgd", "adamw", "muon"])
def test_biases_of_batch_normalization_learn_faster(name):
    """By the rate: Adam divides a gradient's factor out again."""
    names, factors, fast = updates(0.9, name, bias_factor=64)
    _, _, plain = updates(0.9, name)
    biases = [n for n in names if "bn" in n and n.endswith("beta")]
    assert biases
    assert [n for n, f in zip(names, factors) if f == 64] == biases
    assert set(factors) == {1, 64}
    assert_scaled(factors, fast, plain)


def test_both_factors_are_multiplied():
    names, factors, _ = updates(layer_decay=0.5, bias_factor=64)
    found = dict(zip(names, factors))
    (bias,) = (f for n, f in found.items() if n.endswith("final_bn/beta"))
    assert bias == 64
    assert {f for n, f in found.items() if "stage2" in n} == {0.5, 32}


def test_muon_is_refused_where_it_has_nothing_to_do():
    config = smallest(optimizer=OptimizerConfig("muon"))
    check_optimizer(config, build_network(config, ["a", "b"]))
    config = dataclasses.replace(config, freeze_until="predictions")
    network = build_network(config, ["a", "b"])
    with pytest.raises(RunError, match="has none that learn"):
        check_optimizer(config, network)
    check_optimizer(
        dataclasses.replace(config, optimizer=OptimizerConfig("sgd")), network
    )


REST = ResTArchitecture((8, 16, 24, 32), (1, 1, 1, 1))
EAMLP = EAMLPArchitecture(16, 2, 2, 2, token_width=8)


@pytest.mark.parametrize(
    "architecture, parts",
    [
        (REST, ["stem", "stage1", "stage2", "stage3", "stage4", "predictions"]),
        (EAMLP, ["stem", "block1", "block2", "predictions"]),
    ],
    ids=["ResT", "EAMLP"],
)
def test_each_part_is_slower_than_the_next_once(architecture, parts):
    """However many layers the stem is made of."""
    inputs = keras.Input((32, 32, 3))
    x = architecture.features(inputs, "channels_last")
    x = keras.layers.Flatten()(x)
    x = keras.layers.Dense(2, name="predictions")(x)
    network = keras.Model(inputs, x)
    optimizer = OptimizerConfig(layer_decay=0.1)
    factors = learning_rate_factors(smallest(optimizer=optimizer), network)
    expected = []
    for variable in network.trainable_variables:
        begin = variable.path.partition("_")[0].partition("/")[0]
        begin = {"final": "predictions"}.get(begin, begin)
        # What is in no stage or block comes before all of them.
        index = parts.index(begin) if begin in parts else 0
        expected.append(0.1 ** (len(parts) - 1 - index))
    assert len({round(np.log10(e)) for e in expected}) == len(parts)
    np.testing.assert_allclose(factors, expected)


@pytest.mark.parametrize("name", configs.NAMES)
def test_every_config_survives_json_and_says_its_command(name):
    config, docstring = configs.load(name)
    assert Experiment.from_dict(config.to_dict()) == config
    assert f"ratn train {name}" in docstring


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"epochs": 0}, "`epochs` must be at least 1. Received: epochs=0"),
        (
            {"optimizer": OptimizerConfig(step_at=(0.5, 0.4))},
            "`optimizer.step_at` must be rising",
        ),
        (
            {"optimizer": OptimizerConfig(warmup_epochs=1)},
            "goes with the schedules cosine and linear only",
        ),
        (
            {"optimizer": OptimizerConfig(schedule="cosine", warmup_epochs=2)},
            "must be fewer than `epochs`",
        ),
        (
            {"optimizer": OptimizerConfig(bias_factor=0)},
            "`optimizer.bias_factor` must be more than 0",
        ),
        (
            {"data": configs.load("cifar10")[0].data.__class__("npz")},
            "`data.location` is needed with source 'npz'",
        ),
    ],
)
def test_configs_that_cannot_be(changes, message):
    with pytest.raises(ValueError, match=message):
        smallest(**changes)
