"""Quantisation-aware tuning by tensorflow-model-optimization, kept apart."""

import importlib.util
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import keras
import numpy as np

from keras_ratn.predictors import kind_of_scores

from .deploy_graph import deploy_graph
from .opened_graph import deep_recursion
from .opened_graph import probabilities
from .opened_graph import symbolic_tensors

_TWIN = pathlib.Path(__file__).with_name("tfmot_twin.py")

# Class of a deploy graph's layer -> the arguments that its twin is given.
_ARGUMENTS = {
    "Activation": ("activation",),
    "Add": (),
    "AveragePooling2D": ("pool_size", "strides", "padding"),
    "Concatenate": (),
    "Conv2D": (
        "filters",
        "kernel_size",
        "strides",
        "padding",
        "dilation_rate",
        "groups",
        "use_bias",
    ),
    "Dense": ("units", "use_bias"),
    "DepthwiseConv2D": (
        "kernel_size",
        "strides",
        "padding",
        "depth_multiplier",
        "dilation_rate",
        "use_bias",
    ),
    "Flatten": (),
    "GlobalAveragePooling2D": (),
    "MaxPooling2D": ("pool_size", "strides", "padding"),
    "Multiply": (),
    "ReLU": ("max_value", "negative_slope", "threshold"),
    "Reshape": ("target_shape",),
    "Softmax": ("axis",),
    "UpSampling2D": ("size", "interpolation"),
    "ZeroPadding2D": ("padding",),
}


def fine_tune_with_tfmot(
    model,
    images,
    labels,
    epochs=2,
    learning_rate=1e-4,
    batch_size=32,
    seed=0,
):
    """Tunes a model's deploy graph under tfmot's 8-bit scheme.

    The graph's tf_keras twin is annotated, quantised and fitted in a process
    of its own, because importing tensorflow-model-optimization turns
    `tf.keras` into Keras 2. The tuned kernels and biases come back in floats:
    give the result to `to_tflite(..., quantize="int8")` with representative
    data, from which the ranges are learned anew.

    Networks with bilinear up-sampling to whole multiples are supported, which
    is all sizes divisible by two as often as a mask halves them.

    Args:
        model: A network of this package, or a functional model of the layers
            such networks are made of.
        images: Array of images as the model takes them.
        labels: Integer array of classes.
        epochs: Integer. Defaults to `2`.
        learning_rate: Float, of Adam at the start; it falls along a cosine.
            Defaults to `1e-4`.
        batch_size: Integer. Defaults to `32`.
        seed: Integer. Defaults to `0`.

    Returns:
        Pair of the deploy graph, a functional `keras.Model` with tuned
        weights, and the epochs' log as CSV text.
    """
    deployed = deploy_graph(model)
    layers = _described(deployed)
    job = {
        "input_shape": deployed.input_shape[1:],
        "layers": layers,
        "epochs": epochs,
        "learning_rate": learning_rate,
        "batch_size": batch_size,
        "seed": seed,
        "classes": deployed.output_shape[-1],
        "scores": kind_of_scores(deployed),
        "probabilities": [x.name for x in probabilities(deployed)],
    }
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        (folder / "job.json").write_text(json.dumps(job))
        weights = {
            key: value
            for entry in layers
            if entry["weights"]
            for key, value in zip(
                entry["weights"],
                deployed.get_layer(entry["name"]).get_weights(),
            )
        }
        np.savez(folder / "weights.npz", **weights)
        np.savez(folder / "data.npz", images=images, labels=labels)
        _run(folder)
        log = (folder / "log.csv").read_text()
        with np.load(folder / "tuned.npz") as tuned:
            for entry in layers:
                if entry["weights"]:
                    deployed.get_layer(entry["name"]).set_weights(
                        [tuned[key] for key in entry["weights"]]
                    )
    return deployed, log


def check_tfmot():
    """Refuses to begin without the packages that the other process needs."""
    for package in ("tensorflow_model_optimization", "tf_keras"):
        # Only looks: imported here, it would change tf.keras.
        if importlib.util.find_spec(package) is None:
            raise ValueError(
                "The engine 'tfmot' needs `pip install keras_ratn[export]`: "
                f"there is no {package}. Or use --engine keras."
            )


def _described(model):
    """Class, arguments, inputs and weights of each layer, in order."""
    entries, name_of, kept = [], {}, []

    def call(layer, *args, **kwargs):
        inputs = symbolic_tensors(args)
        entries.append(
            {
                "name": layer.name,
                "inputs": [name_of.get(id(x), "images") for x in inputs],
                **_twin_of(layer),
                "weights": [
                    f"{layer.name}/{i}"
                    for i in range(len(getattr(layer, "weights", ())))
                ],
            }
        )
        outputs = layer(*args, **kwargs)
        kept.append(outputs)  # so that no id is given twice
        name_of[id(outputs)] = layer.name
        return outputs

    with deep_recursion():
        keras.models.clone_model(
            model, clone_function=lambda layer: layer, call_function=call
        )
    return entries


def _twin_of(layer):
    kind = type(layer).__name__
    kind = "Dense" if kind == "ClassificationHead" else kind
    if kind not in _ARGUMENTS or not (
        # Of operations, the softmax has the arguments of its layer.
        isinstance(layer, keras.Layer) or kind == "Softmax"
    ):
        raise ValueError(
            f"The engine 'tfmot' knows no twin of the layer {layer.name!r} of "
            f"class {kind}. Use engine='keras', or post-training int8."
        )
    config = layer.get_config()
    return {
        "class": kind,
        "config": {key: config[key] for key in _ARGUMENTS[kind]},
    }


def _run(folder):
    environment = {**os.environ, "TF_USE_LEGACY_KERAS": "1"}
    process = subprocess.run(
        [sys.executable, str(_TWIN), str(folder)],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    if process.returncode:
        said = process.stderr.strip().splitlines() or ["nothing"]
        raise RuntimeError(
            "Tuning with tensorflow-model-optimization failed. Its process "
            f"said: {said[-1]}"
        )
