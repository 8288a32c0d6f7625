"""What holds for every network of `keras_ratn.list_models()`."""

import keras
import numpy as np
import pytest
from layer_checks import parts_to_build
from small_networks import kinds
from small_networks import small_network
from tiny_models import forward

SIZE = (40, 48)


def images(seed=0):
    rng = np.random.default_rng(seed)
    return rng.uniform(0, 255, (2, *SIZE, 3)).astype("float32")


@pytest.mark.parametrize("name", kinds())
def test_every_part_is_built_before_the_first_image(name):
    assert not parts_to_build(small_network(name, SIZE))


@pytest.mark.filterwarnings("ignore:Layer .* does not have a `quantize")
@pytest.mark.parametrize("name", ["CifarAttention56", "EANet50"])
def test_keras_quantizes_a_fresh_network(name, tmp_path):
    model = small_network(name, SIZE)
    twin = keras.models.clone_model(model)
    twin.set_weights(model.get_weights())
    expected = forward(twin, images())
    model.quantize("int8")
    actual = forward(model, images())
    np.testing.assert_allclose(actual, expected, atol=0.1 * expected.std())
    model.save(tmp_path / "int8.keras")
    loaded = keras.saving.load_model(tmp_path / "int8.keras")
    np.testing.assert_allclose(forward(loaded, images()), actual, atol=1e-5)


@pytest.mark.parametrize(
    "shape",
    [
        32,
        "32",
        "323",
        3.5,
        (32.0, 32.0, 3),
        ("32", "32", "3"),
        (True, True, True),
        (32, 32),
        (1, 32, 32, 3),
        (-32, 32, 3),
        (0, 32, 3),
        (32, 32, 0),
        (32, 32, -1),
        (32, 32, None),
        (None, None, None),
        (),
        [[32, 32, 3]],
    ],
    ids=str,
)
@pytest.mark.parametrize("name", kinds())
def test_a_wrong_input_shape_is_said(name, shape):
    with pytest.raises(ValueError, match="Received: input_shape="):
        small_network(name, input_shape=shape)
    with pytest.raises(ValueError, match="input_shape="):
        small_network(name, input_shape=shape, input_tensor=keras.Input(SIZE))


def test_sizes_may_be_integers_of_numpy():
    model = small_network("ResNet18", input_shape=np.array([40, 48, 3]))
    assert model.input_shape == (None, 40, 48, 3)
