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
