"""What the builders of networks say in common: docstrings are completed."""

import inspect

_COMMON = """\
Args:
    include_top: Boolean. Whether the network ends in a classifier.
        Defaults to `True`.
    weights: `None` for random weights, the name of a registered
        checkpoint, or the path of a `.h5` or `.keras` file of the
        same network. Defaults to `None`.
    input_tensor: Optional Keras tensor to build upon. Defaults to `None`.
    input_shape: Optional triple without the batch size, in the order of
        `data_format`. Height and width are at least 32 or `None`; any
        number of channels works. Defaults to the size that the network
        is meant for, with 3 channels.
    pooling: `None`, `"avg"` or `"max"`: what ends a network without top.
        Defaults to `None`, the features themselves.
    classes: Integer. Number of classes. Defaults to that of the
        `weights`; without, to that of the data set that the network is
        meant for: 1000 (ImageNet), 10 with a CIFAR stem, 19 (Cityscapes)
        for DANet, 21 (Pascal VOC) for EANet.
    classifier_activation: String, callable or `None` for logits. Defaults
        to `"softmax"`, to `None` where pixels are classified.
    name: String. Name of the model. Defaults to the function's, in lower
        case."""

_LAST = """\
    include_preprocessing: Boolean. Whether the network takes pixels 0-255
        and scales them itself. Defaults to `True`.
    data_format: String, `"channels_last"` or `"channels_first"`. Defaults
        to Keras's global setting.
    class_names: Optional list of `classes` strings, kept in the model.
        Defaults to those in the `weights`, if they have any.

Returns:
    A functional `keras.Model`. The classifier computes in float32
    whatever the precision of the rest."""


def shared_arguments(build):
    """A decorator: `{common}` and `{last}` in a docstring become their text.

    They stand where the arguments that all builders share belong: before a
    builder's own ones, and after them.
    """
    text = inspect.getdoc(build)
    text = text.replace("{common}\n", f"{_COMMON}\n")
    build.__doc__ = text.replace("{last}", _LAST)
    return build
