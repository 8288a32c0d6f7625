"""What Keras's callbacks lack: an atomic record, a stop at NaN, and more."""

import contextlib
import csv
import importlib.util
import io
import math
import signal
import threading
import time

import keras
import numpy as np

from .averaging import averaged_weights
from .checkpoint import publish_text
from .checkpoint import published
from .checkpoint import save_checkpoint
from .errors import LossError
from .errors import RunError


class StopAtNaN(keras.callbacks.Callback):
    """Ends the run at the first loss or weight that is no number.

    The weights are looked at after each epoch, before `Record` keeps them:
    max pooling, and TensorFlow's fused kernels on AVX-512, turn NaN into
    numbers, so that the loss stays finite over a network that is lost.
    """

    def on_train_batch_end(self, batch, logs=None):
        loss = float((logs or {}).get("loss", 0.0))
        if not math.isfinite(loss):
            self._stop(f"The loss became {loss}")

    def on_epoch_end(self, epoch, logs=None):
        lost = lost_weight(self.model)
        if lost is not None:
            self._stop(f"{lost} became nan or infinite")

    def _stop(self, what):
        optimizer = self.model.optimizer
        step = int(keras.ops.convert_to_numpy(optimizer.iterations))
        raise LossError(
            f"{what} at step {step}, at a learning rate "
            f"of {current_learning_rate(optimizer):.3g}. last.keras is "
            "the model of the last whole epoch, if there was one. Try a "
            # Fields, for not every command has options of these names.
            "smaller `optimizer.learning_rate`, or 1 for "
            "`optimizer.clip_norm`."
        )


def lost_weight(model):
    """Path of the first weight that holds nan or infinity, or None."""
    for variable in model.weights:
        numbers = keras.ops.isfinite(keras.ops.cast(variable, "float32"))
        if not bool(keras.ops.all(numbers)):
            return variable.path
    return None


class StopAtInterrupt(keras.callbacks.Callback):
    """Ends the run at Ctrl-C; a context manager around `fit`.

    Keras swallows all exceptions where it waits for a step's loss, which is
    where a run on JAX spends its time. So the step's end raises it again.
    """

    def __init__(self):
        super().__init__()
        self.interrupted = False

    def __enter__(self):
        self.kept = signal.getsignal(signal.SIGINT)
        in_charge = threading.current_thread() is threading.main_thread()
        # Whoever handles or ignores it has their reasons.
        self.replaced = in_charge and self.kept is signal.default_int_handler
        if self.replaced:
            signal.signal(signal.SIGINT, self._interrupt)
        return self

    def __exit__(self, *error):
        if self.replaced:
            signal.signal(signal.SIGINT, self.kept)

    def _interrupt(self, number, frame):
        self.interrupted = True
        raise KeyboardInterrupt

    def on_train_batch_end(self, batch, logs=None):
        if self.interrupted:
            raise KeyboardInterrupt

    on_test_batch_end = on_train_batch_end


class FirstStepTime(keras.callbacks.Callback):
    """Prints how long the first step was in coming."""

    def __init__(self, started):
        super().__init__()
        self.started = started

    def on_train_batch_end(self, batch, logs=None):
        if self.started is not None:
            # Asking for the number waits for the device.
            float((logs or {}).get("loss", 0.0))
            seconds = time.monotonic() - self.started
            print(f"\nfirst step after {seconds:.1f} s", flush=True)
            self.started = None


class TimeLimit(keras.callbacks.Callback):
    """Ends training before the epoch that would end too late.

    Args:
        started: Float. `time.monotonic()` when counting began.
        seconds: Float. From then.
    """

    def __init__(self, started, seconds):
        super().__init__()
        self.end = started + seconds
        self.longest = 0.0

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch_began = time.monotonic()

    def on_epoch_end(self, epoch, logs=None):
        now = time.monotonic()
        self.longest = max(self.longest, now - self.epoch_began)
        if now + self.longest > self.end:
            self.model.stop_training = True


def current_learning_rate(optimizer):
    """The learning rate of the next step, as a float."""
    return float(keras.ops.convert_to_numpy(optimizer.learning_rate))


