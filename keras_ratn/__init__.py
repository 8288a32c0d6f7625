"""Residual Attention Networks for Keras 3.

The layers are imported eagerly: Keras loads a `.keras` file only when the
classes in it are registered.
"""

from keras_ratn import layers as layers
from keras_ratn import models as models
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
from keras_ratn.models import list_models as list_models
from keras_ratn.models import (
    ResidualAttentionNetwork as ResidualAttentionNetwork,
)
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
