"""Layers made of layers."""

import functools

import keras


def layers_inside(layer, seen=None):
    """Each layer inside a layer or a model, and this itself, once.

    Args:
        layer: A `keras.layers.Layer`, or a model.
    """
    seen = set() if seen is None else seen
    if id(layer) in seen:
        return
    seen.add(id(layer))
    yield layer
    # Composite layers keep their parts in attributes and in lists.
    for part in vars(layer).values():
        for item in part if isinstance(part, (list, tuple)) else [part]:
            if isinstance(item, keras.layers.Layer):
                yield from layers_inside(item, seen)


class CompositeLayer(keras.Layer):
    """A layer whose parts are made in `build`, and are as frozen as it is.

    A layer that was frozen comes back frozen from a file or as a clone before
    its parts are there; Keras leaves those trainable. It would forget, too,
    which parts `Model.quantize` has quantized, and could not be loaded again.

    Args:
        quantized_parts: Optional dictionary, from the path of a part inside
            this layer to its serialized `QuantizationConfig`. For files.
        **kwargs: Base layer arguments.
    """

    def __init__(self, quantized_parts=None, **kwargs):
        super().__init__(**kwargs)
        self.quantized_parts = dict(quantized_parts or {})

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        if "build" in vars(cls):
            cls.build = _as_it_was(cls.build)

    def get_config(self):
        config = super().get_config()
        quantized = dict(self.quantized_parts)
        if self.built:
            quantized = {
                _place(part, self): keras.saving.serialize_keras_object(
                    part.quantization_config
                )
                for part in layers_inside(self)
                if part.quantization_mode is not None
            }
        # Most layers have none: their files are as they always were.
        return {**config, "quantized_parts": quantized} if quantized else config


def _place(part, layer):
    return part.path.removeprefix(f"{layer.path}/")


def _as_it_was(build):
    @functools.wraps(build)
    def build_and_restore(self, *args, **kwargs):
        build(self, *args, **kwargs)
        parts = {_place(part, self): part for part in layers_inside(self)}
        for place, config in self.quantized_parts.items():
            parts[place].quantize(
                config=keras.saving.deserialize_keras_object(config)
            )
        if not self.trainable:
            # TensorFlow overlooks attributes that do not change.
            self.trainable = True
            self.trainable = False

    return build_and_restore
