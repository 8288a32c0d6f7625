"""Settings of Keras that code of this package must not inherit."""

import keras
import pytest

from keras_ratn.keras_settings import standard_settings


def settings():
    policy = keras.config.dtype_policy()
    return policy.name, keras.config.image_data_format()


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_layers_inside_are_standard_and_the_users_come_back(policy):
    keras.config.set_dtype_policy(policy)
    keras.config.set_image_data_format("channels_first")
    with standard_settings():
        layer = keras.layers.Conv2D(2, 1)
    assert layer.compute_dtype == layer.variable_dtype == "float32"
    assert layer.data_format == "channels_last"
    assert settings() == (policy, "channels_first")
    assert keras.config.floatx() == "float32"


def test_a_policy_of_the_users_own_comes_back_itself():
    own = keras.dtype_policies.DTypePolicyMap(default_policy="mixed_bfloat16")
    keras.config.set_dtype_policy(own)
    with standard_settings("mixed_float16", "channels_first"):
        assert settings() == ("mixed_float16", "channels_first")
    assert keras.config.dtype_policy() is own
    assert keras.config.image_data_format() == "channels_last"


def test_an_error_inside_leaves_nothing_behind():
    keras.config.set_dtype_policy("mixed_float16")
    with pytest.raises(RuntimeError, match="inside"):
        with standard_settings():
            raise RuntimeError("inside")
    assert settings() == ("mixed_float16", "channels_last")


@pytest.mark.parametrize("wrong", [("float33",), ("float32", "sideways")])
def test_a_wrong_setting_changes_nothing(wrong):
    keras.config.set_dtype_policy("mixed_float16")
    with pytest.raises(ValueError):
        with standard_settings(*wrong):
            pass
    assert settings() == ("mixed_float16", "channels_last")


def test_as_a_decorator_it_works_each_time_and_keeps_name_and_value():
    @standard_settings()
    def dtype_inside():
        return keras.layers.ReLU().compute_dtype

    keras.config.set_dtype_policy("mixed_float16")
    assert [dtype_inside(), dtype_inside()] == ["float32", "float32"]
    assert dtype_inside.__name__ == "dtype_inside"
    assert settings()[0] == "mixed_float16"
