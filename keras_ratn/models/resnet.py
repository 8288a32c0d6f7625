"""ResNet with any attention: the ground on which the papers compare.

Each function spells out its signature, so that `help`, editors and `inspect`
show it, and only forwards. The arguments are explained once, in `_ARGUMENTS`.
"""

import dataclasses
from collections.abc import Sequence
from typing import Literal

import keras

from keras_ratn.models._documentation import shared_arguments
from keras_ratn.models._ends import image_classifier
from keras_ratn.models.named import Activation
from keras_ratn.models.named import DataFormat
from keras_ratn.models.named import named
from keras_ratn.models.named import Pooling
from keras_ratn.models.named import Shape
from keras_ratn.models.named import Weights
from keras_ratn.models.residual_backbone import ResidualBackbone

RESNETS = {
    "resnet18": ResidualBackbone((2, 2, 2, 2), "basic"),
    "resnet34": ResidualBackbone((3, 4, 6, 3), "basic"),
    "resnet50": ResidualBackbone((3, 4, 6, 3)),
    "resnet101": ResidualBackbone((3, 4, 23, 3)),
    "resnet152": ResidualBackbone((3, 8, 36, 3)),
}


@shared_arguments
def _resnet(
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
    attention: str | None = None,
    attention_options: dict | tuple[dict, ...] | None = None,
    stem: Literal["imagenet", "cifar"] = "imagenet",
    include_preprocessing: bool = True,
    data_format: DataFormat = None,
    class_names: Sequence[str] | None = None,
) -> keras.Model:
    """A row of `RESNETS` as a network.

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
    {last}
    """
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


@named(_resnet, "resnet18")
def ResNet18() -> None:
    """ResNet-18: basic blocks, 11.7 M parameters."""


@named(_resnet, "resnet34")
def ResNet34() -> None:
    """ResNet-34: basic blocks, 21.8 M parameters."""


@named(_resnet, "resnet50")
def ResNet50() -> None:
    """ResNet-50: bottleneck blocks, 25.6 M parameters."""


@named(_resnet, "resnet101")
def ResNet101() -> None:
    """ResNet-101: bottleneck blocks, 44.5 M parameters."""


@named(_resnet, "resnet152")
def ResNet152() -> None:
    """ResNet-152: bottleneck blocks, 60.2 M parameters."""
