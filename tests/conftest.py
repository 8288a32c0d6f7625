"""Every test starts from Keras's defaults and the same seed."""

import os
import pathlib
import warnings

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import pytest

SHARED = pathlib.Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(autouse=True)
def keras_defaults():
    keras.config.set_dtype_policy("float32")
    keras.config.set_image_data_format("channels_last")
    keras.utils.set_random_seed(1704)
    # Warnings that our own code causes are errors.
    ours = r"(keras_ratn|training|export)(\..*)?$"
    warnings.filterwarnings("error", module=ours)
    yield
    keras.config.set_dtype_policy("float32")
    keras.config.set_image_data_format("channels_last")


@pytest.fixture
def shared():
    """The developers' folder of golden numbers and images."""
    if not SHARED.exists():
        pytest.skip(
            f"needs the developers' folder {SHARED.name}/ beside the checkout"
        )
    return SHARED
