"""Epochs that run on the accelerator alone: JAX, with the images in its memory.

A step of these networks on 32-pixel images is a thousand small kernels.
Python, the copying of batches and the launch of each step would take longer
than the step. So the images move to the accelerator once, as bytes, and one
compiled program runs all steps of an epoch: it picks the images of a batch by
number, augments them and updates the weights. Data order, augmentation,
checkpoints and logs are those of any other run.
"""

import glob
import json
import re
import tempfile
import time

import keras
import numpy as np

from .checkpoint import publish_text
from .data import epoch_order
from .data import mirrored
from .data import num_steps
from .data import replace_unreadable
from .data import Split
from .errors import RunError

PROFILED_STEPS = 20

# Name of a group of operations -> what XLA calls its kernels, the first match
# counts.
_GROUPS = {
    "pooling": "select.and.scatter|select_and_scatter|reduce.window|pool",
    "convolutions and matrix products": (
        "conv|cudnn|cutlass|gemm|dot|xmma|wgrad|dgrad|implicit|matmul|triton"
    ),
    "copies and changes of layout": (
        "copy|transpose|concatenate|memcpy|nchw|nhwc|bitcast|pad"
    ),
    "reductions (batch norm, sums)": "reduce",
    "elementwise (batch norm, ReLU, optimizer)": (
        "fusion|add|multiply|subtract|maximum|compare|select|convert|divide"
    ),
    "batches and augmentation": "gather|rng|threefry|sort|dynamic",
}


class ResidentTraining:
    """Trains a compiled model from images that lie on the accelerator.

    Args:
        model: Compiled `TrainingModel` on Keras's JAX backend.
        split: `data.Split` of the training images.
        batch_size: Integer.
        seed: Integer. Of the data order.
        alternate: Boolean. Whether to mirror each image in every second
            epoch. Defaults to `False`.
    """

    def __init__(self, model, split, batch_size, seed, alternate=False):
        check_resident(split)
        import jax

        self.model = model
        self.batch_size = batch_size
        self.seed = seed
        self.alternate = alternate
        self.steps = num_steps(split, batch_size)
        images, readable = split.read(np.arange(len(split)))
        labels = np.array(split.labels)
        if not readable.all():
            images = np.array(images)
            replace_unreadable(images, labels, readable)
        self.images = jax.device_put(images)
        self.labels = jax.device_put(labels)
        # Keras makes the metrics' variables at the first batch it sees.
        numbers = np.arange(batch_size)
        batch = {"images": images[numbers], "labels": labels[numbers]}
        weights = np.ones(batch_size, "float32")
        model.test_on_batch(batch, labels[numbers], weights)
        # The old state's memory becomes the new one's.
        self._program = jax.jit(self._steps, donate_argnums=0)

    def _steps(self, state, images, labels, turned, order, first, last):
        """Steps `first` to `last` of an epoch: `(state, loss after each)`."""
        import jax
        import jax.numpy as jnp

        def step(index, carry):
            state, losses = carry
            numbers = order[index]
            targets = labels[numbers]
            batch = images[numbers]
            if self.alternate:
                mask = turned[numbers][:, None, None, None]
                batch = jnp.where(mask, batch[:, :, ::-1], batch)
            inputs = {"images": batch, "labels": targets}
            logs, state = self.model.train_step(state, (inputs, targets))
            return state, losses.at[index].set(logs["loss"])

        losses = jnp.zeros(order.shape[0])
        # A loop of unknown length: one compilation serves a profile of some
        # steps and the whole epoch.
        return jax.lax.fori_loop(first, last, step, (state, losses))

    def _variables(self):
        model = self.model
        return (
            model.trainable_variables,
            model.non_trainable_variables,
            model.optimizer.variables,
            model.metrics_variables,
        )

    def _run(self, state, epoch, last):
        order = epoch_order(len(self.labels), self.seed, epoch)
        order = order[: self.steps * self.batch_size].astype("int32")
        return self._program(
            state,
            self.images,
            self.labels,
            mirrored(len(self.labels), self.seed, epoch),
            order.reshape(self.steps, self.batch_size),
            0,
            last,
        )

    def run_epoch(self, epoch):
        """Trains for one epoch.

        Returns:
            The pair of a dictionary of the epoch's metrics, and the number of
            the first step whose loss was no number (`None` if all were).
        """
        variables = self._variables()
        state = tuple([v.value for v in group] for group in variables)
        state, losses = self._run(state, epoch, self.steps)
        for group, values in zip(variables, state):
            for variable, value in zip(group, values):
                variable.assign(value)
        wrong = np.flatnonzero(~np.isfinite(np.asarray(losses)))
        logs = {k: float(v) for k, v in self.model.get_metrics_result().items()}
        return logs, int(wrong[0]) if len(wrong) else None

    def fit(self, epochs, first_epoch, callbacks, validation=None, verbose=2):
        """The epochs from `first_epoch` on, with Keras's callbacks.

        Callbacks see one batch an epoch, its last.
        """
        model = self.model
        model.stop_training = False
        callbacks = keras.callbacks.CallbackList(
            callbacks,
            add_progbar=verbose != 0,
            model=model,
            verbose=verbose,
            epochs=epochs,
            steps=self.steps,
        )
        callbacks.on_train_begin()
        for epoch in range(first_epoch, epochs):
            model.reset_metrics()
            callbacks.on_epoch_begin(epoch)
            logs, wrong = self.run_epoch(epoch)
            if wrong is not None:
                logs["loss"] = float("nan")
                _set_back(model.optimizer, self.steps - wrong - 1)
            callbacks.on_train_batch_end(self.steps - 1, logs)
            if validation is not None:
                scores = model.evaluate(
                    validation, callbacks=callbacks, verbose=0, return_dict=True
                )
                logs |= {f"val_{key}": value for key, value in scores.items()}
            callbacks.on_epoch_end(epoch, logs)
            if model.stop_training:
                break
        callbacks.on_train_end()

    def profile(self):
        """Where the time of a step goes, without changing the model.

        Returns:
            Dictionary: `compile_seconds`, `images_per_second`, and `shares`,
            the share of each group of operations in the device's busy time.
        """
        import jax

        state = tuple(
            [jax.numpy.copy(v.value) for v in group]
            for group in self._variables()
        )
        last = min(PROFILED_STEPS, self.steps)
        started = time.perf_counter()
        state = jax.block_until_ready(self._run(state, 0, 1))[0]
        compiled = time.perf_counter()
        state = jax.block_until_ready(self._run(state, 0, last))[0]
        seconds = time.perf_counter() - compiled
        with tempfile.TemporaryDirectory() as folder:
            with jax.profiler.trace(folder):
                jax.block_until_ready(self._run(state, 0, last))
            (path,) = glob.glob(f"{folder}/**/*.xplane.pb", recursive=True)
            shares = _shares(jax.profiler.ProfileData.from_file(path))
        return {
            "compile_seconds": round(compiled - started, 1),
            "images_per_second": round(last * self.batch_size / seconds, 1),
            "shares": shares,
        }


