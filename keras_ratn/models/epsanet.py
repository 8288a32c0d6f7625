"""EPSANet: ResNet whose 3x3 convolutions are pyramid squeeze attentions."""

from keras_ratn.models import _documentation
from keras_ratn.models._ends import image_classifier
from keras_ratn.models.residual_backbone import ResidualBackbone

EPSANETS = {
    "epsanet50": ResidualBackbone((3, 4, 6, 3), attention="psa"),
    "epsanet101": ResidualBackbone((3, 4, 23, 3), attention="psa"),
}

_ARGUMENTS = """

    This is the paper's "small" network. Its "large" one was never released,
    and no choice of kernel sizes and groups in the paper's text reproduces
    its published numbers, so it is not offered.

    Reference:
    - [EPSANet: An Efficient Pyramid Squeeze Attention Block on Convolutional
        Neural Network (Zhang et al., 2021)](https://arxiv.org/abs/2105.14447)
{common}
{last}"""


def _build(variant, **arguments):
    return image_classifier(
        EPSANETS[variant].features,
        variant=variant,
        family="imagenet",
        **arguments,
    )


@_documentation.documented(_ARGUMENTS)
def EPSANet50(
    include_top=True,
    weights=None,
    input_tensor=None,
    input_shape=None,
    pooling=None,
    classes=1000,
    classifier_activation="softmax",
    name="epsanet50",
    *,
    include_preprocessing=True,
    data_format=None,
    class_names=None,
):
    """EPSANet-50 (small): 22.6 M parameters."""
    return _build(
        "epsanet50",
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
def EPSANet101(
    include_top=True,
    weights=None,
    input_tensor=None,
    input_shape=None,
    pooling=None,
    classes=1000,
    classifier_activation="softmax",
    name="epsanet101",
    *,
    include_preprocessing=True,
    data_format=None,
    class_names=None,
):
    """EPSANet-101 (small): 38.9 M parameters."""
    return _build(
        "epsanet101",
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
