"""Attention layers by their short names."""

from keras_ratn.layers import _common
from keras_ratn.layers.bottleneck_attention_module import (
    BottleneckAttentionModule,
)
from keras_ratn.layers.convolutional_block_attention import (
    ConvolutionalBlockAttention,
)
from keras_ratn.layers.dual_attention import ChannelAffinityAttention
from keras_ratn.layers.dual_attention import DualAttention
from keras_ratn.layers.dual_attention import PositionAttention
from keras_ratn.layers.efficient_channel_attention import (
    EfficientChannelAttention,
)
from keras_ratn.layers.efficient_multi_head_self_attention import (
    EfficientMultiHeadSelfAttention,
)
from keras_ratn.layers.efficient_multi_head_self_attention import PixelAttention
from keras_ratn.layers.external_attention import ExternalAttention
from keras_ratn.layers.external_attention import MultiHeadExternalAttention
from keras_ratn.layers.highway_gate import HighwayGate
from keras_ratn.layers.pyramid_squeeze_attention import PyramidSqueezeAttention
from keras_ratn.layers.self_calibrated_conv2d import SelfCalibratedConv2D
from keras_ratn.layers.spatial_transformer import SpatialTransformer
from keras_ratn.layers.squeeze_excite import SqueezeExcite

# name -> (class, options that the name stands for)
ATTENTION_LAYERS = {
    "bam": (BottleneckAttentionModule, {}),
    "bam_sum": (BottleneckAttentionModule, {"combine": "sum"}),
    "cbam": (ConvolutionalBlockAttention, {}),
    "channel_affinity": (ChannelAffinityAttention, {}),
    "dual": (DualAttention, {}),
    "eca": (EfficientChannelAttention, {}),
    "eca_adaptive": (EfficientChannelAttention, {"kernel_size": None}),
    "eca_ns": (EfficientChannelAttention, {"shared": False}),
    "emsa": (EfficientMultiHeadSelfAttention, {}),
    "external": (ExternalAttention, {}),
    "highway": (HighwayGate, {}),
    "multi_head_external": (MultiHeadExternalAttention, {}),
    "pixel": (PixelAttention, {}),
    "position": (PositionAttention, {}),
    "psa": (PyramidSqueezeAttention, {}),
    "sc": (SelfCalibratedConv2D, {}),
    "se": (SqueezeExcite, {}),
    "se_gc": (SqueezeExcite, {"variant": "grouped"}),
    "se_var1": (SqueezeExcite, {"variant": "var1"}),
    "se_var2": (SqueezeExcite, {"variant": "var2"}),
    "se_var3": (SqueezeExcite, {"variant": "var3"}),
    "spatial_transformer": (SpatialTransformer, {}),
}

# Those that map a map to one of the same shape, with no option needed: they
# can stand anywhere in a network.
SHAPE_PRESERVING = tuple(
    name
    for name in ATTENTION_LAYERS
    if name not in ("dual", "multi_head_external", "spatial_transformer")
)


def checked_attention(argument, name):
    """Returns `name` if it is None or of a layer that keeps shapes."""
    if name is not None and name not in SHAPE_PRESERVING:
        raise ValueError(
            f"`{argument}` must be None or one of {sorted(SHAPE_PRESERVING)}. "
            f"Received: {argument}={name!r}"
        )
    return name


def get(name, /, **options):
    """A new attention layer by its short name.

    Args:
        name: String, one of `keras_ratn.layers.list_attention_layers()`.
        **options: Arguments of the layer's class.

    Returns:
        A Keras layer that is not built yet.

    Example:

    >>> layer = keras_ratn.layers.get("eca", kernel_size=5)
    >>> type(layer).__name__
    'EfficientChannelAttention'
    """
    _common.one_of("name", name, ATTENTION_LAYERS)
    cls, defaults = ATTENTION_LAYERS[name]
    return cls(**{**defaults, **options})


def list_attention_layers():
    """The short names that `keras_ratn.layers.get` knows, sorted.

    Example:

    >>> "bam" in keras_ratn.layers.list_attention_layers()
    True
    """
    return sorted(ATTENTION_LAYERS)
