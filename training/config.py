"""What an experiment is: every choice that its result depends on.

The classes are frozen, so that a run is what its config says. The line below
a field is its help on the command line; a run folder keeps them all in
`config.json`.
"""

import dataclasses
import json
import pathlib
from typing import Literal


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """Where the images come from."""

    source: Literal["tfds", "folder", "npz", "digits"] = "tfds"
    """`tfds`: a TensorFlow Datasets name; `folder`: one folder of images per
    class (inside train/, validation/ or val/, and test/, or split by the seed);
    `npz`: x_train, y_train, x_test, y_test; `digits`: scikit-learn's, no
    download."""
    location: str = ""
    """The TFDS name, the folder, or the .npz file."""
    tfds_directory: str | None = None
    """Where TFDS keeps its prepared data sets; its own default if None."""
    test_split: str = "test"
    """TFDS's name of the test images: `validation` for ImageNet, whose test
    labels are secret."""
    image_size: int = 32
    """Height and width the images are brought to (shorter side, then centre
    crop)."""
    validation_fraction: float = 0.0
    """Share of the training images held out to choose the best model, where
    the source has no validation images of its own; 0 for none."""
    test_fraction: float = 0.1
    """Share held out as test images where the source has none of its own."""
    max_images: int | None = None
    """Use only so many images of each split, for cheap trials."""
    label_noise: float = 0.0
    """Share of training labels moved to another class, evenly; test labels
    are never touched."""
    label_file: str | None = None
    """Labels for the training images in their original order: .npy, or
    FILE.npz:KEY."""
    max_corrupt_images: int = 10
    """So many unreadable images are named and skipped; one more is an
    error."""
    workers: int = 8
    """Threads that read and decode images."""


@dataclasses.dataclass(frozen=True)
class AugmentationConfig:
    """What happens to training images, on the device, in this order."""

    flip: bool = True
    """Mirror half of the images, left to right."""
    shift: float = 0.125
    """Largest shift, as a share of the size. 0.125 of 32 pixels is the usual
    "pad 4 and crop"."""
    alternate_flip: bool = False
    """Mirror each image in every second epoch, instead of at random: the
    network sees both sides of all. For images that are read by number: in
    memory, or in a folder."""
    border: Literal["black", "reflect"] = "black"
    """What a shift brings in: black, or the image mirrored at its border."""
    min_area: float = 1.0
    """Smallest share of the image's area that is shown, enlarged, at an aspect
    ratio between 3:4 and 4:3; 1 for the whole image, 0.08 is usual on ImageNet.
    All shares from there to 1 are as frequent."""
    color: float = 0.0
    """Strength of random changes of color, 0 to 1: brightness by up to so much
    of the range, contrast by factors of 1 - color to 1 + color, saturation by
    up to (2 + color) / (2 - color) or its inverse, hue by up to color / 20 of
    the circle."""
    cutout: float = 0.0
    """Share of the images that get a random patch erased: 2 to 33 % of the
    image become noise."""
    mixup: float = 0.0
    """Alpha of MixUp: images are mixed by shares from Beta(alpha, alpha); 0 for
    none, 1 is usual."""
    cutmix: bool = False
    """Mix by CutMix, by shares from Beta(1, 1). With `mixup` too, images are
    mixed by one, then by the other."""


@dataclasses.dataclass(frozen=True)
class InitializationConfig:
    """What the weights of a new network begin with."""

    zero_branches: bool = False
    """Let each residual branch begin by adding nothing: its last scale, or its
    last kernel where no scale comes after it, is 0."""
    whiten_stem: bool = False
    """Make the first convolution from the training images, so that it sees
    their patches as uncorrelated numbers."""


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
    """How the weights learn."""

    name: Literal["sgd", "adamw", "muon"] = "sgd"
    """`sgd` has momentum (Nesterov's); `muon` is it for the kernels of
    convolutions, with equal singular values, and Adam for the rest: it learns
    most from few epochs, at a rate of about 0.005 and a decay of 0.1."""
    learning_rate: float = 0.1
    """At a batch of `learning_rate_batch` images; scaled in proportion to the
    batch size used."""
    learning_rate_batch: int = 64
    """See `learning_rate`."""
    schedule: Literal["step", "cosine", "linear", "constant"] = "step"
    """`step`: a tenth at each of `step_at`; `cosine` and `linear`: down to
    0."""
    step_at: tuple[float, ...] = (0.4, 0.6)
    """When the rate falls, as shares of the whole training."""
    warmup_epochs: float = 0.0
    """Epochs of linear growth from 0, with `cosine` and `linear` only; 0.25
    is a quarter of an epoch."""
    momentum: float = 0.9
    """Of `sgd` and, for kernels, of `muon`, where 0.95 is usual."""
    weight_decay: float = 1e-4
    """Of the weights of convolutions and of the classifier: the L2 coefficient
    of the papers for `sgd`, decoupled decay for `adamw` and `muon`."""
    layer_decay: float = 1.0
    """How much slower each part of the network (stem, stages, tail) learns
    than the one after it; the classifier learns at the full rate. For
    fine-tuning; 1 for the same rate everywhere."""
    bias_factor: float = 1.0
    """How much faster the biases of batch normalization learn than the rest;
    64 in some records of CIFAR-10, by `sgd`."""
    ema: float = 0.0
    """Momentum, from update to update, of the average of the weights that is
    evaluated and saved in their place; 0 for none. Its batch-norm statistics
    are measured anew after each epoch, on 2,048 training images."""
    clip_norm: float | None = None
    """Largest norm of all gradients together; None for no limit."""


