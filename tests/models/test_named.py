"""Builders that are a row and a sentence are whole functions all the same."""

import inspect
import pickle

import keras
import pytest

import keras_ratn
from keras_ratn.models import named
from keras_ratn.models.architecture import SMALL_VARIANTS


def build(row, units: int = 3, name: str | None = None, *, bias: bool = True):
    """What every builder of rows says first.

    Args:
        units: Integer.
        name: String.
        bias: Boolean.
    """
    inputs = keras.Input((row,))
    outputs = keras.layers.Dense(units, use_bias=bias)(inputs)
    return keras.Model(inputs, outputs, name=name)


@pytest.fixture
def two_wide(monkeypatch):
    monkeypatch.setattr(named, "NETWORKS", {})

    @named.named(build, 2)
    def TwoWide() -> None:
        """A network of two inputs."""

    return TwoWide


def test_a_row_is_built_with_the_builder_s_arguments(two_wide):
    model = two_wide(5, bias=False)
    assert model.input_shape == (None, 2) and model.output_shape == (None, 5)
    assert model.name == "twowide" and len(model.weights) == 1
    assert two_wide(name="other").name == "other"


def test_signature_and_explanation_are_the_builder_s(two_wide):
    assert str(inspect.signature(two_wide)) == (
        "(units: int = 3, name: str | None = 'twowide', *, bias: bool = True)"
        f" -> {inspect.formatannotation(keras.Model)}"
    )
    assert inspect.getdoc(two_wide).splitlines() == [
        "A network of two inputs.",
        "",
        "Args:",
        "    units: Integer.",
        "    name: String.",
        "    bias: Boolean.",
    ]
    assert two_wide.__name__ == "TwoWide" and inspect.isfunction(two_wide)


def test_a_wrong_argument_names_the_network(two_wide):
    with pytest.raises(TypeError, match=r"TwoWide\(\) .*'unit'"):
        two_wide(unit=3)


def test_a_name_is_taken_once(two_wide):
    assert named.NETWORKS["twowide"].build is two_wide
    with pytest.raises(ValueError, match="'TWOWIDE' already"):
        named.enter("TWOWIDE", build)


def test_builders_travel_to_other_processes():
    builder = pickle.loads(pickle.dumps(keras_ratn.CifarAttention56))
    assert builder is keras_ratn.CifarAttention56


@pytest.mark.parametrize("name", [*SMALL_VARIANTS, "CifarResNet18"])
def test_small_networks_are_names_like_any_other(name):
    model = keras_ratn.create_model(name, classes=3)
    assert model.name == name.lower()
    assert model.output_shape == (None, 3)
