"""The one builder of residual attention networks."""

import dataclasses

import keras

from keras_ratn.layers import _common
from keras_ratn.layers.attention_module import AttentionModule
from keras_ratn.layers.classification_head import ClassificationHead
from keras_ratn.layers.trunk_units import UNITS
from keras_ratn.models.architecture import Architecture
from keras_ratn.models.architecture import VARIANTS
from keras_ratn.models.pretrained import load_weights
from keras_ratn.models.pretrained import resolve_weights
from keras_ratn.preprocessing import preprocessing_layer

MIN_SIZE = 32


def ResidualAttentionNetwork(
    architecture,
    include_top=True,
    weights=None,
    input_tensor=None,
    input_shape=None,
    pooling=None,
    classes=None,
    classifier_activation="softmax",
    name=None,
    *,
    include_preprocessing=True,
    attention_learning=None,
    mask_activation=None,
    mask_structure=None,
    interpolation=None,
    data_format=None,
    remat=False,
    class_names=None,
):
    """Builds the residual attention network that `architecture` describes.

    The named builders (`Attention56`, `CifarAttention92`, ...) are this
    function with a row of the table `keras_ratn.models.VARIANTS`. Use it
    directly for a network of your own.

    Reference:
    - [Residual Attention Network for Image Classification (Wang et al., 2017)](
        https://arxiv.org/abs/1704.06904)

    Args:
        architecture: `keras_ratn.Architecture`. The numbers of the network.
        include_top: Boolean. Whether the network ends in pooling and a
            classifier. Defaults to `True`.
        weights: `None` for random weights, the name of a registered
            checkpoint, or the path of a `.weights.h5` or `.keras` file of the
            same architecture. Defaults to `None`.
        input_tensor: Optional Keras tensor to build upon. Defaults to `None`.
        input_shape: Optional triple without the batch size, in the order of
            `data_format`. Height and width are at least 32 or `None`; any
            number of channels works. Defaults to the family's own: 224x224x3
            (ImageNet stem), 32x32x3 (CIFAR stem).
        pooling: `None`, `"avg"` or `"max"`: what ends a network without top
            (the 4D features, or their mean or maximum over the positions).
            Defaults to `None`.
        classes: Integer. Number of classes. Defaults to the family's own:
            1000 (ImageNet stem), 10 (CIFAR stem).
        classifier_activation: String, callable or `None` for logits. Defaults
            to `"softmax"`.
        name: String. Name of the model. Defaults to
            `"residual_attention_network"`.
        include_preprocessing: Boolean. Whether the network takes pixels 0-255
            and scales them itself: by the family's mean and deviation for 3
            channels, to [-1, 1] for any other number. Otherwise give it what
            `keras_ratn.preprocess_input` returns. Defaults to `True`.
        attention_learning: String, `"residual"` or `"naive"`. Defaults to the
            architecture's, as do the next three.
        mask_activation: String, `"mixed"`, `"channel"` or `"spatial"`.
        mask_structure: String, `"encoder_decoder"` or `"local_convolution"`.
        interpolation: String, `"bilinear"`, `"bilinear_align_corners"` or
            `"transpose"`.
        data_format: String, `"channels_last"` or `"channels_first"`. Defaults
            to Keras's global setting.
        remat: Boolean. Whether each Attention Module computes its activations
            again for the backward pass, to save memory. Defaults to `False`.
        class_names: Optional list of `classes` strings, kept in the model.
            Defaults to `None`.

    Returns:
        A functional `keras.Model`. Classifier and its pooling compute in
        float32 whatever the precision of the rest.

    Example:

    >>> architecture = keras_ratn.Architecture(
    ...     stem="cifar", stem_filters=8, stage_filters=(16, 32),
    ...     num_modules=(1, 0), mask_depths=(2, 1), num_tail_units=0)
    >>> model = keras_ratn.ResidualAttentionNetwork(architecture, classes=7)
    >>> model.output_shape
    (None, 7)
    """
    architecture = _with_options(
        architecture,
        attention_learning=attention_learning,
        mask_activation=mask_activation,
        mask_structure=mask_structure,
        interpolation=interpolation,
    )
    data_format = _common.standard_data_format(data_format)
    name = name or "residual_attention_network"
    weights = resolve_weights(
        weights, _variant(architecture), include_top, classes
    )
    if weights is not None and class_names is None and include_top:
        class_names = weights.class_names
    if classes is None:
        classes = architecture.family.classes
    _common.positive_integer("classes", classes)
    if not include_top:
        _common.one_of("pooling", pooling, (None, "avg", "max"))

    inputs = _inputs(architecture, input_tensor, input_shape, data_format)
    x = inputs
    if include_preprocessing:
        x = preprocessing_layer(
            architecture.stem,
            inputs.shape[_common.channel_axis(data_format)],
            data_format=data_format,
            name="preprocessing",
        )(x)
    x = _stem(x, architecture, data_format)
    x = _stages(x, architecture, data_format, remat)
    if include_top:
        # Averaging and softmax need more than half precision.
        x = keras.layers.GlobalAveragePooling2D(
            data_format=data_format, dtype="float32", name="avg_pool"
        )(x)
        x = ClassificationHead(
            classes,
            class_names,
            activation=classifier_activation,
            dtype="float32",
            name="predictions",
        )(x)
    elif pooling == "avg":
        x = keras.layers.GlobalAveragePooling2D(
            data_format=data_format, dtype="float32", name="avg_pool"
        )(x)
    elif pooling == "max":
        x = keras.layers.GlobalMaxPooling2D(
            data_format=data_format, dtype="float32", name="max_pool"
        )(x)

    if input_tensor is not None:
        inputs = keras.utils.get_source_inputs(input_tensor)
    model = keras.Model(inputs, x, name=name)
    if weights is not None:
        load_weights(model, weights.fetch())
    return model


