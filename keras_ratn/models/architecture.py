"""The numbers of every network: the only place where they stand."""

import dataclasses

from keras_ratn.layers._common import one_of
from keras_ratn.layers._common import positive_integer
from keras_ratn.layers.attention_module import ATTENTION_LEARNING
from keras_ratn.layers.attention_module import MASK_STRUCTURES
from keras_ratn.layers.mask_activation import MASK_ACTIVATIONS
from keras_ratn.layers.registry import checked_attention
from keras_ratn.layers.trunk_units import UNITS
from keras_ratn.layers.upsampling import INTERPOLATIONS


@dataclasses.dataclass(frozen=True)
class Family:
    """What the networks for one kind of images have in common.

    Args:
        size: Integer. Default height and width, in pixels.
        classes: Integer. Default number of classes.
        mean: Tuple of 3 floats. Mean of each colour, in pixel values 0-255.
        deviation: Tuple of 3 floats. Standard deviation of each colour, in
            pixel values 0-255.
    """

    size: int
    classes: int
    mean: tuple
    deviation: tuple


FAMILIES = {
    # Statistics of the training images, as everyone uses them.
    "imagenet": Family(
        size=224,
        classes=1000,
        mean=(123.675, 116.28, 103.53),
        deviation=(58.395, 57.12, 57.375),
    ),
    "cifar": Family(
        size=32,
        classes=10,
        mean=(125.307, 122.950, 113.865),
        deviation=(62.993, 62.089, 66.705),
    ),
}

# Arguments of an attention layer that are no options.
SET_BY_NETWORK = {
    "attention": {"data_format", "name"},
    "unit_attention": {"data_format", "dtype", "name"},
}

UNIT_DEPTH = 3  # weighted layers of a unit


