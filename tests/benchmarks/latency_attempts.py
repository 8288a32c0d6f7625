"""What other ways to compute the same would save in the exported files:

    python -m tests.benchmarks.latency_attempts [--rounds 5]

Each attempt replaces some operations of Attention-56 at 224 pixels by others
that compute the same. Both stand in small files of their own, at the shapes of
the three stages, float32 and int8; the files take turns on one thread, and of
each the best median counts. The outputs are compared first. Printed are the
milliseconds of what the exported files hold now and of the attempt; a network
holds each of these more than once. `--attempts` takes some of them only.
"""

import argparse
import os
import tempfile

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import pathlib

import keras
import numpy as np

from tests.benchmarks.interleaved import best_of

# Height and width, channels of each stage.
STAGES = {1: (56, 256), 2: (28, 512), 3: (14, 1024)}


def _inputs(size, channels, number=1):
    return [keras.Input((size, size, channels)) for _ in range(number)]


def mask_product(size, channels):
    """(1 + M) T: with 1 added to M first, as int8 files have it now, and as
    M T + T, as float32 files have it."""
    inputs = trunk, mask = _inputs(size, channels, 2)
    mask = keras.activations.sigmoid(mask)
    now = keras.layers.Multiply()([mask + 1.0, trunk])
    attempt = keras.layers.Add()(
        [keras.layers.Multiply()([mask, trunk]), trunk]
    )
    return inputs, now, attempt


def normalization(size, channels):
    """BN and ReLU: a depthwise convolution now, a product and a sum."""
    (x,) = inputs = _inputs(size, channels)
    random = np.random.default_rng(0)
    scale = random.uniform(0.5, 1.5, channels).astype("float32")
    shift = random.normal(0, 0.3, channels).astype("float32")
    layer = keras.layers.DepthwiseConv2D(1)
    now = keras.layers.ReLU()(layer(x))
    layer.set_weights([scale.reshape(1, 1, -1, 1), shift])
    return inputs, now, keras.layers.ReLU()(x * scale + shift)


def bound(size, channels):
    """What is left of a merged normalization: the ReLU of pooled single
    pixels now, that of a depthwise convolution, as it was, as the attempt."""
    (x,) = inputs = _inputs(size, channels)
    now = keras.layers.ReLU()(keras.layers.MaxPooling2D(1)(x))
    layer = keras.layers.DepthwiseConv2D(1)
    attempt = keras.layers.ReLU()(layer(x))
    layer.set_weights([np.ones((1, 1, channels, 1)), np.zeros(channels)])
    return inputs, now, attempt


def constants(size, channels):
    """A normalization behind a product: a sum with constants now, in int8, and
    a depthwise convolution, as it was, as the attempt."""
    (x,) = inputs = _inputs(size, channels)
    shift = np.random.default_rng(0).normal(0, 0.3, channels).astype("float32")
    layer = keras.layers.DepthwiseConv2D(1)
    attempt = keras.layers.ReLU()(layer(x))
    layer.set_weights([np.ones((1, 1, channels, 1)), shift])
    return inputs, keras.layers.ReLU()(x + shift), attempt


def colours(size, channels):
    """Scaling of the pixels: a convolution with zeros off the diagonal now, a
    depthwise one, as it was, as the attempt. At four times the size: the
    stages' are those of an image of 224 pixels."""
    (x,) = inputs = _inputs(4 * size, 3)
    scale, shift = np.array([0.9, 1.0, 1.1]), np.array([-0.1, 0.1, 0.2])
    plain, depthwise = (
        keras.layers.Conv2D(3, 1),
        keras.layers.DepthwiseConv2D(1),
    )
    now, attempt = plain(x), depthwise(x)
    plain.set_weights([np.diag(scale)[None, None], shift])
    depthwise.set_weights([scale.reshape(1, 1, 3, 1), shift])
    return inputs, now, attempt


