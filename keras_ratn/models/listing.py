"""All networks that can be built by name."""

import difflib
import fnmatch
import pathlib

import keras

from keras_ratn.models.named import NETWORKS
from keras_ratn.models.pretrained import CHECKPOINTS
from keras_ratn.models.pretrained import packaged_file


def list_models(pattern: str = "*", pretrained: bool = False) -> list[str]:
    """Names of the networks that can be built.

    Those of the paper have "Attention" in their names. Those of the attention
    family are ResNets with any attention, SCNet, EPSANet, ResT, EAMLP, and
    DANet and EANet for segmentation. Both are functions of `keras_ratn`, too.
    The rest are small, such as `narrow`, or the paper's baseline `resnet164`.

    Args:
        pattern: String with the wildcards `*`, `?` and `[...]`; case does not
            matter. Defaults to `"*"`, all of them.
        pretrained: Boolean. Whether to list only networks with registered
            weights, which `list_weights` names. Defaults to `False`.

    Returns:
        Sorted list of strings, which `create_model` takes.

    Example:

    >>> keras_ratn.list_models("*next*")
    ['AttentionNeXt56', 'AttentionNeXt92']
    >>> keras_ratn.list_models("*scnet*")
    ['SCNet101', 'SCNet50']
    """
    return sorted(
        network.name
        for key, network in NETWORKS.items()
        if fnmatch.fnmatch(key, pattern.lower())
        and (not pretrained or CHECKPOINTS.get(key))
    )


def list_weights(pattern: str = "*") -> list[str]:
    """Names of the trained networks that can be loaded, weights and all.

    Args:
        pattern: String with the wildcards `*`, `?` and `[...]`; case does not
            matter. Defaults to `"*"`, all of them.

    Returns:
        Sorted list of strings `"NETWORK:WEIGHTS"`: what `create_model` and
        the commands of `ratn` take, and the builder NETWORK as
        `NETWORK(weights="WEIGHTS")`.

    Example:

    >>> keras_ratn.list_weights("NoSuchNetwork*")
    []
    """
    names = (
        f"{network.name}:{weights}"
        for key, network in NETWORKS.items()
        for weights in CHECKPOINTS.get(key, {})
    )
    return sorted(
        n for n in names if fnmatch.fnmatch(n.lower(), pattern.lower())
    )


def create_model(name: str, **options) -> keras.Model:
    """Builds a network by its name.

    Args:
        name: String, one of `list_models()` or of `list_weights()`; the case
            of the network does not matter.
        **options: Arguments of the network's builder.

    Returns:
        A functional `keras.Model`.

    Raises:
        ValueError: No network or no weights have this name.

    Example:

    >>> model = keras_ratn.create_model("cifarattention56", classes=5)
    >>> model.output_shape
    (None, 5)
    """
    network, _, weights = name.partition(":")
    known = NETWORKS.get(network.lower())
    if known is None:
        near = difflib.get_close_matches(network.lower(), NETWORKS)
        near = ", ".join(NETWORKS[n].name for n in near)
        raise ValueError(
            "`name` must be one of `keras_ratn.list_models()` or of "
            f"`keras_ratn.list_weights()` ({near or 'none that is like it'}). "
            f"Received: name={name!r}"
        )
    if weights:
        options = {"weights": weights, **options}
    return known.build(**options)


def int8_file(name: str) -> pathlib.Path:
    """The all-integer LiteRT file that belongs to trained weights.

    Args:
        name: String, one of `list_weights()`.

    Returns:
        `pathlib.Path` of a `.tflite` file in the package, ready for a phone:
        it takes pixels 0-255 as uint8.

    Raises:
        ValueError: There are no such weights, or no such file of them.
    """
    network, _, weights = name.partition(":")
    checkpoint = CHECKPOINTS.get(network.lower(), {}).get(weights)
    if checkpoint is None or checkpoint.int8_source is None:
        having = [
            known
            for known in list_weights()
            for network, weights in [known.split(":")]
            if CHECKPOINTS[network.lower()][weights].int8_source
        ]
        raise ValueError(
            "`name` must be one of the trained networks with an int8 file "
            f"({', '.join(having) or 'none yet'}). Received: name={name!r}"
        )
    return packaged_file(checkpoint.int8_source, checkpoint.int8_sha256)
