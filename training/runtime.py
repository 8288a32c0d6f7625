"""Devices, precision, seeds and the environment of a run."""

import contextlib
import ctypes
import datetime
import json
import os
import pathlib
import platform
import subprocess

import keras

from keras_ratn.keras_settings import standard_settings

from .batch_normalization import set_synchronized
from .checkpoint import publish_text
from .errors import RunError
from .run_folder import ENVIRONMENT
from .run_folder import read_environments


@contextlib.contextmanager
def prepare_keras(config):
    """Seeds, precision, layout and determinism, before devices are looked up.

    Precision and layout are the user's again afterwards.
    """
    keep_freed_memory()
    keras.utils.set_random_seed(config.seed)
    if config.runtime.deterministic:
        _make_deterministic()
    with standard_settings(config.runtime.precision):
        yield


_GLIBC = platform.libc_ver()[0] == "glibc"
# From its malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -4, -8


def keep_freed_memory():
    """Lets glibc keep the memory that a step frees for the next step.

    By default threads allocate from arenas of their own, which go back to the
    system whenever they are empty: a step of `narrow` on two processor cores
    spent half of its time on getting the same pages again. It must come before
    the backend starts its threads, and does nothing outside of glibc.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if _GLIBC else None
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, 1)
        # Else all above 32 MiB, the most that its threshold takes, is mapped
        # anew each time.
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


def _make_deterministic():
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()
    elif backend == "torch":
        import torch

        torch.use_deterministic_algorithms(True, warn_only=True)


class Devices:
    """The accelerators of a run, and this process among several.

    Args:
        count: Integer. How many to use; 0 for all there are.
        batch_size: Integer, over all devices of all processes.

    One GPU or none is Keras's own business. Several are TensorFlow's
    `MirroredStrategy` with synchronised batch normalization, or JAX's data
    parallelism; several machines are JAX's alone.
    """

    def __init__(self, count, batch_size):
        self.strategy = None
        self.shard = None
        self.count = 1
        backend = keras.backend.backend()
        if backend == "tensorflow":
            self._prepare_tensorflow(count)
        elif backend == "jax":
            self._prepare_jax(count)
        if batch_size % self.count:
            raise RunError(
                f"`batch_size` must be a multiple of the {self.count} "
                f"devices. Received: {batch_size}. Choose, for example, "
                f"--batch-size {-(-batch_size // self.count) * self.count}, "
                "or fewer --runtime.devices."
            )

    @property
    def writes(self):
        """Whether this process is the one that writes the run folder."""
        return self.shard is None or self.shard[0] == 0

    def scope(self):
        """Where the model is to be built."""
        if self.strategy is None:
            return contextlib.nullcontext()
        return self.strategy.scope()

    def synchronize(self, model):
        """Lets batch normalization see the whole batch, over all replicas."""
        if self.strategy is not None:
            set_synchronized(model, True)

    def _prepare_tensorflow(self, count):
        import tensorflow as tf

        if "TF_CONFIG" in os.environ:
            raise RunError(
                "TF_CONFIG asks for several machines under TensorFlow, whose "
                "MultiWorkerMirroredStrategy fails inside Keras 3's fit "
                "(keras issue 20585). Use JAX for that: KERAS_BACKEND=jax, "
                "and on each machine KERAS_DISTRIBUTION_JOB_ADDRESSES, "
                "KERAS_DISTRIBUTION_NUM_PROCESSES and "
                "KERAS_DISTRIBUTION_PROCESS_ID. For one machine, unset "
                "TF_CONFIG."
            )
        gpus = tf.config.list_logical_devices("GPU")
        # Several logical CPUs are there only if someone made them, to try.
        devices = gpus or tf.config.list_logical_devices("CPU")
        devices = [device.name for device in _chosen(devices, count)]
        if len(devices) > 1:
            operations = None
            if not gpus:
                # The default collectives crash on logical CPUs.
                operations = tf.distribute.ReductionToOneDevice()
            self.strategy = tf.distribute.MirroredStrategy(
                devices, cross_device_ops=operations
            )
        self.count = len(devices)

    def _prepare_jax(self, count):
        if "KERAS_DISTRIBUTION_JOB_ADDRESSES" in os.environ:
            keras.distribution.initialize()
        import jax

        devices = keras.distribution.list_devices()
        if jax.process_count() == 1:
            devices = _chosen(devices, count)
        else:
            self.shard = (jax.process_index(), jax.process_count())
        if len(devices) > 1:
            keras.distribution.set_distribution(
                # Each process reads its own part of each batch itself.
                keras.distribution.DataParallel(
                    devices=devices, auto_shard_dataset=False
                )
            )
        self.count = len(devices)


def _chosen(devices, count):
    if count > len(devices):
        raise RunError(
            f"`runtime.devices` is {count}, but there are {len(devices)}: "
            f"{', '.join(map(str, devices))}"
        )
    return devices[:count] if count else devices


def device_names():
    """The devices that the backend sees, as strings."""
    if keras.backend.backend() != "torch":
        return keras.distribution.list_devices()
    # Keras lists none on PyTorch.
    import torch

    count = torch.cuda.device_count()
    return [f"cuda:{index}" for index in range(count)] or ["cpu:0"]


def record_environment(folder, epoch):
    """Notes in `environment.json` what a run begins or goes on with.

    Args:
        folder: `pathlib.Path` of the run.
        epoch: Integer. Epochs done before.
    """
    entries = read_environments(folder)
    now = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
    entries.append({"after_epoch": epoch, "date": now, **environment()})
    text = json.dumps(entries, indent=2) + "\n"
    publish_text(folder / ENVIRONMENT, text)


def environment():
    """What a result also depends on: versions, machine and git commit."""
    versions = {"keras": keras.__version__, "python": platform.python_version()}
    backend = keras.backend.backend()
    module = __import__(backend)
    versions[backend] = module.__version__
    import keras_ratn

    versions["keras_ratn"] = keras_ratn.__version__
    return {
        "versions": versions,
        "backend": backend,
        "machine": platform.machine(),
        "cpus": os.cpu_count(),
        "devices": device_names(),
        "commit": _git_commit(),
    }


def _git_commit():
    """Of the checkout that this file is in; `None` outside of one."""
    here = pathlib.Path(__file__).resolve().parent
    try:
        run = subprocess.run(
            ["git", "-C", str(here), "describe", "--always", "--dirty"],
            capture_output=True,
            text=True,
            timeout=10,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return run.stdout.strip() or None
