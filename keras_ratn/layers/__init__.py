"""Layers of residual attention networks."""

from keras_ratn.layers.attention_module import (
    AttentionModule as AttentionModule,
)
from keras_ratn.layers.bottleneck_attention_module import (
    BottleneckAttentionModule as BottleneckAttentionModule,
)
from keras_ratn.layers.classification_head import (
    ClassificationHead as ClassificationHead,
)
from keras_ratn.layers.classification_head import ClassScores as ClassScores
from keras_ratn.layers.convolutional_block_attention import (
    ConvolutionalBlockAttention as ConvolutionalBlockAttention,
)
from keras_ratn.layers.dual_attention import (
    ChannelAffinityAttention as ChannelAffinityAttention,
)
from keras_ratn.layers.dual_attention import DualAttention as DualAttention
from keras_ratn.layers.dual_attention import (
    PositionAttention as PositionAttention,
)
from keras_ratn.layers.efficient_channel_attention import (
    EfficientChannelAttention as EfficientChannelAttention,
)
from keras_ratn.layers.efficient_multi_head_self_attention import (
    EfficientMultiHeadSelfAttention as EfficientMultiHeadSelfAttention,
)
from keras_ratn.layers.efficient_multi_head_self_attention import (
    PixelAttention as PixelAttention,
)
from keras_ratn.layers.external_attention import (
    DoubleNormalization as DoubleNormalization,
)
from keras_ratn.layers.external_attention import (
    ExternalAttention as ExternalAttention,
)
from keras_ratn.layers.external_attention import (
    MultiHeadExternalAttention as MultiHeadExternalAttention,
)
from keras_ratn.layers.highway_gate import HighwayGate as HighwayGate
from keras_ratn.layers.mask_activation import MaskActivation as MaskActivation
from keras_ratn.layers.pyramid_squeeze_attention import (
    PyramidSqueezeAttention as PyramidSqueezeAttention,
)
from keras_ratn.layers.quantization import FakeQuantization as FakeQuantization
from keras_ratn.layers.quantization import (
    QuantizationAwareConv2D as QuantizationAwareConv2D,
)
from keras_ratn.layers.quantization import (
    QuantizationAwareDense as QuantizationAwareDense,
)
from keras_ratn.layers.quantization import (
    QuantizationAwareDepthwiseConv2D as QuantizationAwareDepthwiseConv2D,
)
from keras_ratn.layers.quantization import (
    QuantizationAwareRescaling as QuantizationAwareRescaling,
)
from keras_ratn.layers.registry import get as get
from keras_ratn.layers.registry import (
    list_attention_layers as list_attention_layers,
)
from keras_ratn.layers.self_calibrated_conv2d import (
    SelfCalibratedConv2D as SelfCalibratedConv2D,
)
from keras_ratn.layers.soft_mask_branch import (
    LocalConvolutionMask as LocalConvolutionMask,
)
from keras_ratn.layers.soft_mask_branch import SoftMaskBranch as SoftMaskBranch
from keras_ratn.layers.spatial_transformer import (
    SpatialTransformer as SpatialTransformer,
)
from keras_ratn.layers.squeeze_excite import SqueezeExcite as SqueezeExcite
from keras_ratn.layers.token_embedding import ClassToken as ClassToken
from keras_ratn.layers.token_embedding import (
    SinusoidalPositions as SinusoidalPositions,
)
from keras_ratn.layers.token_embedding import Unfold as Unfold
from keras_ratn.layers.trunk_units import InceptionUnit as InceptionUnit
from keras_ratn.layers.trunk_units import ResidualUnit as ResidualUnit
from keras_ratn.layers.trunk_units import ResNeXtUnit as ResNeXtUnit
from keras_ratn.layers.upsampling import (
    BilinearInitializer as BilinearInitializer,
)
from keras_ratn.layers.upsampling import (
    BilinearUpsampling2D as BilinearUpsampling2D,
)
from keras_ratn.layers.upsampling import (
    TransposedUpsampling2D as TransposedUpsampling2D,
)