@dataclasses.dataclass(frozen=True)
class RuntimeConfig:
    """How the machine computes it."""

    precision: Literal["float32", "mixed_bfloat16", "mixed_float16"] = "float32"
    """Weights stay in float32."""
    jit_compile: bool | None = None
    """Compile by XLA; None leaves it to Keras, except on TensorFlow without a
    GPU, which then does not."""
    steps_per_execution: int = 1
    """Training steps between two looks at Python."""
    accumulation: int = 1
    """Batches whose gradients are averaged for one update."""
    remat: bool = False
    """Compute the modules' activations again in the backward pass: less
    memory, more time, the same gradients."""
    deterministic: bool = False
    """Only operations that give the same bits each time; slower, and without
    XLA on TensorFlow."""
    devices: int = 0
    """Accelerators to use; 0 for all there are."""
    resident: bool = False
    """Keep the training images in the accelerator's memory and run each epoch
    as one compiled program: JAX on one device."""


@dataclasses.dataclass(frozen=True)
class Experiment:
    """One training run."""

    model: str = "CifarAttention56"
    """A network of `keras_ratn.list_models()` that classifies images; case
    does not matter."""
    attention: str | None = None
    """Short name of an attention layer in place of the soft masks, or in the
    blocks of a ResNet; `none` for neither; the network's own if None."""
    attention_learning: Literal["residual", "naive"] | None = None
    """(1 + M) * T or M * T; the network's own if None, as the next two."""
    mask_activation: Literal["mixed", "channel", "spatial"] | None = None
    """How logits become a mask."""
    mask_structure: Literal["encoder_decoder", "local_convolution"] | None = (
        None
    )
    """What the mask is computed by."""
    init: str | None = None
    """Weights to start from: a registered name, or an .h5 or .keras file."""
    freeze_until: str | None = None
    """Layers before the first of this name (`stage3`, `predictions`) keep
    their weights."""
    batch_norm_momentum: float | None = None
    """How much of the old the moving statistics keep in a step; the network's
    own, 0.9, if None."""
    epochs: int = 100
    """Passes over the training images."""
    batch_size: int = 64
    """Images of one step, over all devices together."""
    label_smoothing: float = 0.0
    """Share of each label spread over all classes."""
    seed: int = 1704
    """Of weights, data order, augmentation; of the next, too, if that is
    None."""
    data_seed: int | None = None
    """Of held-out images, label noise and the choice of `data.max_images`. One
    for several seeds: several trainings on the very same images."""
    data: DataConfig = dataclasses.field(default_factory=DataConfig)
    augmentation: AugmentationConfig = dataclasses.field(
        default_factory=AugmentationConfig
    )
    initialization: InitializationConfig = dataclasses.field(
        default_factory=InitializationConfig
    )
    optimizer: OptimizerConfig = dataclasses.field(
        default_factory=OptimizerConfig
    )
    runtime: RuntimeConfig = dataclasses.field(default_factory=RuntimeConfig)

    def __post_init__(self):
        _check(self)

    @property
    def seed_of_images(self):
        """What `data.load_source` deals the images by."""
        return self.seed if self.data_seed is None else self.data_seed

    def to_dict(self):
        """All values, as JSON gives them back."""
        return json.loads(json.dumps(dataclasses.asdict(self)))

    @classmethod
    def from_dict(cls, values):
        """The experiment that `to_dict` described."""
        optimizer = dict(values["optimizer"])
        optimizer["step_at"] = tuple(optimizer["step_at"])
        return cls(
            **{
                **values,
                "data": DataConfig(**values["data"]),
                "augmentation": AugmentationConfig(**values["augmentation"]),
                "initialization": InitializationConfig(
                    **values.get("initialization", {})
                ),
                "optimizer": OptimizerConfig(**optimizer),
                "runtime": RuntimeConfig(**values["runtime"]),
            }
        )

    @classmethod
    def read(cls, path):
        """The experiment in a run folder's `config.json`."""
        return cls.from_dict(json.loads(pathlib.Path(path).read_text()))


WARM_SCHEDULES = ("cosine", "linear")

