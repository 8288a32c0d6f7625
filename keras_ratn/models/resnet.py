"""ResNet with any attention: the ground on which the papers compare.

Each function spells out its signature, so that `help`, editors and `inspect`
show it, and only forwards. The arguments are explained once, in `_ARGUMENTS`.
"""

import dataclasses

from keras_ratn.models import _documentation
from keras_ratn.models._ends import image_classifier
from keras_ratn.models.residual_backbone import ResidualBackbone

RESNETS = {
    "resnet18": ResidualBackbone((2, 2, 2, 2), "basic"),
    "resnet34": ResidualBackbone((3, 4, 6, 3), "basic"),
    "resnet50": ResidualBackbone((3, 4, 6, 3)),
    "resnet101": ResidualBackbone((3, 4, 23, 3)),
    "resnet152": ResidualBackbone((3, 8, 36, 3)),
}

_ARGUMENTS = """

    The stride of a bottleneck is in its 3x3 convolution ("v1.5"), as in the
    networks that the attention papers compare with.

    Reference:
    - [Deep Residual Learning for Image Recognition (He et al., 2016)](
        https://arxiv.org/abs/1512.03385)
{common}
        attention: `None` or a short name, see
            `keras_ratn.layers.list_attention_layers`. `"bam"` stands between
            the stages, `"psa"` in place of the 3x3 convolutions (the second
            one of a basic block), any other at the end of every block, before
            the shortcut is added. Defaults to `None`, which may be said as
            `"none"` too.
        attention_options: Dictionary of options of the attention's class, or
            a tuple of four such, one for each stage. Defaults to `None`.
        stem: String, `"imagenet"` or `"cifar"` (one 3x3 convolution and no
            pooling, for small images). Defaults to `"imagenet"`.
{last}"""


def _build(variant, stem, attention, attention_options, **arguments):
    backbone = dataclasses.replace(
        RESNETS[variant],
        stem=stem,
        attention=None if attention == "none" else attention,
        attention_options=attention_options or {},
    )
    plain = backbone == RESNETS[variant]
    return image_classifier(
        backbone.features,
        variant=variant if plain else None,
        family=backbone.family,
        **arguments,
    )


@_documentation.documented(_ARGUMENTS)
def ResNet18(
    include_top=True,
    weights=None,
    input_tensor=None,
    input_shape=None,
    pooling=None,
    classes=None,
    classifier_activation="softmax",
    name="resnet18",
    *,
    attention=None,
    attention_options=None,
    stem="imagenet",
    include_preprocessing=True,
    data_format=None,
    class_names=None,
):
    """ResNet-18: basic blocks, 11.7 M parameters."""
    return _build(
        "resnet18",
        attention=attention,
        attention_options=attention_options,
        stem=stem,
        include_top=include_top,
        weights=weights,
        input_tensor=input_tensor,
        input_shape=input_shape,
        pooling=pooling,
        classes=classes,
        classifier_activation=classifier_activation,
        name=name,
        include_preprocessing=include_preprocessing,
        data_format=data_format,
        class_names=class_names,
    )


@_documentation.documented(_ARGUMENTS)
def ResNet34(
    include_top=True,
    weights=None,
    input_tensor=None,
    input_shape=None,
    pooling=None,
    classes=None,
    classifier_activation="softmax",
    name="resnet34",
    *,
    attention=None,
    attention_options=None,
    stem="imagenet",
    include_preprocessing=True,
    data_format=None,
    class_names=None,
):
    """ResNet-34: basic blocks, 21.8 M parameters."""
    return _build(
        "resnet34",
        attention=attention,
        attention_options=attention_options,
        stem=stem,
        include_top=include_top,
        weights=weights,
        input_tensor=input_tensor,
        input_shape=input_shape,
        pooling=pooling,
        classes=classes,
        classifier_activation=classifier_activation,
        name=name,
        include_preprocessing=include_preprocessing,
        data_format=data_format,
        class_names=class_names,
    )


@_documentation.documented(_ARGUMENTS)
def ResNet50(
    include_top=True,
    weights=None,
    input_tensor=None,
    input_shape=None,
    pooling=None,
    classes=None,
    classifier_activation="softmax",
    name="resnet50",
    *,
    attention=None,
    attention_options=None,
    stem="imagenet",
    include_preprocessing=True,
    data_format=None,
    class_names=None,
):
    """ResNet-50: bottleneck blocks, 25.6 M parameters."""
    return _build(
        "resnet50",
        attention=attention,
        attention_options=attention_options,
        stem=stem,
        include_top=include_top,
        weights=weights,
        input_tensor=input_tensor,
        input_shape=input_shape,
        pooling=pooling,
        classes=classes,
        classifier_activation=classifier_activation,
        name=name,
        include_preprocessing=include_preprocessing,
        data_format=data_format,
        class_names=class_names,
    )


@_documentation.documented(_ARGUMENTS)
def ResNet101(
    include_top=True,
    weights=None,
    input_tensor=None,
    input_shape=None,
    pooling=None,
    classes=None,
    classifier_activation="softmax",
    name="resnet101",
    *,
    attention=None,
    attention_options=None,
    stem="imagenet",
    include_preprocessing=True,
    data_format=None,
    class_names=None,
):
    """ResNet-101: bottleneck blocks, 44.5 M parameters."""
    return _build(
        "resnet101",
        attention=attention,
        attention_options=attention_options,
        stem=stem,
        include_top=include_top,
        weights=weights,
        input_tensor=input_tensor,
        input_shape=input_shape,
        pooling=pooling,
        classes=classes,
        classifier_activation=classifier_activation,
        name=name,
        include_preprocessing=include_preprocessing,
        data_format=data_format,
        class_names=class_names,
    )


@_documentation.documented(_ARGUMENTS)
def ResNet152(
    include_top=True,
    weights=None,
    input_tensor=None,
    input_shape=None,
    pooling=None,
    classes=None,
    classifier_activation="softmax",
    name="resnet152",
    *,
    attention=None,
    attention_options=None,
    stem="imagenet",
    include_preprocessing=True,
    data_format=None,
    class_names=None,
):
    """ResNet-152: bottleneck blocks, 60.2 M parameters."""
    return _build(
        "resnet152",
        attention=attention,
        attention_options=attention_options,
        stem=stem,
        include_top=include_top,
        weights=weights,
        input_tensor=input_tensor,
        input_shape=input_shape,
        pooling=pooling,
        classes=classes,
        classifier_activation=classifier_activation,
        name=name,
        include_preprocessing=include_preprocessing,
        data_format=data_format,
        class_names=class_names,
    )
