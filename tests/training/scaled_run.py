"""One run on several virtual processors: for test_scale.py.

python scaled_run.py FOLDER VIRTUAL_DEVICES
"""

import dataclasses
import sys

import keras
from runs import smallest

from training import train
from training.config import AugmentationConfig
from training.errors import RunError


def main(folder, count):
    if keras.backend.backend() == "tensorflow" and count > 1:
        import tensorflow as tf

        (processor,) = tf.config.list_physical_devices("CPU")
        tf.config.set_logical_device_configuration(
            processor, [tf.config.LogicalDeviceConfiguration()] * count
        )
    elif keras.backend.backend() == "jax":
        import jax

        jax.config.update("jax_num_cpu_devices", count)
    config = smallest(
        epochs=3, augmentation=AugmentationConfig(flip=False, shift=0.0)
    )
    # A rate at which rounding is not amplified.
    optimizer = dataclasses.replace(config.optimizer, learning_rate=0.02)
    config = dataclasses.replace(
        config, batch_size=int(sys.argv[3]), optimizer=optimizer
    )
    try:
        train.run(config, folder)
    except RunError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
