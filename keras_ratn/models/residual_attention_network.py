"""The one builder of residual attention networks."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Literal

import keras

from keras_ratn.layers import _common
from keras_ratn.layers import registry
from keras_ratn.layers.attention_module import AttentionModule
from keras_ratn.layers.trunk_units import UNITS
from keras_ratn.models._documentation import shared_arguments
from keras_ratn.models._ends import image_classifier
from keras_ratn.models.architecture import Architecture
from keras_ratn.models.architecture import SMALL_VARIANTS
from keras_ratn.models.architecture import VARIANTS
from keras_ratn.models.named import Activation
from keras_ratn.models.named import DataFormat
from keras_ratn.models.named import Pooling
from keras_ratn.models.named import Shape
from keras_ratn.models.named import Weights


def ResidualAttentionNetwork(
    architecture: Architecture,
    include_top: bool = True,
    weights: Weights = None,
    input_tensor: keras.KerasTensor | None = None,
    input_shape: Shape = None,
    pooling: Pooling = None,
    classes: int | None = None,
    classifier_activation: Activation = "softmax",
    name: str | None = None,
    *,
    include_preprocessing: bool = True,
    attention_learning: str | None = None,
    mask_activation: str | None = None,
    mask_structure: str | None = None,
    interpolation: str | None = None,
    data_format: DataFormat = None,
    remat: bool = False,
    class_names: Sequence[str] | None = None,
    attention: str | None = None,
    attention_options: dict | None = None,
    unit_attention: str | None = None,
    unit_attention_options: dict | None = None,
) -> keras.Model:
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
            checkpoint, or the path of a `.h5` or `.keras` file of the
            same architecture. Defaults to `None`.
        input_tensor: Optional Keras tensor to build upon. Defaults to `None`.
        input_shape: Optional triple without the batch size, in the order of
            `data_format`. Height and width are at least 32 or `None`; any
            number of channels works. Defaults to the family's own: 224x224x3
            (ImageNet stem), 32x32x3 (CIFAR stem).
        pooling: `None`, `"avg"` or `"max"`: what ends a network without top
            (the 4D features, or their mean or maximum over the positions).
            Defaults to `None`.
        classes: Integer. Number of classes. Defaults to that of the
            `weights`; without, to the family's own: 1000 (ImageNet stem), 10
            (CIFAR stem).
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
            Defaults to those in the `weights`, if they have any.
        attention: Short name of an attention layer to stand in place of the
            soft mask, after the same trunk, see `keras_ratn.layers.get`; or
            `"none"` for the trunk alone. Defaults to the architecture's, as
            do the next three.
        attention_options: Dictionary of options of that layer's class.
        unit_attention: Short name of an attention layer to stand inside every
            unit but those of the soft masks.
        unit_attention_options: Dictionary of options of that layer's class.

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
        attention=attention,
        attention_options=attention_options,
        unit_attention=unit_attention,
        unit_attention_options=unit_attention_options,
    )
    _check_that_masks_are_there(
        architecture,
        attention_learning=attention_learning,
        mask_activation=mask_activation,
        mask_structure=mask_structure,
        interpolation=interpolation,
        remat=remat or None,
    )

    def body(x, data_format):
        x = _stem(x, architecture, data_format)
        return _stages(x, architecture, data_format, remat)

    return image_classifier(
        body,
        variant=_variant(architecture),
        family=architecture.stem,
        include_top=include_top,
        weights=weights,
        input_tensor=input_tensor,
        input_shape=input_shape,
        pooling=pooling,
        classes=classes,
        classifier_activation=classifier_activation,
        name=name or "residual_attention_network",
        include_preprocessing=include_preprocessing,
        data_format=data_format,
        class_names=class_names,
    )


@shared_arguments
def variant_network(
    variant: str,
    include_top: bool = True,
    weights: Weights = None,
    input_tensor: keras.KerasTensor | None = None,
    input_shape: Shape = None,
    pooling: Pooling = None,
    classes: int | None = None,
    classifier_activation: Activation = "softmax",
    name: str | None = None,
    *,
    include_preprocessing: bool = True,
    attention_learning: Literal["residual", "naive"] = "residual",
    mask_activation: Literal["mixed", "channel", "spatial"] = "mixed",
    mask_structure: Literal[
        "encoder_decoder", "local_convolution"
    ] = "encoder_decoder",
    interpolation: Literal[
        "bilinear", "bilinear_align_corners", "transpose"
    ] = "bilinear",
    data_format: DataFormat = None,
    remat: bool = False,
    class_names: Sequence[str] | None = None,
) -> keras.Model:
    """A row of `VARIANTS` as a network.

    Reference:
    - [Residual Attention Network for Image Classification (Wang et al., 2017)](
        https://arxiv.org/abs/1704.06904), section 4

    {common}
        attention_learning: String, `"residual"` for `(1 + M) * T` or
            `"naive"` for `M * T`. Defaults to `"residual"`.
        mask_activation: String, `"mixed"`, `"channel"` or `"spatial"`.
            Defaults to `"mixed"`.
        mask_structure: String, `"encoder_decoder"` or `"local_convolution"`.
            Defaults to `"encoder_decoder"`.
        interpolation: String, `"bilinear"`, `"bilinear_align_corners"` (as
            the authors' code) or `"transpose"` (learned). Defaults to
            `"bilinear"`.
        remat: Boolean. Whether each Attention Module computes its activations
            again for the backward pass, to save memory. Defaults to `False`.
    {last}
    """
    return ResidualAttentionNetwork(
        VARIANTS[variant],
        include_top,
        weights,
        input_tensor,
        input_shape,
        pooling,
        classes,
        classifier_activation,
        name,
        include_preprocessing=include_preprocessing,
        attention_learning=attention_learning,
        mask_activation=mask_activation,
        mask_structure=mask_structure,
        interpolation=interpolation,
        data_format=data_format,
        remat=remat,
        class_names=class_names,
    )


def _variant(architecture):
    """The name in the table of exactly these numbers and choices, if any."""
    for name, known in {**SMALL_VARIANTS, **VARIANTS}.items():
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


def _check_that_masks_are_there(architecture, **options):
    """Options of the Attention Module mean nothing where another layer is."""
    given = {key: v for key, v in options.items() if v is not None}
    if given and architecture.attention is not None:
        raise ValueError(
            f"{', '.join(f'`{key}`' for key in given)} belong to the soft "
            f"mask, which `attention={architecture.attention!r}` replaces. "
            f"Received: {given}. Leave them out."
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
    unit = _unit_maker(architecture, data_format)
    for index, filters in enumerate(architecture.stage_filters):
        stage = f"stage{index + 1}"
        strides = 1 if index == 0 else 2
        x = unit(filters, strides=strides, name=f"{stage}_unit")(x)
        for module in range(architecture.num_modules[index]):
            name = f"{stage}_attention{module + 1}"
            if architecture.attention is None:
                x = _attention_module(
                    architecture, index, data_format, remat, name
                )(x)
            else:
                x = _attended_trunk(x, architecture, index, data_format, name)
        for closing in range(architecture.num_closing_units):
            name = f"{stage}_closing_unit{closing + 1}"
            x = unit(filters, name=name)(x)
    for tail in range(architecture.num_tail_units):
        x = unit(
            architecture.tail_filters,
            strides=2 if tail == 0 else 1,
            name=f"tail_unit{tail + 1}",
        )(x)
    if UNITS[architecture.unit].ends_activated:
        return x
    x = _common.batch_normalization(
        data_format=data_format,
        dtype=keras.config.dtype_policy(),
        name="final_bn",
    )(x)
    return keras.layers.ReLU(name="final_relu")(x)


def _unit_maker(architecture, data_format):
    return functools.partial(
        UNITS[architecture.unit],
        data_format=data_format,
        attention=architecture.unit_attention,
        attention_options=architecture.unit_attention_options,
    )


def _attention_module(architecture, stage, data_format, remat, name):
    return AttentionModule(
        architecture.stage_filters[stage],
        mask_depth=architecture.mask_depths[stage],
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
        unit_attention=architecture.unit_attention,
        unit_attention_options=architecture.unit_attention_options,
        name=name,
    )


def _attended_trunk(x, architecture, stage, data_format, name):
    """An Attention Module's units, with another attention or none."""
    unit = _unit_maker(architecture, data_format)
    filters = architecture.stage_filters[stage]

    def chain(x, kind, number):
        for index in range(number):
            x = unit(filters, name=f"{name}_{kind}_unit{index + 1}")(x)
        return x

    x = chain(x, "pre", architecture.num_pre_units)
    x = chain(x, "trunk", architecture.num_trunk_units)
    if architecture.attention != "none":
        x = registry.get(
            architecture.attention,
            **(architecture.attention_options or {}),
            data_format=data_format,
            name=name,
        )(x)
    return chain(x, "post", architecture.num_pre_units)
