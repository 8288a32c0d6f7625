"""EPSANet: ResNet whose 3x3 convolutions are pyramid squeeze attentions."""

from collections.abc import Sequence

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

EPSANETS = {
    "epsanet50": ResidualBackbone((3, 4, 6, 3), attention="psa"),
    "epsanet101": ResidualBackbone((3, 4, 23, 3), attention="psa"),
}


@shared_arguments
def _epsanet(
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
    data_format: DataFormat = None,
    class_names: Sequence[str] | None = None,
) -> keras.Model:
    """A row of `EPSANETS` as a network.

    This is the paper's "small" network. Its "large" one was never released,
    and no choice of kernel sizes and groups in the paper's text reproduces
    its published numbers, so it is not offered.

    Reference:
    - [EPSANet: An Efficient Pyramid Squeeze Attention Block on Convolutional
        Neural Network (Zhang et al., 2021)](https://arxiv.org/abs/2105.14447)

    {common}
    {last}
    """
    return image_classifier(
        EPSANETS[variant].features,
        variant=variant,
        family="imagenet",
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


@named(_epsanet, "epsanet50")
def EPSANet50() -> None:
    """EPSANet-50 (small): 22.6 M parameters."""


@named(_epsanet, "epsanet101")
def EPSANet101() -> None:
    """EPSANet-101 (small): 38.9 M parameters."""