def enlarged_normalization(size, channels):
    """Enlarging, BN and ReLU: in that order now, BN before as the attempt.

    BN of each channel and bilinear weights, whose sum is 1, can be swapped.
    """
    (x,) = inputs = _inputs(size // 2, channels)
    random = np.random.default_rng(0)
    weights = [
        random.uniform(0.5, 1.5, (1, 1, channels, 1)).astype("float32"),
        random.normal(0, 0.3, channels).astype("float32"),
    ]
    results = []
    for first in (False, True):
        layer = keras.layers.DepthwiseConv2D(1)
        enlarge = keras.layers.UpSampling2D(interpolation="bilinear")
        steps = (layer, enlarge) if first else (enlarge, layer)
        results.append(keras.layers.ReLU()(steps[1](steps[0](x))))
        layer.set_weights(weights)
    return inputs, *results


def two_convolutions(size, channels):
    """The first unit of a stage's shortcut and first convolution, of one
    input: apart now, one convolution that is split as the attempt."""
    narrow, wide = channels // 4, channels
    (x,) = inputs = _inputs(size, narrow)
    layers = [keras.layers.Conv2D(f, 1) for f in (narrow, wide)]
    now = [layer(x) for layer in layers]
    both = keras.layers.Conv2D(narrow + wide, 1)
    y = both(x)
    attempt = [y[..., :narrow], y[..., narrow:]]
    parts = [layer.get_weights() for layer in layers]
    both.set_weights([np.concatenate(p, axis=-1) for p in zip(*parts)])
    return inputs, now, attempt


ATTEMPTS = (
    mask_product,
    normalization,
    bound,
    constants,
    colours,
    enlarged_normalization,
    two_convolutions,
)


def convert(inputs, outputs, path, integers):
    """Writes a file; of integers inside and at both ends if so."""
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import (
        convert_variables_to_constants_v2,
    )

    model = keras.Model(inputs, outputs)
    shapes = [(1, *x.shape[1:]) for x in inputs]

    def call(*tensors):
        return model(list(tensors) if len(tensors) > 1 else tensors[0])

    function = tf.function(
        call, [tf.TensorSpec(shape, tf.float32) for shape in shapes]
    )
    frozen = convert_variables_to_constants_v2(function.get_concrete_function())
    converter = tf.lite.TFLiteConverter.from_concrete_functions([frozen])
    if integers:
        random = np.random.default_rng(1)

        def images():
            for _ in range(8):
                yield [random.normal(size=s).astype("float32") for s in shapes]

        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = images
        converter.target_spec.supported_ops = [
            tf.lite.OpsSet.TFLITE_BUILTINS_INT8
        ]
        converter.inference_input_type = tf.int8
        converter.inference_output_type = tf.int8
    path.write_bytes(converter.convert())


def check(inputs, now, attempt):
    """Raises unless both compute the same."""
    random = np.random.default_rng(2)
    values = [random.normal(size=(1, *x.shape[1:])) for x in inputs]
    results = [
        keras.Model(inputs, outputs)(values) for outputs in (now, attempt)
    ]
    for one, other in zip(*map(keras.tree.flatten, results)):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)


def runner(path):
    """A function that runs a file once, on one thread."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(path), num_threads=1)
    interpreter.allocate_tensors()
    random = np.random.default_rng(3)
    for detail in interpreter.get_input_details():
        values = random.normal(size=detail["shape"])
        if detail["dtype"] == np.int8:
            scale, zero_point = detail["quantization"]
            values = np.clip(np.rint(values / scale) + zero_point, -128, 127)
        interpreter.set_tensor(detail["index"], values.astype(detail["dtype"]))
    return interpreter.invoke


def main():
    """Prints a row for each attempt, stage and precision."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    names = {attempt.__name__: attempt for attempt in ATTEMPTS}
    parser.add_argument("--attempts", nargs="+", choices=names, default=names)
    arguments = parser.parse_args()
    attempts = [names[name] for name in arguments.attempts]
    with tempfile.TemporaryDirectory() as folder:
        runs = {}
        for attempt in attempts:
            for stage, (size, channels) in STAGES.items():
                inputs, *versions = attempt(size, channels)
                check(inputs, *versions)
                for integers in (False, True):
                    for name, outputs in zip(("now", "attempt"), versions):
                        key = (attempt.__name__, stage, integers, name)
                        path = pathlib.Path(folder) / f"{len(runs)}.tflite"
                        convert(inputs, outputs, path, integers)
                        runs[key] = runner(path)
        best = best_of(runs, arguments.rounds)
    print("attempt               stage  type     now ms  attempt ms  saved ms")
    for attempt in attempts:
        for integers in (False, True):
            saved = 0.0
            for stage in STAGES:
                key = (attempt.__name__, stage, integers)
                now, other = best[*key, "now"], best[*key, "attempt"]
                saved += now - other
                print(
                    f"{attempt.__name__:<22}{stage:>4}  "
                    f"{'int8' if integers else 'float32':<8}"
                    f"{now:>7.3f}{other:>12.3f}{now - other:>10.3f}"
                )
            print(f"{'':<28}{'sum':<8}{saved:>29.3f}")


if __name__ == "__main__":
    main()