@dataclasses.dataclass(frozen=True)
class Architecture:
    """The numbers and choices that make one residual attention network.

    The network is a stem, then stages (one unit, Attention Modules, closing
    units), then tail units, then the classifier. Derive your own with
    `dataclasses.replace` and hand it to `ResidualAttentionNetwork`.

    Reference:
    - [Residual Attention Network for Image Classification (Wang et al., 2017)](
        https://arxiv.org/abs/1704.06904), table 2

    Args:
        stem: String, `"imagenet"` (7x7 convolution and max-pool, a quarter of
            the size) or `"cifar"` (3x3 convolution, full size). Also sets the
            family's default size, classes and pixel statistics.
        stem_filters: Integer. Channels of the stem.
        stage_filters: Tuple of integers. Channels of each stage. Where a stage
            gets fewer than 16, TensorFlow 2.21 may crash in training on
            processors with AVX-512 (oneDNN #6035); `TF_ENABLE_ONEDNN_OPTS=0`
            avoids it.
        num_modules: Tuple of integers. Attention Modules in each stage
            (*m*); `0` is allowed.
        mask_depths: Tuple of integers. Halvings in the masks of each stage.
        num_closing_units: Integer. Units after the modules of each stage.
        tail_filters: Integer or `None`. Channels of the tail units.
        num_tail_units: Integer. Units after the last stage.
        num_pre_units: Integer. Units before and after the branches (*p*).
        num_trunk_units: Integer. Units in a trunk branch (*t*).
        num_mask_units: Integer. Units between adjacent poolings (*r*).
        unit: String, `"residual"`, `"resnext"` or `"inception"`.
        attention_learning: String, `"residual"` or `"naive"`.
        mask_activation: String, `"mixed"`, `"channel"` or `"spatial"`.
        mask_structure: String, `"encoder_decoder"` or `"local_convolution"`.
        interpolation: String, `"bilinear"`, `"bilinear_align_corners"` or
            `"transpose"`.
        attention: `None` for the soft mask, the short name of an attention
            layer that takes its place, see `keras_ratn.layers.get`, or
            `"none"` for the trunk alone.
        attention_options: Optional dictionary of options of that layer's
            class.
        unit_attention: `None` or the short name of an attention layer inside
            every unit but those of the soft masks.
        unit_attention_options: Optional dictionary of options of that layer's
            class.

    Example:

    >>> tiny = keras_ratn.Architecture(
    ...     stem="cifar", stem_filters=8, stage_filters=(16, 32),
    ...     num_modules=(1, 1), mask_depths=(2, 1), num_closing_units=0,
    ...     num_tail_units=0)
    >>> tiny.depth
    32
    """

    stem: str = "imagenet"
    stem_filters: int = 64
    stage_filters: tuple = (256, 512, 1024)
    num_modules: tuple = (1, 1, 1)
    mask_depths: tuple = (3, 2, 1)
    num_closing_units: int = 0
    tail_filters: int | None = 2048
    num_tail_units: int = 3
    num_pre_units: int = 1
    num_trunk_units: int = 2
    num_mask_units: int = 1
    unit: str = "residual"
    attention_learning: str = "residual"
    mask_activation: str = "mixed"
    mask_structure: str = "encoder_decoder"
    interpolation: str = "bilinear"
    attention: str | None = None
    attention_options: dict | None = None
    unit_attention: str | None = None
    unit_attention_options: dict | None = None

    def __post_init__(self):
        one_of("stem", self.stem, FAMILIES)
        one_of("unit", self.unit, UNITS)
        one_of(
            "attention_learning", self.attention_learning, ATTENTION_LEARNING
        )
        one_of("mask_activation", self.mask_activation, MASK_ACTIVATIONS)
        one_of("mask_structure", self.mask_structure, MASK_STRUCTURES)
        one_of("interpolation", self.interpolation, INTERPOLATIONS)
        if self.attention != "none":
            checked_attention("attention", self.attention)
        checked_attention("unit_attention", self.unit_attention)
        for field in SET_BY_NETWORK:
            self._check_options(field)
        for field in ("stem_filters", "num_trunk_units", "num_mask_units"):
            positive_integer(field, getattr(self, field))
        for field in ("num_pre_units", "num_closing_units", "num_tail_units"):
            positive_integer(field, getattr(self, field), minimum=0)
        self._check_stages()
        if self.num_tail_units:
            positive_integer("tail_filters", self.tail_filters)

    def _check_options(self, field):
        """Of the attention that `field` names."""
        name, options = getattr(self, field), getattr(self, f"{field}_options")
        if options is None:
            return
        if (
            not isinstance(options, dict)
            or set(options) & SET_BY_NETWORK[field]
            or not all(isinstance(key, str) for key in options)
        ):
            taken = ", ".join(map(repr, sorted(SET_BY_NETWORK[field])))
            raise ValueError(
                f"`{field}_options` must be a dictionary of names without "
                f"{taken}, which the network sets itself. "
                f"Received: {field}_options={options!r}"
            )
        if options and name in (None, "none"):
            raise ValueError(
                f"`{field}_options` need the name of a layer as `{field}`. "
                f"Received: {field}={name!r}, {field}_options={options!r}"
            )

    def _check_stages(self):
        for field, minimum in (
            ("stage_filters", 1),
            ("num_modules", 0),
            ("mask_depths", 1),
        ):
            # Lists are taken too: they come from JSON and command lines.
            values = getattr(self, field)
            if not isinstance(values, (list, tuple)) or not values:
                raise ValueError(
                    f"`{field}` must be a tuple with one integer for each "
                    f"stage. Received: {field}={values!r}"
                )
            object.__setattr__(self, field, tuple(values))
            for value in values:
                positive_integer(field, value, minimum)
        lengths = {
            field: len(getattr(self, field))
            for field in ("stage_filters", "num_modules", "mask_depths")
        }
        if len(set(lengths.values())) > 1:
            raise ValueError(
                "`stage_filters`, `num_modules` and `mask_depths` must have "
                "one entry for each stage, so be of the same length. "
                f"Received lengths: {lengths}"
            )

    @property
    def family(self):
        """The `Family` that the stem belongs to."""
        return FAMILIES[self.stem]

    @property
    def depth(self):
        """Weighted layers on the trunk, which is what the names count."""
        units = self.num_tail_units
        for modules in self.num_modules:
            per_module = 2 * self.num_pre_units + self.num_trunk_units
            units += 1 + modules * per_module + self.num_closing_units
        stem_and_classifier = 2
        return UNIT_DEPTH * units + stem_and_classifier


