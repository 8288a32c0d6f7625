"""EAMLP: a vision transformer whose attention looks up a learned memory."""

import dataclasses
from collections.abc import Sequence

import keras

from keras_ratn import layers
from keras_ratn.models._documentation import shared_arguments
from keras_ratn.models._ends import image_classifier
from keras_ratn.models._graph import add_residual
from keras_ratn.models._graph import feed_forward
from keras_ratn.models._graph import layer_normalize
from keras_ratn.models._graph import truncated_normal
from keras_ratn.models.named import Activation
from keras_ratn.models.named import DataFormat
from keras_ratn.models.named import named
from keras_ratn.models.named import Pooling
from keras_ratn.models.named import Shape
from keras_ratn.models.named import Weights

# Size, strides and padding of the overlapping patches of each step.
UNFOLDS = ((7, 4, 2), (3, 2, 1), (3, 2, 1))
TOKEN_MEMORY_SIZE = 128
TOKEN_DROPOUT_RATE = 0.1


@dataclasses.dataclass(frozen=True)
class EAMLPArchitecture:
    """The numbers that make one EAMLP.

    Args:
        width: Integer. Channels of the tokens.
        num_blocks: Integer. Blocks after the tokens are made.
        num_heads: Integer. Heads of the attention.
        mlp_ratio: Integer. Hidden channels of the dense layers, in widths.
        token_width: Integer. Channels while the tokens are made.
        drop_path_rate: Float. How often training leaves out the last block's
            residuals; earlier blocks' proportionally less often.
    """

    width: int
    num_blocks: int
    num_heads: int
    mlp_ratio: int
    token_width: int = 64
    drop_path_rate: float = 0.0

    def features(self, x, data_format):
        """Adds the network to the graph; returns the class token."""
        if data_format == "channels_first":
            # Tokens have their channels last.
            x = keras.layers.Permute((2, 3, 1), name="to_channels_last")(x)
        if None in x.shape[1:3]:
            raise ValueError(
                "An EAMLP needs images of a known height and width, since "
                "its position table depends on them. "
                f"Received: images of {tuple(x.shape[1:])}"
            )
        x = self._tokens(x)
        x = layers.ClassToken(name="class_token")(x)
        x = layers.SinusoidalPositions(name="positions")(x)
        for index in range(self.num_blocks):
            x = external_block(
                x,
                self.num_heads,
                self.mlp_ratio,
                self.drop_path_rate * index / max(self.num_blocks - 1, 1),
                f"block{index + 1}",
            )
        return layer_normalize(x, "final_norm")[:, 0]

    def _tokens(self, x):
        """`(B, H, W, C)` to `(B, H W / 256, width)`."""
        for index, patch in enumerate(UNFOLDS, start=1):
            x = layers.Unfold(*patch, name=f"unfold{index}")(x)
            height, width, features = x.shape[1:]
            x = keras.layers.Reshape((-1, features), name=f"tokens{index}")(x)
            if index < len(UNFOLDS):
                x = token_block(x, self.token_width, f"token{index}")
                x = keras.layers.Reshape(
                    (height, width, self.token_width), name=f"map{index}"
                )(x)
        return _dense(self.width, "token_projection")(x)


def token_block(x, width, name):
    """External attention that narrows the tokens, then dense layers."""
    query = _dense(width, f"{name}_query")(layer_normalize(x, f"{name}_norm1"))
    scores = _dense(TOKEN_MEMORY_SIZE, f"{name}_key_memory", use_bias=False)(
        query
    )
    scores = layers.DoubleNormalization(name=f"{name}_scores")(scores)
    scores = keras.layers.Dropout(
        TOKEN_DROPOUT_RATE, name=f"{name}_scores_dropout"
    )(scores)
    found = _dense(width, f"{name}_value_memory")(scores)
    found = _dense(width, f"{name}_output")(found)
    found = keras.layers.Dropout(
        TOKEN_DROPOUT_RATE, name=f"{name}_output_dropout"
    )(found)
    # The input is wider: the query is what the attention is added to.
    x = add_residual(query, found, 0.0, f"{name}_attention")
    residual = feed_forward(
        layer_normalize(x, f"{name}_norm2"), width, 0.0, f"{name}_mlp"
    )
    return add_residual(x, residual, 0.0, f"{name}_mlp")


def external_block(x, num_heads, mlp_ratio, drop_path_rate, name):
    """Attention, then dense layers, each normalized before and added."""
    residual = layers.MultiHeadExternalAttention(
        num_heads, name=f"{name}_attention"
    )(layer_normalize(x, f"{name}_norm1"))
    x = add_residual(x, residual, drop_path_rate, f"{name}_attention")
    residual = feed_forward(
        layer_normalize(x, f"{name}_norm2"),
        mlp_ratio * x.shape[-1],
        0.0,
        f"{name}_mlp",
    )
    return add_residual(x, residual, drop_path_rate, f"{name}_mlp")


def _dense(units, name, use_bias=True):
    return keras.layers.Dense(
        units,
        use_bias=use_bias,
        kernel_initializer=truncated_normal(),
        name=name,
    )


EAMLPS = {
    "eamlp7": EAMLPArchitecture(256, 7, 4, 2),
    "eamlp10": EAMLPArchitecture(256, 10, 4, 2),
    "eamlp12": EAMLPArchitecture(256, 12, 4, 2),
    "eamlp14": EAMLPArchitecture(384, 14, 6, 3),
    "eamlp19": EAMLPArchitecture(448, 19, 7, 3),
    "eamlp24": EAMLPArchitecture(512, 24, 8, 3),
}


@shared_arguments
def _eamlp(
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
    drop_path_rate: float = 0.0,
    include_preprocessing: bool = True,
    data_format: DataFormat = None,
    class_names: Sequence[str] | None = None,
) -> keras.Model:
    """A row of `EAMLPS` as a network.

    Images have a fixed height and width, since the position table depends on
    them. Without top, the network returns the class token, and `pooling` has
    nothing to pool.

    Reference:
    - [Beyond Self-attention: External Attention using Two Linear Layers for
        Visual Tasks (Guo et al., 2021)](https://arxiv.org/abs/2105.02358)
    - [Tokens-to-Token ViT (Yuan et al., 2021)](
        https://arxiv.org/abs/2101.11986), for the skeleton

    {common}
        drop_path_rate: Float. How often training leaves out the residuals of
            the last block; those of earlier blocks proportionally less.
            Defaults to `0.0`.
    {last}
    """
    architecture = dataclasses.replace(
        EAMLPS[variant], drop_path_rate=drop_path_rate
    )
    return image_classifier(
        architecture.features,
        variant=variant,
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


@named(_eamlp, "eamlp7")
def EAMLP7() -> None:
    """EAMLP-7: width 256, 7 blocks, 6.1 M parameters."""


@named(_eamlp, "eamlp10")
def EAMLP10() -> None:
    """EAMLP-10: width 256, 10 blocks, 8.5 M parameters."""


@named(_eamlp, "eamlp12")
def EAMLP12() -> None:
    """EAMLP-12: width 256, 12 blocks, 10.1 M parameters."""


@named(_eamlp, "eamlp14")
def EAMLP14() -> None:
    """EAMLP-14: width 384, 14 blocks, 29.8 M parameters."""


@named(_eamlp, "eamlp19")
def EAMLP19() -> None:
    """EAMLP-19: width 448, 19 blocks, 54.5 M parameters."""


@named(_eamlp, "eamlp24")
def EAMLP24() -> None:
    """EAMLP-24: width 512, 24 blocks, 89.4 M parameters."""
