"""What the user has set for Keras changes no run, and stays as it was."""

import keras
import numpy as np
from training_runs import checkpoint_arrays
from training_runs import smallest

from training import train
from training.config import AugmentationConfig

EVERYTHING = AugmentationConfig(
    min_area=0.5, color=0.2, cutout=0.5, mixup=0.2, cutmix=True
)


def test_a_run_is_the_same_under_any_global_settings(tmp_path):
    config = smallest(epochs=1, augmentation=EVERYTHING)
    expected = train.run(config, tmp_path / "standard")
    keras.config.set_dtype_policy("mixed_float16")
    keras.config.set_image_data_format("channels_first")
    found = train.run(config, tmp_path / "other")
    assert keras.config.dtype_policy().name == "mixed_float16"
    assert keras.config.image_data_format() == "channels_first"
    assert found["test"] == expected["test"]
    runs = [checkpoint_arrays(tmp_path / r) for r in ("other", "standard")]
    assert runs[0].keys() == runs[1].keys()
    for key, value in runs[1].items():
        np.testing.assert_array_equal(runs[0][key], value, err_msg=key)
    for name in ("best", "last"):
        network = keras.saving.load_model(tmp_path / "other" / f"{name}.keras")
        assert network.input_shape == (None, 32, 32, 3)
