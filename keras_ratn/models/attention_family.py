"""The networks of the attention family, by name."""

from keras_ratn.models import eamlp
from keras_ratn.models import epsanet
from keras_ratn.models import resnet
from keras_ratn.models import rest
from keras_ratn.models import scnet
from keras_ratn.models import segmentation

FAMILY_BUILDERS = {
    builder.__name__: builder
    for builder in (
        resnet.ResNet18,
        resnet.ResNet34,
        resnet.ResNet50,
        resnet.ResNet101,
        resnet.ResNet152,
        scnet.SCNet50,
        scnet.SCNet101,
        epsanet.EPSANet50,
        epsanet.EPSANet101,
        rest.ResTLite,
        rest.ResTSmall,
        rest.ResTBase,
        rest.ResTLarge,
        eamlp.EAMLP7,
        eamlp.EAMLP10,
        eamlp.EAMLP12,
        eamlp.EAMLP14,
        eamlp.EAMLP19,
        eamlp.EAMLP24,
        segmentation.DANet50,
        segmentation.DANet101,
        segmentation.EANet50,
        segmentation.EANet101,
    )
}
