"""Fine-tunes a deploy graph's tf_keras twin; a script, never imported.

`python tfmot_twin.py FOLDER` reads from FOLDER what `tfmot_engine` wrote
(`job.json`, `weights.npz`, `data.npz`) and writes `tuned.npz`. Importing
tensorflow-model-optimization switches the whole process to Keras 2, which is
why it happens here only.
"""

import json
import os
import pathlib
import sys

os.environ["TF_USE_LEGACY_KERAS"] = "1"

import numpy as np
import tensorflow_model_optimization as tfmot
import tf_keras

_quantization = tfmot.quantization.keras


class OutputOnly(_quantization.QuantizeConfig):
    """Rounds a layer's output by moving averages, and nothing else."""

    def get_weights_and_quantizers(self, layer):
        """No weights."""
        return []

    def get_activations_and_quantizers(self, layer):
        """No activations inside."""
        return []

    def set_quantize_weights(self, layer, quantize_weights):
        """No weights."""

    def set_quantize_activations(self, layer, quantize_activations):
        """No activations inside."""

    def get_output_quantizers(self, layer):
        """One range for the output."""
        return [
            _quantization.quantizers.MovingAverageQuantizer(
                num_bits=8, per_axis=False, symmetric=False, narrow_range=False
            )
        ]

    def get_config(self):
        """Nothing to say."""
        return {}


class Nothing(OutputOnly):
    """Leaves a layer alone: its output keeps the scale of its input."""

    def get_output_quantizers(self, layer):
        """None."""
        return []


# Layers that tfmot does not know, and how it shall treat them.
_CONFIGS = {
    "Multiply": OutputOnly,
    "Activation": OutputOnly,
    "UpSampling2D": Nothing,
    "Resizing": Nothing,
    "Cropping2D": Nothing,
    "Permute": Nothing,
    "Reshape": Nothing,
    "Softmax": Nothing,
}


NUM_CALIBRATION_IMAGES = 200


def build_twin(job, annotated):
    """The tf_keras model that `job["layers"]` describes."""
    tensors = {"images": tf_keras.Input(job["input_shape"], name="images")}
    for entry in job["layers"]:
        cls = getattr(tf_keras.layers, entry["class"])
        layer = cls(**entry["config"], name=entry["name"])
        if annotated and entry["class"] in _CONFIGS:
            config = _CONFIGS[entry["class"]]
            if entry["name"] in job["probabilities"]:
                # LiteRT has a range of its own for them, and rounding would
                # hide small ones from the loss.
                config = Nothing
            layer = _quantization.quantize_annotate_layer(layer, config())
        inputs = [tensors[name] for name in entry["inputs"]]
        x = layer(inputs if len(inputs) > 1 else inputs[0])
        tensors[entry["name"]] = x
    return tf_keras.Model(tensors["images"], x)


def loss_and_labels(job, labels):
    """The loss of `ratn train` for such scores, and labels as it takes them."""
    if job["scores"] == "separate":
        labels = np.eye(job["classes"], dtype="float32")[labels]
        return tf_keras.losses.BinaryCrossentropy(), labels
    loss = tf_keras.losses.SparseCategoricalCrossentropy(
        from_logits=job["scores"] == "logits"
    )
    return loss, labels


def set_weights(model, job, weights):
    """Gives each layer what `weights.npz` holds for it."""
    names = {layer.name for layer in model.layers}
    for entry in job["layers"]:
        if entry["weights"]:
            name = entry["name"]
            if name not in names:
                name = f"quantize_annotate_{name}"
            model.get_layer(name).set_weights(
                [weights[key] for key in entry["weights"]]
            )


def start_ranges(model, plain, images):
    """Sets the ranges to what the float twin shows on some images.

    tfmot starts every range at -6..6 and moves it by a thousandth a step: a
    fine-tuning of a few hundred steps would be over before the ranges fit.
    """
    layers = plain.layers[1:]
    observer = tf_keras.Model(plain.input, [layer.output for layer in layers])
    seen = observer.predict(images[:NUM_CALIBRATION_IMAGES], verbose=0)
    ranges = {
        f"quant_{layer.name}": (min(x.min(), 0.0), max(x.max(), 0.0))
        for layer, x in zip(layers, seen)
    }
    for wrapper in model.layers:
        low, high = ranges.get(wrapper.name, (0.0, float(images.max())))
        for variable in wrapper.weights:
            if variable.name.endswith(("output_min:0", "activation_min:0")):
                variable.assign(low)
            elif variable.name.endswith(("output_max:0", "activation_max:0")):
                variable.assign(max(high, low + 1e-3))
            elif variable.name.endswith("quantize_layer_min:0"):
                variable.assign(0.0)
            elif variable.name.endswith("quantize_layer_max:0"):
                variable.assign(high)


def main(folder):
    """Builds, tunes and writes the weights back."""
    folder = pathlib.Path(folder)
    job = json.loads((folder / "job.json").read_text())
    weights = np.load(folder / "weights.npz")
    data = np.load(folder / "data.npz")
    # Not those of the user's keras.json.
    tf_keras.backend.set_floatx("float32")
    tf_keras.backend.set_image_data_format("channels_last")
    tf_keras.utils.set_random_seed(job["seed"])
    plain, twin = build_twin(job, False), build_twin(job, True)
    set_weights(plain, job, weights)
    set_weights(twin, job, weights)
    scope = {"OutputOnly": OutputOnly, "Nothing": Nothing}
    with _quantization.quantize_scope(scope):
        model = _quantization.quantize_apply(
            _quantization.quantize_annotate_model(twin)
        )
    start_ranges(model, plain, data["images"])
    steps = max(1, job["epochs"] * -(-len(data["images"]) // job["batch_size"]))
    schedule = tf_keras.optimizers.schedules.CosineDecay(
        job["learning_rate"], steps
    )
    loss, labels = loss_and_labels(job, data["labels"])
    model.compile(
        tf_keras.optimizers.Adam(schedule), loss, metrics=["accuracy"]
    )
    model.fit(
        data["images"],
        labels,
        batch_size=job["batch_size"],
        epochs=job["epochs"],
        callbacks=[tf_keras.callbacks.CSVLogger(str(folder / "log.csv"))],
        verbose=2,
    )
    np.savez(folder / "tuned.npz", **_tuned_weights(model, job))


def _tuned_weights(model, job):
    """Kernels and biases by the names under which they came."""
    tuned = {}
    by_name = {layer.name: layer for layer in model.layers}
    for entry in job["layers"]:
        if not entry["weights"]:
            continue
        # The wrapper holds the variables; the layer's own attributes are
        # their rounded values by now. The kernel comes before the bias.
        wrapper = by_name[f"quant_{entry['name']}"]
        ends = ("/kernel:0", "/depthwise_kernel:0", "/bias:0")
        values = sorted(
            (w for w in wrapper.weights if w.name.endswith(ends)),
            key=lambda weight: weight.name.endswith("/bias:0"),
        )
        for key, value in zip(entry["weights"], values, strict=True):
            tuned[key] = value.numpy()
    return tuned


if __name__ == "__main__":
    main(sys.argv[1])
