"""`ratn benchmark`: images a second of the input pipeline and of training."""

import dataclasses
import pathlib
import platform
import sys
import tempfile
import time

import keras
import numpy as np

from keras_ratn import command

from . import configs
from .batch_normalization import fused_batch_normalization
from .config import DataConfig
from .data import load_source
from .data import training_batches
from .errors import RunError
from .model import compile_model
from .model import TrainingModel
from .networks import build_network
from .optimization import build_optimizer
from .runtime import device_names
from .runtime import Devices
from .runtime import prepare_keras
from .train import parse


@dataclasses.dataclass(frozen=True)
class Options:
    """What is measured, beside the experiment."""

    data: bool = False
    """Measure the input pipeline only; without CONFIG, on images made for it:
    arrays of CIFAR's size, and a folder of photos brought to 224 pixels."""
    steps: int = 20
    """Steps of each measurement; the first of all are left out."""
    rounds: int = 3
    """Times that loop and `fit` take turns; the best of each counts."""


def main(arguments=None):
    """Runs `ratn benchmark` and returns its exit status."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    own, rest = command.parse(
        Options,
        prog="ratn benchmark CONFIG",
        description=(
            "How fast a config's input pipeline and training are here.\n\n"
            "    ratn benchmark --data\n"
            "    ratn benchmark cifar10 --data\n"
            "    ratn benchmark folder --data.location photos\n\n"
            f"CONFIG is one of {', '.join(configs.NAMES)}; its options are "
            "those of `ratn train CONFIG`."
        ),
        args=arguments,
        return_unknown_args=True,
    )
    try:
        if own.data and not rest:
            measure_generated(own)
        else:
            measure(parse(rest, "ratn benchmark").experiment, own)
    except (RunError, ValueError) as error:
        return command.fail("ratn benchmark", error)
    return 0


def measure_generated(options):
    """Prints and returns the pipeline's images a second, without a data set."""
    random = np.random.default_rng(0)
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, kind, config, write in (
            ("32 px arrays", "npz", "cifar10", _write_arrays),
            ("224 px photos", "folder", "folder", _write_photos),
        ):
            config, _ = configs.load(config)
            location = pathlib.Path(folder) / f"images.{kind}"
            size = write(location, random)
            data = DataConfig(kind, str(location), image_size=size)
            config = dataclasses.replace(config, data=data)
            print(f"{name}: {write.__doc__}")
            found[name] = measure(config, options)["pipeline"]
    return found


def _write_arrays(path, random):
    """5,000 images in memory."""
    images = random.integers(0, 256, (5000, 32, 32, 3), np.uint8)
    np.savez(path, x_train=images, y_train=np.arange(5000) % 10)
    return 32


def _write_photos(folder, random):
    """200 JPEG files of 500x375 pixels, as ImageNet's are."""
    from PIL import Image

    for name in ("a", "b"):
        (folder / name).mkdir(parents=True)
        for number in range(100):
            # Smooth, with a little noise: decoders are slow with pure noise.
            image = Image.fromarray(random.integers(0, 256, (9, 12, 3), "u1"))
            pixels = np.asarray(image.resize((500, 375)), "i2")
            pixels = pixels + random.integers(-8, 9, pixels.shape)
            image = Image.fromarray(pixels.clip(0, 255).astype("u1"))
            image.save(folder / name / f"{number}.jpg", quality=90)
    return 224


def measure(config, options):
    """Prints and returns the images a second of each part."""
    with prepare_keras(config):
        return _measure(config, options)


def _measure(config, options):
    Devices(config.runtime.devices, config.batch_size)
    source = load_source(config.data, config.seed_of_images)
    print(
        f"{platform.machine()}, {keras.backend.backend()} "
        f"{', '.join(device_names())}, batches of "
        f"{config.batch_size}"
    )
    found = {"pipeline": pipeline_speed(source, config, options.steps)}
    print(f"input pipeline  {found['pipeline']:8.1f} images/s", flush=True)
    if options.data:
        return found
    network = build_network(config, source.class_names, source.channels)
    model = TrainingModel(network, config.augmentation, config.seed)
    compile_model(model, build_optimizer(config, options.steps), config)
    batch = first_batch(source, config)
    found["loop"] = found["fit"] = 0.0
    # As in `ratn train`. Loop and `fit` each trace a step of their own.
    with fused_batch_normalization(model):
        started = time.monotonic()
        model.train_on_batch(*batch)
        print(
            f"first step after {time.monotonic() - started:.1f} s", flush=True
        )
        for _ in range(options.rounds):
            speed = loop_speed(model, batch, options.steps)
            found["loop"] = max(found["loop"], speed)
            speed = fit_speed(model, source, config, options.steps)
            found["fit"] = max(found["fit"], speed)
    times = found["pipeline"] / found["loop"]
    print(
        f"train_on_batch  {found['loop']:8.1f} images/s "
        f"(the pipeline delivers {times:.1f} times that)"
    )
    print(
        f"ratn train      {found['fit']:8.1f} images/s "
        f"({found['fit'] / found['loop']:.1%} of the loop)"
    )
    return found


def _batches(source, config):
    # More epochs than anyone waits for.
    return training_batches(
        source.train,
        config.batch_size,
        config.seed,
        10**6,
        alternate=config.augmentation.alternate_flip,
    )


def first_batch(source, config):
    """One batch, as NumPy arrays."""
    inputs, labels = next(iter(_batches(source, config)))
    inputs = {k: keras.ops.convert_to_numpy(v) for k, v in inputs.items()}
    return inputs, keras.ops.convert_to_numpy(labels)


def pipeline_speed(source, config, steps):
    """Images a second of the pipeline when nothing consumes them."""
    batches = iter(_batches(source, config))
    for _ in range(2):
        next(batches)
    started = time.monotonic()
    for _ in range(steps):
        next(batches)
    return steps * config.batch_size / (time.monotonic() - started)


def loop_speed(model, batch, steps):
    """Images a second of a bare loop over one and the same batch."""
    started = time.monotonic()
    for _ in range(steps):
        model.train_on_batch(*batch)  # gives numbers, so it waits for them
    images = steps * len(batch[1])
    return images / (time.monotonic() - started)


class _Stopwatch(keras.callbacks.Callback):
    """Times the steps after the first, which sets things up."""

    def on_train_batch_end(self, batch, logs=None):
        float((logs or {}).get("loss", 0.0))
        now = time.monotonic()
        self.started = now if batch == 0 else self.started
        self.seconds = now - self.started


def fit_speed(model, source, config, steps):
    """Images a second of `fit`, as `ratn train` runs it."""
    watch = _Stopwatch()
    model.fit(
        _batches(source, config),
        steps_per_epoch=steps + 1,
        callbacks=[watch],
        shuffle=False,
        verbose=0,
    )
    return steps * config.batch_size / watch.seconds


if __name__ == "__main__":
    sys.exit(main())
