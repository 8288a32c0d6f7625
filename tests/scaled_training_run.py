"""One run on several virtual processors: for test_scale.py.

python scaled_training_run.py FOLDER DEVICES BATCH_SIZE PRECISION OPTIMIZER
"""

import dataclasses
import sys

import keras
from training_runs import smallest

from training import train
from training.config import AugmentationConfig
from training.errors import RunError


def main(folder, count, batch_size, precision, optimizer):
    if keras.backend.backend() == "tensorflow" and count > 1:
        import tensorflow as tf

        (processor,) = tf.config.list_physical_devices("CPU")
        tf.config.set_logical_device_configuration(
            processor, [tf.config.LogicalDeviceConfiguration()] * count
        )
    elif keras.backend.backend() == "jax":
        import jax

        jax.config.update("jax_num_cpu_devices", count)
    if precision == "float64":
        use_float64()
    config = smallest(
        epochs=3, augmentation=AugmentationConfig(flip=False, shift=0.0)
    )
    config = dataclasses.replace(
        config,
        batch_size=batch_size,
        optimizer=dataclasses.replace(
            config.optimizer, name=optimizer, learning_rate=0.02, ema=0.5
        ),
        runtime=dataclasses.replace(config.runtime, precision=precision),
    )
    try:
        train.run(config, folder)
    except RunError as error:
        sys.exit(str(error))


def use_float64():
    """Everywhere, the classifier included, which is always in float32."""
    keras.config.set_floatx("float64")
    if keras.backend.backend() == "jax":
        import jax

        jax.config.update("jax_enable_x64", True)
    build = train.build_network

    def copy(layer):
        return type(layer).from_config(
            {**layer.get_config(), "dtype": "float64"}
        )

    def build_network(*arguments):
        return keras.models.clone_model(build(*arguments), clone_function=copy)

    train.build_network = build_network


if __name__ == "__main__":
    folder, devices, batch_size, *rest = sys.argv[1:]
    main(folder, int(devices), int(batch_size), *rest)
