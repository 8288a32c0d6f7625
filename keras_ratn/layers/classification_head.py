"""The ends of networks, which remember what the classes are called."""

from collections.abc import Iterable

import keras


def _checked(names, classes):
    """The names as a list of strings, one for each class."""
    if not isinstance(names, Iterable):
        raise ValueError(
            "`class_names` must be a list of strings. "
            f"Received: class_names={names!r}"
        )
    names = [str(name) for name in names]
    if len(names) != classes:
        raise ValueError(
            "`class_names` must hold one name for each class. "
            f"Received {len(names)} names for {classes} classes."
        )
    return names


@keras.saving.register_keras_serializable(package="keras_ratn")
class ClassificationHead(keras.layers.Dense):
    """A dense layer whose units are classes, with names if these are known.

    The names are saved with the model and come back when it is loaded;
    `keras_ratn.decode_predictions` and the exporters read them.

    Args:
        units: Integer. Number of classes.
        class_names: Optional list of `units` strings, in the order of the
            outputs. Defaults to `None`.
        **kwargs: Arguments of `keras.layers.Dense` (`activation`, `dtype`,
            `name`, ...).

    Input shape:
        `(batch_size, features)`.

    Output shape:
        `(batch_size, units)`.

    Example:

    >>> head = keras_ratn.layers.ClassificationHead(2, ["cat", "dog"])
    >>> head.class_names
    ['cat', 'dog']
    """

    def __init__(self, units, class_names=None, **kwargs):
        super().__init__(units, **kwargs)
        self.class_names = class_names

    def __setattr__(self, name, value):
        if name == "class_names" and value is not None:
            value = _checked(value, self.units)
        super().__setattr__(name, value)

    def get_config(self):
        names = self.class_names
        return {
            **super().get_config(),
            "class_names": None if names is None else list(names),
        }


@keras.saving.register_keras_serializable(package="keras_ratn")
class ClassScores(keras.layers.Activation):
    """The activation that ends a network whose classifier is a convolution.

    The names are saved with the model, as those of a `ClassificationHead`.

    Args:
        classes: Integer. Number of classes.
        class_names: Optional list of `classes` strings, in the order of the
            outputs. Defaults to `None`.
        activation: String or callable, applied to each element; `None` for
            none. Defaults to `None`.
        **kwargs: Arguments of `keras.layers.Activation` (`dtype`, `name`).

    Input shape:
        Any.

    Output shape:
        The input's.

    Example:

    >>> scores = keras_ratn.layers.ClassScores(2, ["road", "sky"])
    >>> scores.class_names
    ['road', 'sky']
    """

    def __init__(self, classes, class_names=None, activation=None, **kwargs):
        super().__init__(activation, **kwargs)
        self.classes = classes
        self.class_names = class_names

    def __setattr__(self, name, value):
        if name == "class_names" and value is not None:
            value = _checked(value, self.classes)
        super().__setattr__(name, value)

    def get_config(self):
        names = self.class_names
        return {
            **super().get_config(),
            "classes": self.classes,
            "class_names": None if names is None else list(names),
        }
