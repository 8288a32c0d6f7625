"""Small networks by name, and ResNets for images of CIFAR's size."""

import functools

from keras_ratn.models import resnet
from keras_ratn.models.architecture import SMALL_VARIANTS
from keras_ratn.models.named import enter
from keras_ratn.models.residual_attention_network import (
    ResidualAttentionNetwork,
)

for _name, _architecture in SMALL_VARIANTS.items():
    enter(
        _name,
        functools.partial(ResidualAttentionNetwork, _architecture, name=_name),
    )
for _resnet in (
    resnet.ResNet18,
    resnet.ResNet34,
    resnet.ResNet50,
    resnet.ResNet101,
    resnet.ResNet152,
):
    _name = f"Cifar{_resnet.__name__}"
    enter(_name, functools.partial(_resnet, stem="cifar", name=_name.lower()))
