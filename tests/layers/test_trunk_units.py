import pytest
from layer_checks import check_layer

from keras_ratn.layers import InceptionUnit
from keras_ratn.layers import ResidualUnit
from keras_ratn.layers import ResNeXtUnit


@pytest.mark.parametrize("cls", [ResidualUnit, ResNeXtUnit, InceptionUnit])
@pytest.mark.parametrize("strides", [1, 2])
def test_unit_has_the_properties_of_a_layer(cls, strides):
    check_layer(
        cls,
        {"filters": 16, "strides": strides},
        input_shape=(2, 8, 6, 16),
        output_shape=(2, 8 // strides, 6 // strides, 16),
    )
