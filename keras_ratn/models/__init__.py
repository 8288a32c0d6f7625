"""Residual attention networks: their numbers and their builders."""

from keras_ratn.models import small as small
from keras_ratn.models.architecture import Architecture as Architecture
from keras_ratn.models.architecture import VARIANTS as VARIANTS
from keras_ratn.models.eamlp import EAMLP7 as EAMLP7
from keras_ratn.models.eamlp import EAMLP10 as EAMLP10
from keras_ratn.models.eamlp import EAMLP12 as EAMLP12
from keras_ratn.models.eamlp import EAMLP14 as EAMLP14
from keras_ratn.models.eamlp import EAMLP19 as EAMLP19
from keras_ratn.models.eamlp import EAMLP24 as EAMLP24
from keras_ratn.models.epsanet import EPSANet50 as EPSANet50
from keras_ratn.models.epsanet import EPSANet101 as EPSANet101
from keras_ratn.models.listing import create_model as create_model
from keras_ratn.models.listing import int8_file as int8_file
from keras_ratn.models.listing import list_models as list_models
from keras_ratn.models.listing import list_weights as list_weights
from keras_ratn.models.residual_attention_network import (
    ResidualAttentionNetwork as ResidualAttentionNetwork,
)
from keras_ratn.models.residual_backbone import (
    ResidualBackbone as ResidualBackbone,
)
from keras_ratn.models.resnet import ResNet18 as ResNet18
from keras_ratn.models.resnet import ResNet34 as ResNet34
from keras_ratn.models.resnet import ResNet50 as ResNet50
from keras_ratn.models.resnet import ResNet101 as ResNet101
from keras_ratn.models.resnet import ResNet152 as ResNet152
from keras_ratn.models.rest import ResTBase as ResTBase
from keras_ratn.models.rest import ResTLarge as ResTLarge
from keras_ratn.models.rest import ResTLite as ResTLite
from keras_ratn.models.rest import ResTSmall as ResTSmall
from keras_ratn.models.scnet import SCNet50 as SCNet50
from keras_ratn.models.scnet import SCNet101 as SCNet101
from keras_ratn.models.segmentation import DANet50 as DANet50
from keras_ratn.models.segmentation import DANet101 as DANet101
from keras_ratn.models.segmentation import EANet50 as EANet50
from keras_ratn.models.segmentation import EANet101 as EANet101
from keras_ratn.models.segmentation import (
    SegmentationNetwork as SegmentationNetwork,
)
from keras_ratn.models.variants import Attention56 as Attention56
from keras_ratn.models.variants import Attention92 as Attention92
from keras_ratn.models.variants import Attention128 as Attention128
from keras_ratn.models.variants import Attention164 as Attention164
from keras_ratn.models.variants import Attention236 as Attention236
from keras_ratn.models.variants import Attention452 as Attention452
from keras_ratn.models.variants import (
    AttentionInception56 as AttentionInception56,
)
from keras_ratn.models.variants import (
    AttentionInception92 as AttentionInception92,
)
from keras_ratn.models.variants import AttentionNeXt56 as AttentionNeXt56
from keras_ratn.models.variants import AttentionNeXt92 as AttentionNeXt92
from keras_ratn.models.variants import CifarAttention56 as CifarAttention56
from keras_ratn.models.variants import CifarAttention92 as CifarAttention92
from keras_ratn.models.variants import CifarAttention128 as CifarAttention128
from keras_ratn.models.variants import CifarAttention164 as CifarAttention164
from keras_ratn.models.variants import CifarAttention236 as CifarAttention236
from keras_ratn.models.variants import CifarAttention452 as CifarAttention452
