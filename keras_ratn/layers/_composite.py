"""Layers made of layers."""

import functools

import keras


class CompositeLayer(keras.Layer):
    """A layer whose parts are made in `build`, and are as frozen as it is.

    A layer that was frozen comes back frozen from a file or as a clone before
    its parts are there; Keras leaves those trainable.
    """

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        if "build" in vars(cls):
            cls.build = _then_frozen(cls.build)


def _then_frozen(build):
    @functools.wraps(build)
    def build_and_freeze(self, *args, **kwargs):
        build(self, *args, **kwargs)
        if not self.trainable:
            # TensorFlow overlooks attributes that do not change.
            self.trainable = True
            self.trainable = False

    return build_and_freeze