def _set_back(optimizer, steps):
    """Lets the optimizer count so many steps fewer."""
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    # Where gradients are accumulated, `iterations` is a number of updates.
    steps_done = optimizer.variables[0]
    steps_done.assign(steps_done - steps)


def check_resident(split):
    """Refuses what cannot be trained in this way."""
    if keras.backend.backend() != "jax":
        raise RunError(
            "`runtime.resident` works on Keras's JAX backend only: set "
            "KERAS_BACKEND=jax. The backend is "
            f"{keras.backend.backend()!r}."
        )
    if not isinstance(split, Split):
        raise RunError(
            "`runtime.resident` needs training images that fit into memory, "
            "and these are read from the disk in each epoch."
        )
    if keras.distribution.distribution() is not None:
        raise RunError(
            "`runtime.resident` trains on one device: give --runtime.devices 1."
        )


def _shares(profile):
    """Share of each group in the time of a `jax.profiler.ProfileData`."""
    busy = dict.fromkeys([*_GROUPS, "other"], 0.0)
    for event in _device_events(profile):
        name = event.name.lower()
        group = next(
            (g for g, names in _GROUPS.items() if re.search(names, name)),
            "other",
        )
        busy[group] += event.duration_ns
    total = sum(busy.values()) or 1.0
    return {group: round(time / total, 4) for group, time in busy.items()}


def _device_events(profile):
    """Kernels: of the GPU's streams, or of XLA's threads on a processor."""
    for plane in profile.planes:
        on_device = plane.name.startswith("/device:")
        for line in plane.lines:
            if on_device and line.name.startswith("Stream"):
                yield from line.events
            elif not on_device and "XLAEigen" in line.name:
                # The loop contains its own kernels.
                yield from (
                    e
                    for e in line.events
                    if not re.match("while|call|Thunk|Thread", e.name)
                )


def report(profile, config, images, epochs_left, path):
    """Prints a profile with the time all epochs will take, and keeps it."""
    seconds = epochs_left * images / profile["images_per_second"]
    profile = {**profile, "projected_seconds": round(seconds)}
    print(
        f"{config.model}, batches of {config.batch_size}, "
        f"{config.runtime.precision}: {profile['images_per_second']:,.0f} "
        f"images/s after {profile['compile_seconds']:.0f} s of compilation"
    )
    for group, share in profile["shares"].items():
        print(f"  {share:6.1%}  {group}")
    print(
        f"  {epochs_left} epochs will take {seconds / 60:,.1f} minutes, "
        "without evaluation",
        flush=True,
    )
    publish_text(path, json.dumps(profile, indent=2) + "\n")