def _variant(architecture):
    """The name in the table of exactly these numbers and choices, if any."""
    for name, known in VARIANTS.items():
        if known == architecture:
            return name
    return None


def _with_options(architecture, **options):
    if not isinstance(architecture, Architecture):
        raise ValueError(
            "`architecture` must be a `keras_ratn.Architecture`. "
            f"Received: architecture={architecture!r} "
            f"(of type {type(architecture).__name__})"
        )
    given = {key: v for key, v in options.items() if v is not None}
    return dataclasses.replace(architecture, **given)


def _inputs(architecture, input_tensor, input_shape, data_format):
    if input_tensor is not None:
        if not keras.utils.is_keras_tensor(input_tensor):
            raise ValueError(
                "`input_tensor` must be a Keras tensor, such as the result "
                "of `keras.Input`. "
                f"Received: input_tensor of type {type(input_tensor).__name__}"
            )
        shape = tuple(input_tensor.shape[1:])
        if input_shape is not None and tuple(input_shape) != shape:
            raise ValueError(
                "`input_shape` and the shape of `input_tensor` must agree; "
                "give only one of them. Received: "
                f"input_shape={tuple(input_shape)}, input_tensor of shape "
                f"{tuple(input_tensor.shape)}"
            )
        _check_input_shape(shape, data_format)
        return input_tensor
    if input_shape is None:
        size = architecture.family.size
        input_shape = (size, size, 3)
        if data_format == "channels_first":
            input_shape = (3, size, size)
    input_shape = tuple(input_shape)
    _check_input_shape(input_shape, data_format)
    return keras.Input(input_shape, name="images")


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


def _stem(x, architecture, data_format):
    """`(H, W, C)` to a quarter of the size ("imagenet") or to the same."""
    policy = keras.config.dtype_policy()
    common = {"data_format": data_format, "dtype": policy}
    filters = architecture.stem_filters
    if architecture.stem == "imagenet":
        x = keras.layers.ZeroPadding2D(
            3, data_format=data_format, name="stem_padding"
        )(x)
        x = _common.convolution(filters, 7, 2, name="stem_conv", **common)(x)
    else:
        x = _common.convolution(filters, 3, name="stem_conv", **common)(x)
        if not UNITS[architecture.unit].ends_activated:
            return x  # the first unit begins with BN and ReLU
    x = _common.batch_normalization(name="stem_bn", **common)(x)
    x = keras.layers.ReLU(name="stem_relu")(x)
    if architecture.stem == "imagenet":
        x = _common.max_pooling(name="stem_pool", **common)(x)
    return x


def _stages(x, architecture, data_format, remat):
    unit = UNITS[architecture.unit]
    for index, filters in enumerate(architecture.stage_filters):
        stage = f"stage{index + 1}"
        x = unit(
            filters,
            strides=1 if index == 0 else 2,
            data_format=data_format,
            name=f"{stage}_unit",
        )(x)
        for module in range(architecture.num_modules[index]):
            x = AttentionModule(
                filters,
                mask_depth=architecture.mask_depths[index],
                num_pre_units=architecture.num_pre_units,
                num_trunk_units=architecture.num_trunk_units,
                num_mask_units=architecture.num_mask_units,
                unit=architecture.unit,
                attention_learning=architecture.attention_learning,
                mask_activation=architecture.mask_activation,
                mask_structure=architecture.mask_structure,
                interpolation=architecture.interpolation,
                data_format=data_format,
                remat=remat,
                name=f"{stage}_attention{module + 1}",
            )(x)
        for closing in range(architecture.num_closing_units):
            x = unit(
                filters,
                data_format=data_format,
                name=f"{stage}_closing_unit{closing + 1}",
            )(x)
    for tail in range(architecture.num_tail_units):
        x = unit(
            architecture.tail_filters,
            strides=2 if tail == 0 else 1,
            data_format=data_format,
            name=f"tail_unit{tail + 1}",
        )(x)
    if unit.ends_activated:
        return x
    x = _common.batch_normalization(
        data_format=data_format,
        dtype=keras.config.dtype_policy(),
        name="final_bn",
    )(x)
    return keras.layers.ReLU(name="final_relu")(x)
