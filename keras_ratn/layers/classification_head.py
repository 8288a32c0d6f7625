"""The classifier of a network, which remembers what its classes are called."""

import keras


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
            value = self._checked(value)
        super().__setattr__(name, value)

    def _checked(self, names):
        names = [str(name) for name in names]
        if len(names) != self.units:
            raise ValueError(
                "`class_names` must hold one name for each class. "
                f"Received {len(names)} names for {self.units} classes."
            )
        return names

    def get_config(self):
        names = self.class_names
        return {
            **super().get_config(),
            "class_names": None if names is None else list(names),
        }
