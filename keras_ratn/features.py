"""Feature maps of a network at several sizes, for detection and the like."""


def feature_pyramid(model):
    """Finds the last features of each size in a network.

    A level `"Pn"` is 2 to the power n times smaller than the images. Networks
    with the ImageNet stem have P2 to P5; those with the CIFAR stem P0, P1 and
    P2. Hand the result to `keras.Model` as outputs.

    Args:
        model: `keras.Model` built by this package, with or without top, or
            loaded from a file.

    Returns:
        Dictionary of Keras tensors, largest map first.

    Example:

    >>> model = keras_ratn.CifarAttention56(include_top=False)
    >>> pyramid = keras_ratn.feature_pyramid(model)
    >>> {level: tensor.shape[1:] for level, tensor in pyramid.items()}
    {'P0': (32, 32, 64), 'P1': (16, 16, 128), 'P2': (8, 8, 256)}
    """
    names = [layer.name for layer in model.layers]
    if "stage1_unit" not in names:
        raise ValueError(
            "`feature_pyramid` needs a network of this package: a layer named "
            f"'stage1_unit' was expected. Received: model {model.name!r}, "
            f"whose first layers are {names[:5]}"
        )
    level = 2 if "stem_pool" in names else 0
    pyramid = {}
    group = "stage1"
    for layer in model.layers:
        prefix = layer.name.split("_")[0]
        if prefix.startswith("stage") or prefix in ("tail", "final"):
            if prefix != group and prefix != "final":
                group, level = prefix, level + 1
            pyramid[f"P{level}"] = layer.output
    return pyramid
