"""The two ends of every classifier: images in, class scores out."""

import operator

import keras

from keras_ratn.layers import _common
from keras_ratn.layers.classification_head import ClassificationHead
from keras_ratn.models.architecture import FAMILIES
from keras_ratn.models.pretrained import load_weights
from keras_ratn.models.pretrained import resolve_classes
from keras_ratn.models.pretrained import resolve_weights
from keras_ratn.preprocessing import preprocessing_layer

MIN_SIZE = 32


def image_classifier(
    body,
    *,
    variant,
    family,
    include_top,
    weights,
    input_tensor,
    input_shape,
    pooling,
    classes,
    classifier_activation,
    name,
    include_preprocessing,
    data_format,
    class_names,
):
    """Builds the network whose features `body` computes.

    Args:
        body: Function of the preprocessed images and the data format. It
            returns maps, or vectors, which are not pooled any more.
        variant: String or `None`. What registered checkpoints go by.
        family: String, a key of `FAMILIES`: default size, classes and pixel
            statistics.
        **others: As in every builder.

    Returns:
        A functional `keras.Model`.
    """
    data_format = _common.standard_data_format(data_format)
    weights = resolve_weights(weights, variant, include_top, classes)
    classes, class_names = resolve_classes(
        weights, classes, class_names, FAMILIES[family].classes
    )
    if include_top:
        # Made before the rest: a wrong argument is an error at once.
        # Averaging and softmax need more than half precision.
        head = ClassificationHead(
            classes,
            class_names,
            activation=_common.known_activation(
                "classifier_activation", classifier_activation
            ),
            dtype="float32",
            name="predictions",
        )
    else:
        _common.one_of("pooling", pooling, (None, "avg", "max"))
    inputs = image_input(
        input_tensor, input_shape, FAMILIES[family].size, data_format
    )
    x = inputs
    if include_preprocessing:
        x = preprocessing_layer(
            family,
            inputs.shape[_common.channel_axis(data_format)],
            data_format=data_format,
            name="preprocessing",
        )(x)
    x = body(x, data_format)
    x = pool(x, "avg" if include_top else pooling, data_format)
    if include_top:
        x = head(x)
    if input_tensor is not None:
        inputs = keras.utils.get_source_inputs(input_tensor)
    model = keras.Model(inputs, x, name=name)
    if weights is not None:
        load_weights(model, weights.path)
    return model


def pool(x, pooling, data_format):
    """Maps to vectors, in float32, unless `pooling` is None."""
    if pooling is None or len(x.shape) == 2:
        return x
    layer = {
        "avg": keras.layers.GlobalAveragePooling2D,
        "max": keras.layers.GlobalMaxPooling2D,
    }[pooling]
    return layer(
        data_format=data_format, dtype="float32", name=f"{pooling}_pool"
    )(x)


def image_input(input_tensor, input_shape, size, data_format):
    """The tensor of images that a builder's arguments ask for."""
    if input_tensor is not None:
        if not keras.utils.is_keras_tensor(input_tensor):
            raise ValueError(
                "`input_tensor` must be a Keras tensor, such as the result "
                "of `keras.Input`. "
                f"Received: input_tensor of type {type(input_tensor).__name__}"
            )
        shape = tuple(input_tensor.shape[1:])
        if input_shape is not None and _whole_sizes(input_shape) != shape:
            raise ValueError(
                "`input_shape` and the shape of `input_tensor` must agree; "
                "give only one of them. Received: "
                f"input_shape={tuple(input_shape)}, input_tensor of shape "
                f"{tuple(input_tensor.shape)}"
            )
        _check_input_shape(shape, data_format)
        return input_tensor
    if input_shape is None:
        input_shape = (size, size, 3)
        if data_format == "channels_first":
            input_shape = (3, size, size)
    input_shape = _whole_sizes(input_shape)
    _check_input_shape(input_shape, data_format)
    return keras.Input(input_shape, name="images")


def _whole_sizes(shape):
    """The shape as a tuple of integers, of any library's kind, and None."""
    try:
        if isinstance(shape, (str, bytes)) or True in map(_is_boolean, shape):
            raise TypeError
        return tuple(s if s is None else operator.index(s) for s in shape)
    except TypeError:
        raise ValueError(
            "`input_shape` must be a tuple of three integers, of which height "
            "and width may be None, such as (224, 224, 3). "
            f"Received: input_shape={shape!r}"
        ) from None


def _is_boolean(value):
    return isinstance(value, bool)


def _check_input_shape(shape, data_format):
    if len(shape) != 3:
        raise ValueError(
            "`input_shape` must have three entries, without the batch size. "
            f"Received: input_shape={shape}"
        )
    order = "(height, width, channels)"
    channels, size = shape[-1], shape[:2]
    if data_format == "channels_first":
        order = "(channels, height, width)"
        channels, size = shape[0], shape[1:]
    if channels is None or channels < 1:
        raise ValueError(
            "The number of channels must be known. Received: "
            f"input_shape={shape} with data_format={data_format!r}, which "
            f"reads as {order}"
        )
    if any(s is not None and s < MIN_SIZE for s in size):
        raise ValueError(
            f"Height and width must be at least {MIN_SIZE}, or None. "
            f"Received: input_shape={shape} with data_format="
            f"{data_format!r}, which reads as {order}. Enlarge the images, "
            "for example with `keras.layers.Resizing` in the data pipeline."
        )