# field -> (what holds, in words)
_RANGES = {
    "epochs": (lambda v: v >= 1, "at least 1"),
    "batch_size": (lambda v: v >= 1, "at least 1"),
    "label_smoothing": (lambda v: 0 <= v < 1, "in [0, 1)"),
    "seed": (lambda v: 0 <= v < 2**32, "from 0 to 2**32 - 1"),
    "data_seed": (lambda v: v is None or v >= 0, "at least 0"),
    "batch_norm_momentum": (
        lambda v: v is None or 0 <= v < 1,
        "in [0, 1), or None",
    ),
    "data.image_size": (lambda v: v >= 32, "at least 32"),
    "data.validation_fraction": (lambda v: 0 <= v < 1, "in [0, 1)"),
    "data.test_fraction": (lambda v: 0 <= v < 1, "in [0, 1)"),
    "data.max_images": (lambda v: v is None or v >= 1, "at least 1"),
    "data.label_noise": (lambda v: 0 <= v <= 1, "in [0, 1]"),
    "data.max_corrupt_images": (lambda v: v >= 0, "at least 0"),
    "data.workers": (lambda v: v >= 1, "at least 1"),
    "augmentation.shift": (lambda v: 0 <= v < 1, "in [0, 1)"),
    "augmentation.min_area": (lambda v: 0 < v <= 1, "in (0, 1]"),
    "augmentation.color": (lambda v: 0 <= v <= 1, "in [0, 1]"),
    "augmentation.cutout": (lambda v: 0 <= v <= 1, "in [0, 1]"),
    "augmentation.mixup": (lambda v: v >= 0, "at least 0"),
    "optimizer.learning_rate": (lambda v: v > 0, "more than 0"),
    "optimizer.learning_rate_batch": (lambda v: v >= 1, "at least 1"),
    "optimizer.step_at": (
        lambda v: all(0 < x < 1 for x in v) and list(v) == sorted(set(v)),
        "rising shares in (0, 1)",
    ),
    "optimizer.warmup_epochs": (lambda v: v >= 0, "at least 0"),
    "optimizer.momentum": (lambda v: 0 <= v < 1, "in [0, 1)"),
    "optimizer.weight_decay": (lambda v: v >= 0, "at least 0"),
    "optimizer.layer_decay": (lambda v: 0 < v <= 1, "in (0, 1]"),
    "optimizer.bias_factor": (lambda v: v > 0, "more than 0"),
    "optimizer.ema": (lambda v: 0 <= v < 1, "in [0, 1)"),
    "optimizer.clip_norm": (lambda v: v is None or v > 0, "more than 0"),
    "runtime.steps_per_execution": (lambda v: v >= 1, "at least 1"),
    "runtime.accumulation": (lambda v: v >= 1, "at least 1"),
    "runtime.devices": (lambda v: v >= 0, "at least 0"),
}


def _check(experiment):
    for field, (holds, words) in _RANGES.items():
        value = experiment
        for part in field.split("."):
            value = getattr(value, part)
        if not holds(value):
            raise ValueError(
                f"`{field}` must be {words}. Received: {field}={value!r}"
            )
    augmentation = experiment.augmentation
    if augmentation.alternate_flip and not augmentation.flip:
        raise ValueError(
            "`augmentation.alternate_flip` is a way to mirror images. "
            "Received: augmentation.flip=False"
        )
    wanted = [
        field
        for field, value in vars(experiment.initialization).items()
        if value and experiment.init is not None
    ]
    if wanted:
        raise ValueError(
            f"`initialization.{wanted[0]}` would overwrite the weights of "
            f"`init`; give one of them. Received: init={experiment.init!r}"
        )
    optimizer = experiment.optimizer
    if optimizer.warmup_epochs and optimizer.schedule not in WARM_SCHEDULES:
        raise ValueError(
            "`optimizer.warmup_epochs` goes with the schedules "
            f"{' and '.join(WARM_SCHEDULES)} only. "
            f"Received: optimizer.schedule={optimizer.schedule!r}"
        )
    if optimizer.warmup_epochs >= experiment.epochs:
        raise ValueError(
            "`optimizer.warmup_epochs` must be fewer than `epochs`. Received: "
            f"{optimizer.warmup_epochs} of {experiment.epochs}"
        )
    if experiment.data.source != "digits" and not experiment.data.location:
        raise ValueError(
            f"`data.location` is needed with source "
            f"{experiment.data.source!r}: the TFDS name, the folder of images "
            "or the .npz file."
        )


def differences(old, new, prefix=""):
    """Lines `field: old -> new` for two dictionaries of `to_dict`."""
    lines = []
    for key in sorted({*old, *new}):
        before, after = old.get(key), new.get(key)
        if isinstance(before, dict) and isinstance(after, dict):
            lines += differences(before, after, f"{prefix}{key}.")
        elif before != after:
            lines.append(f"{prefix}{key}: {before!r} -> {after!r}")
    return lines
