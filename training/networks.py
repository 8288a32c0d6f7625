"""The networks that experiments name, with the choices that they make."""

import functools

import keras

import keras_ratn
from keras_ratn.models.architecture import SMALL_VARIANTS
from keras_ratn.models.named import NETWORKS

from .errors import RunError


def architecture(name):
    """The `Architecture` of that name, in any case; None if it has none."""
    known = {**SMALL_VARIANTS, **keras_ratn.VARIANTS}
    return known.get(name.lower())


def classifier(name):
    """The builder of that name, in any case, of images to scores."""
    networks = {
        key: network.build
        for key, network in NETWORKS.items()
        if network.task == "classification"
    }
    if name.lower() not in networks:
        raise RunError(
            f"There is no network {name!r}. Known, in any case: "
            f"{', '.join(networks)}"
        )
    return networks[name.lower()]


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
    numbers = architecture(name)
    if numbers is None:
        builder = functools.partial(
            classifier(name), **_classifier_options(config)
        )
    else:
        builder = functools.partial(
            keras_ratn.ResidualAttentionNetwork,
            numbers,
            attention=config.attention,
            attention_learning=config.attention_learning,
            mask_activation=config.mask_activation,
            mask_structure=config.mask_structure,
            remat=config.runtime.remat,
        )
    network = builder(
        weights=config.init,
        input_shape=(size, size, channels),
        data_format="channels_last",  # as the images come
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
            f"network, such as {', '.join(SMALL_VARIANTS)}."
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
