"""The networks that experiments name: the package's own and a few more."""

import dataclasses
import functools

import keras

import keras_ratn
from keras_ratn import Architecture
from keras_ratn.models import FAMILY_BUILDERS

from .errors import RunError

_SMALL = Architecture(
    stem="cifar",
    stem_filters=8,
    stage_filters=(16, 32),
    num_modules=(1, 1),
    mask_depths=(2, 1),
    tail_filters=None,
    num_tail_units=0,
)

ARCHITECTURES = {
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
ARCHITECTURES["tiny_resnet"] = dataclasses.replace(
    _SMALL, num_modules=(0, 0), num_closing_units=4
)
for _modules in (2, 3, 4):
    ARCHITECTURES[f"tiny{_modules}"] = dataclasses.replace(
        _SMALL, num_modules=(_modules, _modules)
    )
# For comparing attentions: modules only where there are the 64 channels that
# pyramid squeeze attention needs, and few enough positions for attention
# whose cost grows with their square.
ARCHITECTURES["common_ground"] = dataclasses.replace(
    _SMALL,
    stage_filters=(32, 64, 128),
    num_modules=(0, 1, 1),
    mask_depths=(1, 2, 1),
)
ARCHITECTURES["common_ground_photos"] = dataclasses.replace(
    ARCHITECTURES["common_ground"], stem="imagenet", stem_filters=16
)

# The attention family's classifiers, and ResNets for images of CIFAR's size.
CLASSIFIERS = {
    name.lower(): builder
    for name, builder in FAMILY_BUILDERS.items()
    if not name.startswith(("DANet", "EANet"))
}
CLASSIFIERS |= {
    f"cifar{name}": functools.partial(builder, stem="cifar")
    for name, builder in CLASSIFIERS.items()
    if name.startswith("resnet")
}


def architecture(name):
    """The `Architecture` of that name, in any case."""
    known = {**keras_ratn.VARIANTS, **ARCHITECTURES}
    if name.lower() not in known:
        raise RunError(
            f"There is no network {name!r}. Known, in any case: "
            f"{', '.join([*known, *CLASSIFIERS])}"
        )
    return known[name.lower()]


def build_network(config, class_names, channels=3):
    """The network of an experiment, for pixels 0-255.

    Args:
        config: `Experiment`.
        class_names: List of strings, one for each class.
        channels: Integer. Channels of the images. Defaults to `3`.

    Returns:
        A `keras.Model` with the layers of `config.freeze_until` frozen.
    """
    size, name = config.data.image_size, config.model.lower()
    if name in CLASSIFIERS:
        builder = functools.partial(
            CLASSIFIERS[name], **_classifier_options(config)
        )
    else:
        builder = functools.partial(
            keras_ratn.ResidualAttentionNetwork,
            architecture(name),
            attention=config.attention,
            attention_learning=config.attention_learning,
            mask_activation=config.mask_activation,
            mask_structure=config.mask_structure,
            remat=config.runtime.remat,
        )
    network = builder(
        weights=config.init,
        input_shape=(size, size, channels),
        classes=len(class_names),
        name=name,
        class_names=class_names,
    )
    if config.freeze_until is not None:
        freeze(network, config.freeze_until)
    return network


def _classifier_options(config):
    """What a network without soft masks takes of the experiment's choices."""
    choices = {
        "attention_learning": config.attention_learning,
        "mask_activation": config.mask_activation,
        "mask_structure": config.mask_structure,
        "runtime.remat": config.runtime.remat,
    }
    if "resnet" not in config.model.lower():
        choices["attention"] = config.attention
    given = [name for name, value in choices.items() if value]
    if given:
        raise RunError(
            f"The network {config.model!r} has no choice of "
            f"{', '.join(given)}. Leave it out, or train a residual attention "
            f"network, such as {', '.join(ARCHITECTURES)}."
        )
    if config.attention in (None, "none"):
        return {}
    return {"attention": config.attention}


def freeze(network: keras.Model, until):
    """Stops the layers before the first whose name begins with `until`.

    Their batch normalization keeps its statistics too.
    """
    names = [layer.name for layer in network.layers]
    first = [i for i, name in enumerate(names) if name.startswith(until)]
    if not first:
        raise RunError(
            f"`freeze_until` names no layer: {until!r}. The layers are "
            f"{', '.join(names)}"
        )
    for layer in network.layers[: first[0]]:
        layer.trainable = False
