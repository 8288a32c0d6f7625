"""ResT: a transformer whose attention is cheap enough for large maps."""

import dataclasses
from collections.abc import Sequence
from typing import Literal

import keras

from keras_ratn import layers
from keras_ratn.layers import _common
from keras_ratn.models._documentation import shared_arguments
from keras_ratn.models._ends import image_classifier
from keras_ratn.models._graph import add_residual
from keras_ratn.models._graph import feed_forward
from keras_ratn.models._graph import Graph
from keras_ratn.models._graph import layer_normalize
from keras_ratn.models._graph import truncated_normal
from keras_ratn.models.named import Activation
from keras_ratn.models.named import DataFormat
from keras_ratn.models.named import named
from keras_ratn.models.named import Pooling
from keras_ratn.models.named import Shape
from keras_ratn.models.named import Weights

STEMS = ("convolutions", "7x7")


@dataclasses.dataclass(frozen=True)
class ResTArchitecture:
    """The numbers that make one ResT.

    Args:
        widths: Tuple of integers. Channels of each stage.
        num_blocks: Tuple of integers. Blocks in each stage.
        num_heads: Tuple of integers. Heads of the attention of each stage.
        spatial_reduction_ratios: Tuple of integers. By how much keys and
            values are shrunk in each stage.
        mlp_ratio: Integer. Hidden channels of the dense layers, in widths.
        stem: String, `"convolutions"` or `"7x7"`.
        drop_path_rate: Float. How often training leaves out the last block's
            residuals; earlier blocks' proportionally less often.
    """

    widths: tuple
    num_blocks: tuple
    num_heads: tuple = (1, 2, 4, 8)
    spatial_reduction_ratios: tuple = (8, 4, 2, 1)
    mlp_ratio: int = 4
    stem: str = "convolutions"
    drop_path_rate: float = 0.0

    def __post_init__(self):
        _common.one_of("stem", self.stem, STEMS)

    def features(self, x, data_format):
        """Adds stem and stages to the graph; returns the last maps."""
        if data_format == "channels_first":
            # Dense layers and layer normalization want channels last.
            x = keras.layers.Permute((2, 3, 1), name="to_channels_last")(x)
        graph = Graph("channels_last", truncated_normal)
        x = stem(graph, x, self.widths[0], self.stem)
        number, total = 0, sum(self.num_blocks)
        for stage, width in enumerate(self.widths):
            if stage > 0:
                x = patch_embedding(graph, x, width, f"stage{stage + 1}_embed")
            for index in range(self.num_blocks[stage]):
                x = transformer_block(
                    x,
                    self.num_heads[stage],
                    self.spatial_reduction_ratios[stage],
                    self.mlp_ratio,
                    self.drop_path_rate * number / max(total - 1, 1),
                    f"stage{stage + 1}_block{index + 1}",
                )
                number += 1
        x = layer_normalize(x, "final_norm")
        if data_format == "channels_first":
            x = keras.layers.Permute((3, 1, 2), name="to_channels_first")(x)
        return x


def stem(graph, x, filters, kind):
    """`(H, W, 3)` to a quarter of the size."""
    if kind == "7x7":
        x = graph.convolve_normalize_relu(x, filters, 7, "stem", strides=2)
        x = graph.max_pool(x, "stem_pool")
    else:
        half = filters // 2
        x = graph.convolve_normalize_relu(x, half, 3, "stem1", strides=2)
        x = graph.convolve_normalize_relu(x, half, 3, "stem2")
        x = graph.convolve(x, filters, 3, "stem3", strides=2)
    return layers.PixelAttention(
        data_format="channels_last", name="stem_positions"
    )(x)


def patch_embedding(graph, x, filters, name):
    """Half of the size, the next stage's channels, and where everything is."""
    x = graph.convolve_normalize(x, filters, 3, name, strides=2, use_bias=True)
    return layers.PixelAttention(
        data_format="channels_last", name=f"{name}_positions"
    )(x)


def transformer_block(
    x, num_heads, spatial_reduction_ratio, mlp_ratio, drop_path_rate, name
):
    """Attention, then dense layers, each normalized before and added."""
    residual = layers.EfficientMultiHeadSelfAttention(
        num_heads,
        spatial_reduction_ratio,
        data_format="channels_last",
        name=f"{name}_attention",
    )(layer_normalize(x, f"{name}_norm1"))
    x = add_residual(x, residual, drop_path_rate, f"{name}_attention")
    residual = feed_forward(
        layer_normalize(x, f"{name}_norm2"),
        mlp_ratio * x.shape[-1],
        0.0,
        f"{name}_mlp",
    )
    return add_residual(x, residual, drop_path_rate, f"{name}_mlp")


RESTS = {
    "restlite": ResTArchitecture((64, 128, 256, 512), (2, 2, 2, 2)),
    "restsmall": ResTArchitecture((64, 128, 256, 512), (2, 2, 6, 2)),
    "restbase": ResTArchitecture((96, 192, 384, 768), (2, 2, 6, 2)),
    "restlarge": ResTArchitecture((96, 192, 384, 768), (2, 2, 18, 2)),
}


@shared_arguments
def _rest(
    variant: str,
    include_top: bool = True,
    weights: Weights = None,
    input_tensor: keras.KerasTensor | None = None,
    input_shape: Shape = None,
    pooling: Pooling = None,
    classes: int | None = None,
    classifier_activation: Activation = "softmax",
    name: str | None = None,
    *,
    stem: Literal["convolutions", "7x7"] = "convolutions",
    drop_path_rate: float = 0.1,
    include_preprocessing: bool = True,
    data_format: DataFormat = None,
    class_names: Sequence[str] | None = None,
) -> keras.Model:
    """A row of `RESTS` as a network.

    Any height and width work: odd maps keep ceil(size / 2).

    Reference:
    - [ResT: An Efficient Transformer for Visual Recognition (Zhang & Yang,
        2021)](https://arxiv.org/abs/2105.13677)

    {common}
        stem: String, `"convolutions"` (three 3x3, as the paper's text and the
            authors' code) or `"7x7"` (one, and max-pool: the stem that the
            paper's parameter counts belong to). Defaults to `"convolutions"`.
        drop_path_rate: Float. How often training leaves out the residuals of
            the last block; those of earlier blocks proportionally less.
            Defaults to `0.1`.
    {last}
    """
    architecture = dataclasses.replace(
        RESTS[variant], stem=stem, drop_path_rate=drop_path_rate
    )
    return image_classifier(
        architecture.features,
        variant=variant if stem == "convolutions" else f"{variant}_{stem}",
        family="imagenet",
        include_top=include_top,
        weights=weights,
        input_tensor=input_tensor,
        input_shape=input_shape,
        pooling=pooling,
        classes=classes,
        classifier_activation=classifier_activation,
        name=name,
        include_preprocessing=include_preprocessing,
        data_format=data_format,
        class_names=class_names,
    )


@named(_rest, "restlite")
def ResTLite() -> None:
    """ResT-Lite: widths 64 to 512, 2-2-2-2 blocks, 10.5 M parameters."""


@named(_rest, "restsmall")
def ResTSmall() -> None:
    """ResT-Small: widths 64 to 512, 2-2-6-2 blocks, 13.7 M parameters."""


@named(_rest, "restbase")
def ResTBase() -> None:
    """ResT-Base: widths 96 to 768, 2-2-6-2 blocks, 30.3 M parameters."""


@named(_rest, "restlarge")
def ResTLarge() -> None:
    """ResT-Large: widths 96 to 768, 2-2-18-2 blocks, 51.7 M parameters."""
