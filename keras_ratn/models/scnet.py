"""SCNet: ResNet whose bottlenecks calibrate themselves."""

import dataclasses
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

SCNETS = {
    "scnet50": ResidualBackbone((3, 4, 6, 3), "self_calibrated"),
    "scnet101": ResidualBackbone((3, 4, 23, 3), "self_calibrated"),
}
# Filters of the deep stem, as the authors' code has them.
V1D_STEM_FILTERS = {"scnet50": 64, "scnet101": 128}


@shared_arguments
def _scnet(
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
    v1d: bool = False,
    include_preprocessing: bool = True,
    data_format: DataFormat = None,
    class_names: Sequence[str] | None = None,
) -> keras.Model:
    """A row of `SCNETS` as a network.

    Every self-calibrated convolution needs maps of at least 4x4, so images
    are at least 97 pixels wide and high.

    Reference:
    - [Improving Convolutional Networks with Self-Calibrated Convolutions (Liu
        et al., 2020)](https://mftp.mmcheng.net/Papers/20cvprSCNet.pdf)

    {common}
        v1d: Boolean. Whether to build the "v1d" network: three 3x3
            convolutions for a stem, and average-pooling in place of strides.
            Defaults to `False`.
    {last}
    """
    backbone = SCNETS[variant]
    if v1d:
        backbone = dataclasses.replace(
            backbone,
            stem="deep",
            stem_filters=V1D_STEM_FILTERS[variant],
            average_pooling=True,
        )
    return image_classifier(
        backbone.features,
        variant=f"{variant}_v1d" if v1d else variant,
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


@named(_scnet, "scnet50")
def SCNet50() -> None:
    """SCNet-50: 25.6 M parameters."""


@named(_scnet, "scnet101")
def SCNet101() -> None:
    """SCNet-101: 44.6 M parameters."""
