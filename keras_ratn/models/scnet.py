"""SCNet: ResNet whose bottlenecks calibrate themselves."""

import dataclasses

from keras_ratn.models import _documentation
from keras_ratn.models._ends import image_classifier
from keras_ratn.models.residual_backbone import ResidualBackbone

SCNETS = {
    "scnet50": ResidualBackbone((3, 4, 6, 3), "self_calibrated"),
    "scnet101": ResidualBackbone((3, 4, 23, 3), "self_calibrated"),
}
# Filters of the deep stem, as the authors' code has them.
V1D_STEM_FILTERS = {"scnet50": 64, "scnet101": 128}

_ARGUMENTS = """

    Every self-calibrated convolution needs maps of at least 4x4, so images
    are at least 97 pixels wide and high.

    Reference:
    - [Improving Convolutional Networks with Self-Calibrated Convolutions (Liu
        et al., 2020)](https://mftp.mmcheng.net/Papers/20cvprSCNet.pdf)
{common}
        v1d: Boolean. Whether to build the "v1d" network: three 3x3
            convolutions for a stem, and average-pooling in place of strides.
            Defaults to `False`.
{last}"""


def _build(variant, v1d, **arguments):
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
        **arguments,
    )


@_documentation.documented(_ARGUMENTS)
def SCNet50(
    include_top=True,
    weights=None,
    input_tensor=None,
    input_shape=None,
    pooling=None,
    classes=1000,
    classifier_activation="softmax",
    name="scnet50",
    *,
    v1d=False,
    include_preprocessing=True,
    data_format=None,
    class_names=None,
):
    """SCNet-50: 25.6 M parameters."""
    return _build(
        "scnet50",
        v1d=v1d,
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
def SCNet101(
    include_top=True,
    weights=None,
    input_tensor=None,
    input_shape=None,
    pooling=None,
    classes=1000,
    classifier_activation="softmax",
    name="scnet101",
    *,
    v1d=False,
    include_preprocessing=True,
    data_format=None,
    class_names=None,
):
    """SCNet-101: 44.6 M parameters."""
    return _build(
        "scnet101",
        v1d=v1d,
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