def _imagenet(num_modules, **changes):
    return Architecture(num_modules=num_modules, **changes)


def _cifar(modules_per_stage, **changes):
    return Architecture(
        stem="cifar",
        stem_filters=16,
        stage_filters=(64, 128, 256),
        num_modules=(modules_per_stage,) * 3,
        num_closing_units=1,
        tail_filters=None,
        num_tail_units=0,
        **changes,
    )


_DEEPEST = {"num_pre_units": 2, "num_trunk_units": 4, "num_mask_units": 3}

VARIANTS = {
    "attention56": _imagenet((1, 1, 1)),
    "attention92": _imagenet((1, 2, 3)),
    "attention128": _imagenet((2, 3, 4)),
    "attention164": _imagenet((3, 4, 5)),
    "attention236": _imagenet((5, 6, 7)),
    "attention452": _imagenet((5, 6, 7), **_DEEPEST),
    "attentionnext56": _imagenet((1, 1, 1), unit="resnext"),
    "attentionnext92": _imagenet((1, 2, 3), unit="resnext"),
    "attentioninception56": _imagenet((1, 1, 1), unit="inception"),
    "attentioninception92": _imagenet((1, 2, 3), unit="inception"),
    "cifarattention56": _cifar(1),
    "cifarattention92": _cifar(2),
    "cifarattention128": _cifar(3),
    "cifarattention164": _cifar(4),
    "cifarattention236": _cifar(6),
    "cifarattention452": _cifar(6, **_DEEPEST),
}

_SMALL = Architecture(
    stem="cifar",
    stem_filters=8,
    stage_filters=(16, 32),
    num_modules=(1, 1),
    mask_depths=(2, 1),
    tail_filters=None,
    num_tail_units=0,
)

SMALL_VARIANTS = {
    # The least that has an Attention Module: for smoke tests.
    "smallest": dataclasses.replace(
        _SMALL, stage_filters=(8, 16), num_modules=(0, 1), mask_depths=(1, 1)
    ),
    # Two stages, a quarter of CIFAR's width: for analyses on a laptop.
    "tiny": _SMALL,
    # The ImageNet skeleton at a quarter of its width, with a lighter stem,
    # shorter trunks, flatter masks and no tail: for a few thousand images of
    # about 100 pixels on a processor.
    "narrow": Architecture(
        stem="imagenet",
        stem_filters=16,
        stage_filters=(64, 128, 256),
        mask_depths=(2, 1, 1),
        num_trunk_units=1,
        tail_filters=None,
        num_tail_units=0,
    ),
    # CIFAR's skeleton at half its width, with shorter trunks.
    "half": Architecture(
        stem="cifar",
        stem_filters=16,
        stage_filters=(32, 64, 128),
        mask_depths=(2, 2, 1),
        num_trunk_units=1,
        num_tail_units=0,
    ),
    # The paper's baseline: a pre-activation ResNet, 18 units to a stage.
    "resnet164": Architecture(
        stem="cifar",
        stem_filters=16,
        stage_filters=(64, 128, 256),
        num_modules=(0, 0, 0),
        mask_depths=(1, 1, 1),
        num_closing_units=17,
        tail_filters=None,
        num_tail_units=0,
    ),
}
# A baseline of that width, and more modules.
SMALL_VARIANTS["tiny_resnet"] = dataclasses.replace(
    _SMALL, num_modules=(0, 0), num_closing_units=4
)
for _modules in (2, 3, 4):
    SMALL_VARIANTS[f"tiny{_modules}"] = dataclasses.replace(
        _SMALL, num_modules=(_modules, _modules)
    )
# For comparing attentions: modules only where there are the 64 channels that
# pyramid squeeze attention needs, and few enough positions for attention
# whose cost grows with their square.
SMALL_VARIANTS["common_ground"] = dataclasses.replace(
    _SMALL,
    stage_filters=(32, 64, 128),
    num_modules=(0, 1, 1),
    mask_depths=(1, 2, 1),
)
SMALL_VARIANTS["common_ground_photos"] = dataclasses.replace(
    SMALL_VARIANTS["common_ground"], stem="imagenet", stem_filters=16
)
