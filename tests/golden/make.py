"""Writes what `test_golden.py` reads, with the code as it stands.

    PYTHONPATH=.:tests python tests/golden/make.py

The files were written by commit 3646735, before any folder was moved, and say
what a move must not change: that files of that day load, resume and export as
they did. Write one anew only where its content is meant to change, and say so
in the commit.
"""

import json
import pathlib
import shutil
import sys
import tempfile

import keras
import numpy as np
import tensorflow as tf
from tiny_models import random_pixels
from tiny_models import randomize
from tiny_models import SMALLEST
from tiny_models import tiny_model
from training_runs import smallest

from export.quantization_aware import quantization_aware
from export.tflite import to_tflite
from keras_ratn import layers
from training import train

HERE = pathlib.Path(__file__).parent
KINDS = (None, "float16", "dynamic", "int8")
# Class of a map `(8, 8, 16)` or of its tokens -> its options.
PSA = {"kernel_sizes": (3, 5), "groups": (1, 2), "reduction_ratio": 2}
MAP_LAYERS = [
    ("SqueezeExcite", {}),
    ("BottleneckAttentionModule", {}),
    ("ConvolutionalBlockAttention", {}),
    ("HighwayGate", {}),
    ("SelfCalibratedConv2D", {}),
    ("PositionAttention", {}),
    ("ChannelAffinityAttention", {}),
    ("DualAttention", {"classes": 3, "filters": 8}),
    ("PixelAttention", {}),
    ("EfficientMultiHeadSelfAttention", {"num_heads": 2}),
    ("EfficientChannelAttention", {}),
    ("PyramidSqueezeAttention", PSA),
    ("ExternalAttention", {}),
    ("SpatialTransformer", {}),
    ("ResidualUnit", {"filters": 16}),
    ("ResNeXtUnit", {"filters": 16}),
    ("InceptionUnit", {"filters": 16}),
    ("AttentionModule", {"filters": 16}),
    ("SoftMaskBranch", {}),
    ("LocalConvolutionMask", {}),
    ("MaskActivation", {"mode": "channel"}),
    ("BilinearUpsampling2D", {"size": 2}),
    ("TransposedUpsampling2D", {}),
]


def every_layer():
    """A model that holds each map layer once, side by side."""
    inputs = keras.Input((8, 8, 16))
    outputs = {}
    for name, options in MAP_LAYERS:
        x = getattr(layers, name)(**options, name=name.lower())(inputs)
        outputs[name] = keras.layers.GlobalAveragePooling2D()(x)
    tokens = keras.layers.Reshape((64, 16))(inputs)
    x = layers.MultiHeadExternalAttention(num_heads=2)(tokens)
    outputs["tokens"] = keras.layers.GlobalAveragePooling1D()(x)
    x = layers.SinusoidalPositions()(layers.ClassToken()(tokens))
    outputs["positions"] = keras.layers.GlobalAveragePooling1D()(x)
    x = layers.Unfold(2)(inputs)
    outputs["patches"] = keras.layers.Flatten()(x)
    x = layers.ClassificationHead(3, class_names=["a", "b", "c"])(
        outputs["tokens"]
    )
    outputs["scores"] = layers.ClassScores(3, activation="softmax")(x)
    model = keras.Model(inputs, outputs)
    randomize(model)
    return model


def values(outputs):
    return {k: keras.ops.convert_to_numpy(v) for k, v in outputs.items()}


def write_layers():
    model = every_layer()
    model.save(HERE / "every_layer.keras")
    x = np.random.default_rng(0).standard_normal((2, 8, 8, 16))
    x = x.astype("float32")
    found = values(model(x, training=False))
    np.savez_compressed(HERE / "every_layer.npz", inputs=x, **found)


def network():
    return tiny_model(architecture=SMALLEST, input_shape=(32, 32, 3))


def write_networks():
    keras.utils.set_random_seed(1)
    model = network()
    model.save_weights(HERE / "network.weights.h5")
    model.save(HERE / "network.keras")
    images = random_pixels(4)
    aware = quantization_aware(model, [random_pixels(16)])
    aware.save(HERE / "quantization_aware.keras")
    np.savez_compressed(
        HERE / "network.npz",
        images=images,
        network=keras.ops.convert_to_numpy(model(images, training=False)),
        aware=keras.ops.convert_to_numpy(aware(images, training=False)),
    )


def export(folder):
    model = keras.saving.load_model(HERE / "network.keras")
    for kind in KINDS:
        to_tflite(
            model,
            folder / (kind or "float32") / "model.tflite",
            kind,
            representative_data=[random_pixels(16)],
        )
    aware = keras.saving.load_model(HERE / "quantization_aware.keras")
    to_tflite(aware, folder / "tuned" / "model.tflite", "int8")


def write_files():
    folder = HERE / "exported"
    shutil.rmtree(folder, ignore_errors=True)
    export(folder)
    versions = {"tensorflow": tf.__version__, "keras": keras.__version__}
    (folder / "versions.json").write_text(json.dumps(versions) + "\n")


def write_run():
    """A run of two epochs that ended after the first."""
    folder = HERE / "run"
    shutil.rmtree(folder, ignore_errors=True)
    train.run(smallest(), folder, time_limit=0.001)
    for name in ("environment.json", "curves.png", "last.keras", "best.keras"):
        (folder / name).unlink(missing_ok=True)
    shutil.rmtree(folder / "tensorboard", ignore_errors=True)
    with tempfile.TemporaryDirectory() as other:
        whole = shutil.copytree(folder, pathlib.Path(other) / "run")
        results = train.run(smallest(), whole)
    text = json.dumps(results["history"], indent=2) + "\n"
    (HERE / "run_history.json").write_text(text)


if __name__ == "__main__":
    import keras_ratn

    keras.utils.set_random_seed(0)
    for step in sys.argv[1:] or ("layers", "networks", "files", "run"):
        globals()[f"write_{step}"]()
    print(keras_ratn.__version__)
