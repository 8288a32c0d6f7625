"""Layers of residual attention networks."""

from keras_ratn.layers.attention_module import (
    AttentionModule as AttentionModule,
)
from keras_ratn.layers.classification_head import (
    ClassificationHead as ClassificationHead,
)
from keras_ratn.layers.mask_activation import MaskActivation as MaskActivation
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
from keras_ratn.layers.soft_mask_branch import (
    LocalConvolutionMask as LocalConvolutionMask,
)
from keras_ratn.layers.soft_mask_branch import SoftMaskBranch as SoftMaskBranch
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
