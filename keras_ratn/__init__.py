"""Residual Attention Networks for Keras 3.

The layers are imported eagerly: Keras loads a `.keras` file only when the
classes in it are registered.
"""

import pathlib as _pathlib

from keras_ratn import layers as layers
from keras_ratn import models as models
from keras_ratn import optimizers as optimizers
from keras_ratn._version import __version__ as __version__
from keras_ratn.features import feature_pyramid as feature_pyramid
from keras_ratn.models import Architecture as Architecture
from keras_ratn.models import Attention56 as Attention56
from keras_ratn.models import Attention92 as Attention92
from keras_ratn.models import Attention128 as Attention128
from keras_ratn.models import Attention164 as Attention164
from keras_ratn.models import Attention236 as Attention236
from keras_ratn.models import Attention452 as Attention452
from keras_ratn.models import AttentionInception56 as AttentionInception56
from keras_ratn.models import AttentionInception92 as AttentionInception92
from keras_ratn.models import AttentionNeXt56 as AttentionNeXt56
from keras_ratn.models import AttentionNeXt92 as AttentionNeXt92
from keras_ratn.models import CifarAttention56 as CifarAttention56
from keras_ratn.models import CifarAttention92 as CifarAttention92
from keras_ratn.models import CifarAttention128 as CifarAttention128
from keras_ratn.models import CifarAttention164 as CifarAttention164
from keras_ratn.models import CifarAttention236 as CifarAttention236
from keras_ratn.models import CifarAttention452 as CifarAttention452
from keras_ratn.models import create_model as create_model
from keras_ratn.models import DANet50 as DANet50
from keras_ratn.models import DANet101 as DANet101
from keras_ratn.models import EAMLP7 as EAMLP7
from keras_ratn.models import EAMLP10 as EAMLP10
from keras_ratn.models import EAMLP12 as EAMLP12
from keras_ratn.models import EAMLP14 as EAMLP14
from keras_ratn.models import EAMLP19 as EAMLP19
from keras_ratn.models import EAMLP24 as EAMLP24
from keras_ratn.models import EANet50 as EANet50
from keras_ratn.models import EANet101 as EANet101
from keras_ratn.models import EPSANet50 as EPSANet50
from keras_ratn.models import EPSANet101 as EPSANet101
from keras_ratn.models import int8_file as int8_file
from keras_ratn.models import list_models as list_models
from keras_ratn.models import list_weights as list_weights
from keras_ratn.models import (
    ResidualAttentionNetwork as ResidualAttentionNetwork,
)
from keras_ratn.models import ResidualBackbone as ResidualBackbone
from keras_ratn.models import ResNet18 as ResNet18
from keras_ratn.models import ResNet34 as ResNet34
from keras_ratn.models import ResNet50 as ResNet50
from keras_ratn.models import ResNet101 as ResNet101
from keras_ratn.models import ResNet152 as ResNet152
from keras_ratn.models import ResTBase as ResTBase
from keras_ratn.models import ResTLarge as ResTLarge
from keras_ratn.models import ResTLite as ResTLite
from keras_ratn.models import ResTSmall as ResTSmall
from keras_ratn.models import SCNet50 as SCNet50
from keras_ratn.models import SCNet101 as SCNet101
from keras_ratn.models import SegmentationNetwork as SegmentationNetwork
from keras_ratn.models import VARIANTS as VARIANTS
from keras_ratn.models.pretrained import load_weights as load_weights
from keras_ratn.preprocessing import class_names as class_names
from keras_ratn.preprocessing import decode_predictions as decode_predictions
from keras_ratn.preprocessing import preprocess_input as preprocess_input
from keras_ratn.profiling import count_macs as count_macs
from keras_ratn.profiling import describe as describe
from keras_ratn.visualization import attention_masks as attention_masks
from keras_ratn.visualization import overlay_masks as overlay_masks
from keras_ratn.visualization import plot_attention as plot_attention
from keras_ratn.visualization import response_profile as response_profile

# Of a checkout `training/` and `export/` lie beside this folder; installed,
# they are in it. `keras_ratn.training` is their name in both.
_here = _pathlib.Path(__file__).parent
if not (_here / "training").is_dir():
    __path__.append(str(_here.parent))
