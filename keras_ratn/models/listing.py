"""All networks that can be built by name."""

import fnmatch

from keras_ratn.models.attention_family import FAMILY_BUILDERS
from keras_ratn.models.pretrained import CHECKPOINTS
from keras_ratn.models.variants import BUILDERS

ALL_BUILDERS = {**BUILDERS, **FAMILY_BUILDERS}


def list_models(pattern="*", pretrained=False):
    """Names of the networks that can be built.

    Residual attention networks have "Attention" in their names; the others
    are those of the attention family: ResNets with any attention, SCNet,
    EPSANet, ResT, EAMLP, and DANet and EANet for segmentation.

    Args:
        pattern: String with the wildcards `*`, `?` and `[...]`; case does not
            matter. Defaults to `"*"`, all of them.
        pretrained: Boolean. Whether to list only networks with registered
            weights. Defaults to `False`.

    Returns:
        Sorted list of strings, each the name of a function of `keras_ratn`.

    Example:

    >>> keras_ratn.list_models("*next*")
    ['AttentionNeXt56', 'AttentionNeXt92']
    >>> keras_ratn.list_models("*scnet*")
    ['SCNet101', 'SCNet50']
    """
    return sorted(
        name
        for name in ALL_BUILDERS
        if fnmatch.fnmatch(name.lower(), pattern.lower())
        and (not pretrained or CHECKPOINTS.get(name.lower()))
    )
