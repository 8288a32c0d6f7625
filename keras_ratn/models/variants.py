"""The named networks of the paper: a row of the table and a sentence each."""

from keras_ratn.models.named import named
from keras_ratn.models.residual_attention_network import variant_network


@named(variant_network, "attention56")
def Attention56() -> None:
    """Attention-56 for ImageNet-sized images.

    The smallest network of the paper's table 2: 31.8 M parameters.
    """


@named(variant_network, "attention92")
def Attention92() -> None:
    """Attention-92 for ImageNet-sized images.

    The paper's main ImageNet network: 52.5 M parameters.
    """


@named(variant_network, "attention128")
def Attention128() -> None:
    """Attention-128 for ImageNet-sized images.

    Deeper than the paper's ImageNet networks, on the same skeleton.
    """


@named(variant_network, "attention164")
def Attention164() -> None:
    """Attention-164 for ImageNet-sized images.

    Deeper than the paper's ImageNet networks, on the same skeleton.
    """


@named(variant_network, "attention236")
def Attention236() -> None:
    """Attention-236 for ImageNet-sized images.

    Deeper than the paper's ImageNet networks, on the same skeleton.
    """


@named(variant_network, "attention452")
def Attention452() -> None:
    """Attention-452 for ImageNet-sized images.

    Deeper than the paper's ImageNet networks, with p=2, t=4, r=3 as the
    paper's CIFAR network of this depth.
    """


@named(variant_network, "attentionnext56")
def AttentionNeXt56() -> None:
    """AttentionNeXt-56: ResNeXt units, for ImageNet-sized images.

    Table 6 of the paper: 31.3 M parameters.
    """


@named(variant_network, "attentionnext92")
def AttentionNeXt92() -> None:
    """AttentionNeXt-92: ResNeXt units, for ImageNet-sized images.

    Table 6 of the paper.
    """


@named(variant_network, "attentioninception56")
def AttentionInception56() -> None:
    """AttentionInception-56: Inception units, for ImageNet-sized images.

    Table 6 of the paper; the units are a reconstruction, see
    `keras_ratn.layers.InceptionUnit`.
    """


@named(variant_network, "attentioninception92")
def AttentionInception92() -> None:
    """AttentionInception-92: Inception units, for ImageNet-sized images.

    The units are a reconstruction, see `keras_ratn.layers.InceptionUnit`.
    """


@named(variant_network, "cifarattention56")
def CifarAttention56() -> None:
    """Attention-56 for images of CIFAR's size.

    1.0 M parameters.
    """


@named(variant_network, "cifarattention92")
def CifarAttention92() -> None:
    """Attention-92 for images of CIFAR's size.

    1.8 M parameters, as the paper's (1.9 M).
    """


@named(variant_network, "cifarattention128")
def CifarAttention128() -> None:
    """Attention-128 for images of CIFAR's size.

    2.7 M parameters.
    """


@named(variant_network, "cifarattention164")
def CifarAttention164() -> None:
    """Attention-164 for images of CIFAR's size.

    3.5 M parameters.
    """


@named(variant_network, "cifarattention236")
def CifarAttention236() -> None:
    """Attention-236 for images of CIFAR's size.

    5.1 M parameters, as the paper's.
    """


@named(variant_network, "cifarattention452")
def CifarAttention452() -> None:
    """Attention-452 for images of CIFAR's size.

    10.2 M parameters by the paper's rule with p=2, t=4, r=3; the paper prints
    8.6 M, which no literal reading of its text reproduces.
    """
