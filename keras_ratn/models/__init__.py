"""Residual attention networks: their numbers and their builders."""

from keras_ratn.models.architecture import Architecture as Architecture
from keras_ratn.models.architecture import VARIANTS as VARIANTS
from keras_ratn.models.residual_attention_network import (
    ResidualAttentionNetwork as ResidualAttentionNetwork,
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
from keras_ratn.models.variants import list_models as list_models
