"""The named networks: one thin function for each row of the table.

Every function spells out its signature, so that `help`, editors and
`inspect` show it, and only forwards. The arguments are explained once, in
`_ARGUMENTS`.
"""

from keras_ratn.models import _documentation
from keras_ratn.models.architecture import VARIANTS
from keras_ratn.models.residual_attention_network import (
    ResidualAttentionNetwork,
)

_ARGUMENTS = """

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
{last}"""


@_documentation.documented(_ARGUMENTS)
def Attention56(
    include_top=True,
    weights=None,
    input_tensor=None,
    input_shape=None,
    pooling=None,
    classes=1000,
    classifier_activation="softmax",
    name="attention56",
    *,
    include_preprocessing=True,
    attention_learning="residual",
    mask_activation="mixed",
    mask_structure="encoder_decoder",
    interpolation="bilinear",
    data_format=None,
    remat=False,
    class_names=None,
):
    """Attention-56 for ImageNet-sized images.

    The smallest network of the paper's table 2: 31.8 M parameters.
    """
    return ResidualAttentionNetwork(
        VARIANTS["attention56"],
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


@_documentation.documented(_ARGUMENTS)
def Attention92(
    include_top=True,
    weights=None,
    input_tensor=None,
    input_shape=None,
    pooling=None,
    classes=1000,
    classifier_activation="softmax",
    name="attention92",
    *,
    include_preprocessing=True,
    attention_learning="residual",
    mask_activation="mixed",
    mask_structure="encoder_decoder",
    interpolation="bilinear",
    data_format=None,
    remat=False,
    class_names=None,
):
    """Attention-92 for ImageNet-sized images.

    The paper's main ImageNet network: 52.5 M parameters.
    """
    return ResidualAttentionNetwork(
        VARIANTS["attention92"],
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


@_documentation.documented(_ARGUMENTS)
def Attention128(
    include_top=True,
    weights=None,
    input_tensor=None,
    input_shape=None,
    pooling=None,
    classes=1000,
    classifier_activation="softmax",
    name="attention128",
    *,
    include_preprocessing=True,
    attention_learning="residual",
    mask_activation="mixed",
    mask_structure="encoder_decoder",
    interpolation="bilinear",
    data_format=None,
    remat=False,
    class_names=None,
):
    """Attention-128 for ImageNet-sized images.

    Deeper than the paper's ImageNet networks, on the same skeleton.
    """
    return ResidualAttentionNetwork(
        VARIANTS["attention128"],
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


@_documentation.documented(_ARGUMENTS)
def Attention164(
    include_top=True,
    weights=None,
    input_tensor=None,
    input_shape=None,
    pooling=None,
    classes=1000,
    classifier_activation="softmax",
    name="attention164",
    *,
    include_preprocessing=True,
    attention_learning="residual",
    mask_activation="mixed",
    mask_structure="encoder_decoder",
    interpolation="bilinear",
    data_format=None,
    remat=False,
    class_names=None,
):
    """Attention-164 for ImageNet-sized images.

    Deeper than the paper's ImageNet networks, on the same skeleton.
    """
    return ResidualAttentionNetwork(
        VARIANTS["attention164"],
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


@_documentation.documented(_ARGUMENTS)
def Attention236(
    include_top=True,
    weights=None,
    input_tensor=None,
    input_shape=None,
    pooling=None,
    classes=1000,
    classifier_activation="softmax",
    name="attention236",
    *,
    include_preprocessing=True,
    attention_learning="residual",
    mask_activation="mixed",
    mask_structure="encoder_decoder",
    interpolation="bilinear",
    data_format=None,
    remat=False,
    class_names=None,
):
    """Attention-236 for ImageNet-sized images.

    Deeper than the paper's ImageNet networks, on the same skeleton.
    """
    return ResidualAttentionNetwork(
        VARIANTS["attention236"],
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


@_documentation.documented(_ARGUMENTS)
def Attention452(
    include_top=True,
    weights=None,
    input_tensor=None,
    input_shape=None,
    pooling=None,
    classes=1000,
    classifier_activation="softmax",
    name="attention452",
    *,
    include_preprocessing=True,
    attention_learning="residual",
    mask_activation="mixed",
    mask_structure="encoder_decoder",
    interpolation="bilinear",
    data_format=None,
    remat=False,
    class_names=None,
):
    """Attention-452 for ImageNet-sized images.

    Deeper than the paper's ImageNet networks, with p=2, t=4, r=3 as the
    paper's CIFAR network of this depth.
    """
    return ResidualAttentionNetwork(
        VARIANTS["attention452"],
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


@_documentation.documented(_ARGUMENTS)
def AttentionNeXt56(
    include_top=True,
    weights=None,
    input_tensor=None,
    input_shape=None,
    pooling=None,
    classes=1000,
    classifier_activation="softmax",
    name="attentionnext56",
    *,
    include_preprocessing=True,
    attention_learning="residual",
    mask_activation="mixed",
    mask_structure="encoder_decoder",
    interpolation="bilinear",
    data_format=None,
    remat=False,
    class_names=None,
):
    """AttentionNeXt-56: ResNeXt units, for ImageNet-sized images.

    Table 6 of the paper: 31.3 M parameters.
    """
    return ResidualAttentionNetwork(
        VARIANTS["attentionnext56"],
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


@_documentation.documented(_ARGUMENTS)
def AttentionNeXt92(
    include_top=True,
    weights=None,
    input_tensor=None,
    input_shape=None,
    pooling=None,
    classes=1000,
    classifier_activation="softmax",
    name="attentionnext92",
    *,
    include_preprocessing=True,
    attention_learning="residual",
    mask_activation="mixed",
    mask_structure="encoder_decoder",
    interpolation="bilinear",
    data_format=None,
    remat=False,
    class_names=None,
):
    """AttentionNeXt-92: ResNeXt units, for ImageNet-sized images.

    Table 6 of the paper.
    """
    return ResidualAttentionNetwork(
        VARIANTS["attentionnext92"],
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


@_documentation.documented(_ARGUMENTS)
def AttentionInception56(
    include_top=True,
    weights=None,
    input_tensor=None,
    input_shape=None,
    pooling=None,
    classes=1000,
    classifier_activation="softmax",
    name="attentioninception56",
    *,
    include_preprocessing=True,
    attention_learning="residual",
    mask_activation="mixed",
    mask_structure="encoder_decoder",
    interpolation="bilinear",
    data_format=None,
    remat=False,
    class_names=None,
):
    """AttentionInception-56: Inception units, for ImageNet-sized images.

    Table 6 of the paper; the units are a reconstruction, see
    `keras_ratn.layers.InceptionUnit`.
    """
    return ResidualAttentionNetwork(
        VARIANTS["attentioninception56"],
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


@_documentation.documented(_ARGUMENTS)
def AttentionInception92(
    include_top=True,
    weights=None,
    input_tensor=None,
    input_shape=None,
    pooling=None,
    classes=1000,
    classifier_activation="softmax",
    name="attentioninception92",
    *,
    include_preprocessing=True,
    attention_learning="residual",
    mask_activation="mixed",
    mask_structure="encoder_decoder",
    interpolation="bilinear",
    data_format=None,
    remat=False,
    class_names=None,
):
    """AttentionInception-92: Inception units, for ImageNet-sized images.

    The units are a reconstruction, see `keras_ratn.layers.InceptionUnit`.
    """
    return ResidualAttentionNetwork(
        VARIANTS["attentioninception92"],
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


@_documentation.documented(_ARGUMENTS)
def CifarAttention56(
    include_top=True,
    weights=None,
    input_tensor=None,
    input_shape=None,
    pooling=None,
    classes=10,
    classifier_activation="softmax",
    name="cifarattention56",
    *,
    include_preprocessing=True,
    attention_learning="residual",
    mask_activation="mixed",
    mask_structure="encoder_decoder",
    interpolation="bilinear",
    data_format=None,
    remat=False,
    class_names=None,
):
    """Attention-56 for images of CIFAR's size.

    1.0 M parameters.
    """
    return ResidualAttentionNetwork(
        VARIANTS["cifarattention56"],
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


@_documentation.documented(_ARGUMENTS)
def CifarAttention92(
    include_top=True,
    weights=None,
    input_tensor=None,
    input_shape=None,
    pooling=None,
    classes=10,
    classifier_activation="softmax",
    name="cifarattention92",
    *,
    include_preprocessing=True,
    attention_learning="residual",
    mask_activation="mixed",
    mask_structure="encoder_decoder",
    interpolation="bilinear",
    data_format=None,
    remat=False,
    class_names=None,
):
    """Attention-92 for images of CIFAR's size.

    1.8 M parameters, as the paper's (1.9 M).
    """
    return ResidualAttentionNetwork(
        VARIANTS["cifarattention92"],
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


@_documentation.documented(_ARGUMENTS)
def CifarAttention128(
    include_top=True,
    weights=None,
    input_tensor=None,
    input_shape=None,
    pooling=None,
    classes=10,
    classifier_activation="softmax",
    name="cifarattention128",
    *,
    include_preprocessing=True,
    attention_learning="residual",
    mask_activation="mixed",
    mask_structure="encoder_decoder",
    interpolation="bilinear",
    data_format=None,
    remat=False,
    class_names=None,
):
    """Attention-128 for images of CIFAR's size.

    2.7 M parameters.
    """
    return ResidualAttentionNetwork(
        VARIANTS["cifarattention128"],
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


@_documentation.documented(_ARGUMENTS)
def CifarAttention164(
    include_top=True,
    weights=None,
    input_tensor=None,
    input_shape=None,
    pooling=None,
    classes=10,
    classifier_activation="softmax",
    name="cifarattention164",
    *,
    include_preprocessing=True,
    attention_learning="residual",
    mask_activation="mixed",
    mask_structure="encoder_decoder",
    interpolation="bilinear",
    data_format=None,
    remat=False,
    class_names=None,
):
    """Attention-164 for images of CIFAR's size.

    3.5 M parameters.
    """
    return ResidualAttentionNetwork(
        VARIANTS["cifarattention164"],
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


@_documentation.documented(_ARGUMENTS)
def CifarAttention236(
    include_top=True,
    weights=None,
    input_tensor=None,
    input_shape=None,
    pooling=None,
    classes=10,
    classifier_activation="softmax",
    name="cifarattention236",
    *,
    include_preprocessing=True,
    attention_learning="residual",
    mask_activation="mixed",
    mask_structure="encoder_decoder",
    interpolation="bilinear",
    data_format=None,
    remat=False,
    class_names=None,
):
    """Attention-236 for images of CIFAR's size.

    5.1 M parameters, as the paper's.
    """
    return ResidualAttentionNetwork(
        VARIANTS["cifarattention236"],
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


@_documentation.documented(_ARGUMENTS)
def CifarAttention452(
    include_top=True,
    weights=None,
    input_tensor=None,
    input_shape=None,
    pooling=None,
    classes=10,
    classifier_activation="softmax",
    name="cifarattention452",
    *,
    include_preprocessing=True,
    attention_learning="residual",
    mask_activation="mixed",
    mask_structure="encoder_decoder",
    interpolation="bilinear",
    data_format=None,
    remat=False,
    class_names=None,
):
    """Attention-452 for images of CIFAR's size.

    10.2 M parameters by the paper's rule with p=2, t=4, r=3; the paper prints
    8.6 M, which no literal reading of its text reproduces.
    """
    return ResidualAttentionNetwork(
        VARIANTS["cifarattention452"],
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


BUILDERS = {
    builder.__name__: builder
    for builder in (
        Attention56,
        Attention92,
        Attention128,
        Attention164,
        Attention236,
        Attention452,
        AttentionNeXt56,
        AttentionNeXt92,
        AttentionInception56,
        AttentionInception92,
        CifarAttention56,
        CifarAttention92,
        CifarAttention128,
        CifarAttention164,
        CifarAttention236,
        CifarAttention452,
    )
}