class Record(keras.callbacks.Callback):
    """Publishes, after each epoch: best model, curves, then the checkpoint.

    The checkpoint comes last and holds the whole history. A run killed in
    between does the epoch again, comes to the same numbers and writes the
    same files again. The log is written anew from the history each time, so
    it never holds an epoch that the checkpoint does not lead to.

    Args:
        folder: `pathlib.Path` of the run.
        images_per_epoch: Integer, for images a second.
        state: What `load_checkpoint` returned; `None` for a new run.
        save: Function of a path that writes the network there.
        writes: Boolean. Whether this process is the one that writes.
            Defaults to `True`.
    """

    def __init__(self, folder, images_per_epoch, state, save, writes=True):
        super().__init__()
        self.folder = folder
        self.images_per_epoch = images_per_epoch
        self.save = save
        self.writes = writes
        state = state or {"history": [], "best": None}
        self.history = state["history"]
        self.best = state["best"]

    def on_train_begin(self, logs=None):
        if self.writes and self.history:
            self._write_log()

    def on_epoch_begin(self, epoch, logs=None):
        self.started = time.monotonic()
        self.train_seconds = None

    def on_test_begin(self, logs=None):
        # Validation begins where training ends.
        self.train_seconds = time.monotonic() - self.started

    def on_epoch_end(self, epoch, logs=None):
        seconds = self.train_seconds or time.monotonic() - self.started
        row = {"epoch": epoch + 1}
        row |= {key: float(value) for key, value in (logs or {}).items()}
        row["learning_rate"] = current_learning_rate(self.model.optimizer)
        row["images_per_second"] = round(self.images_per_epoch / seconds, 2)
        self.history.append(row)
        score = row.get("val_accuracy")
        if score is not None and (self.best is None or score > self.best):
            self.best = score
            # By all processes: JAX compares what they assign.
            with averaged_weights(self.model):
                if self.writes:
                    self.save(self.folder / "best.keras")
        if not self.writes:
            return
        self._write_log()
        save_checkpoint(
            self.folder / "checkpoint.npz",
            self.model,
            {
                "epoch": epoch + 1,
                "history": self.history,
                "best": self.best,
            },
        )

    def _write_log(self):
        text = io.StringIO()
        fields = list(self.history[-1])
        writer = csv.DictWriter(text, fields, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.history)
        publish_text(self.folder / "log.csv", text.getvalue())


class TensorBoardLog(keras.callbacks.Callback):
    """Shows the record in TensorBoard, on every backend.

    Keras's own callback needs TensorFlow; TensorBoard's writer does not. The
    events are written anew from the history when training begins or resumes,
    so they never show an epoch that the checkpoint does not lead to.

    Args:
        record: `Record`, which comes earlier in the list of callbacks.
    """

    def __init__(self, record):
        super().__init__()
        self.record = record

    @staticmethod
    def available():
        """Whether TensorBoard is installed."""
        return importlib.util.find_spec("tensorboard") is not None

    def on_train_begin(self, logs=None):
        from tensorboard.summary import Writer

        folder = self.record.folder / "tensorboard"
        # What else there may be is not the run's.
        for path in folder.glob("events.out.tfevents.*"):
            with contextlib.suppress(OSError):
                path.unlink()
        self.writer = Writer(str(folder))
        for row in self.record.history:
            self._write(row)

    def on_epoch_end(self, epoch, logs=None):
        self._write(self.record.history[-1])

    def on_train_end(self, logs=None):
        self.writer.close()

    def _write(self, row):
        try:
            for key, value in row.items():
                if key != "epoch":
                    self.writer.add_scalar(key, value, row["epoch"])
            self.writer.flush()
        except OSError as error:
            raise RunError(
                f"Cannot write TensorBoard's log in {self.record.folder}: "
                f"{error.strerror or error}. The last checkpoint is intact."
            ) from error


def plot_curves(history, path):
    """Loss and accuracy over the epochs, as a PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    epochs = [row["epoch"] for row in history]
    for axes, name in zip(figure.subplots(1, 2), ("loss", "accuracy")):
        for key in (name, f"val_{name}"):
            values = [row.get(key, np.nan) for row in history]
            if not np.all(np.isnan(values)):
                axes.plot(epochs, values, label=key, marker=".")
        axes.set_xlabel("epoch")
        axes.set_ylabel(name)
        axes.legend()
    with published(path) as temporary:
        figure.savefig(temporary)
