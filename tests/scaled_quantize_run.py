"""`ratn quantize` on several virtual processors: for test_quantize.py.

python scaled_quantize_run.py MODEL RUN_FOLDER VIRTUAL_DEVICES
"""

import sys

import tensorflow as tf

from keras_ratn.__main__ import main

if __name__ == "__main__":
    model, folder, count = sys.argv[1:]
    (processor,) = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(
        processor, [tf.config.LogicalDeviceConfiguration()] * int(count)
    )
    sys.exit(main(["quantize", model, "--run-dir", folder, "--epochs", "1"]))
