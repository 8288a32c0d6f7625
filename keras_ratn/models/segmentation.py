"""DANet and EANet: attention heads on dilated residual networks."""

from collections.abc import Sequence
from typing import Literal

import keras

from keras_ratn import layers
from keras_ratn.layers import _common
from keras_ratn.models._documentation import shared_arguments
from keras_ratn.models._ends import image_input
from keras_ratn.models._ends import pool
from keras_ratn.models._graph import Graph
from keras_ratn.models.named import Activation
from keras_ratn.models.named import DataFormat
from keras_ratn.models.named import named
from keras_ratn.models.named import Pooling
from keras_ratn.models.named import Shape
from keras_ratn.models.named import Weights
from keras_ratn.models.pretrained import load_weights
from keras_ratn.models.pretrained import resolve_classes
from keras_ratn.models.pretrained import resolve_weights
from keras_ratn.models.residual_backbone import ResidualBackbone
from keras_ratn.preprocessing import preprocessing_layer

HEADS = ("danet", "eanet")
DEFAULT_SIZE = 513
DROPOUT_RATE = 0.1
# Of the data sets that the papers report on: Pascal VOC, Cityscapes.
VOC_CLASSES = 21
CLASSES = {"danet50": 19, "danet101": 19}

_STAGES = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}
# Dilations of each stage: the last two keep an eighth of the size. The first
# block of a stage has the dilation of the stage before.
_PLAIN = ((), (), (1, 2), (2, 4, 4))
_MULTI_GRID = ((), (), (1, 2), (4, 8, 16))
_EANET = ((), (), (1, 2), (2, 8, 16))


def SegmentationNetwork(
    backbone,
    head,
    include_top=True,
    weights=None,
    input_tensor=None,
    input_shape=None,
    pooling=None,
    classes=None,
    classifier_activation=None,
    name="segmentation_network",
    *,
    segmentation=True,
    auxiliary_outputs=False,
    include_preprocessing=True,
    data_format=None,
    class_names=None,
    variant=None,
):
    """Builds a network that says for every pixel what it shows.

    The named builders (`DANet50`, `EANet101`, ...) are this function with a
    backbone of the papers. Evaluate with
    `keras.metrics.MeanIoU(classes, sparse_y_pred=False)`; it takes an
    `ignore_class`.

    Reference:
    - [Dual Attention Network for Scene Segmentation (Fu et al., 2019)](
        https://arxiv.org/abs/1809.02983)
    - [Beyond Self-attention: External Attention using Two Linear Layers for
        Visual Tasks (Guo et al., 2021)](https://arxiv.org/abs/2105.02358)

    Args:
        backbone: `keras_ratn.models.ResidualBackbone`. What makes the
            features.
        head: String, `"danet"` or `"eanet"`.
        include_top: Boolean. Whether the network has its head; without, it
            returns the backbone's features. Defaults to `True`.
        weights: As in the other builders. Defaults to `None`.
        input_tensor: Optional Keras tensor to build upon. Defaults to `None`.
        input_shape: Optional triple without the batch size, in the order of
            `data_format`. With `segmentation`, height and width are known.
            Defaults to 513x513x3.
        pooling: `None`, `"avg"` or `"max"`: what ends a network without top.
            Defaults to `None`.
        classes: Integer. Number of classes. Defaults to that of the
            `weights`; without, to 21 (Pascal VOC).
        classifier_activation: String, callable or `None` for logits. Defaults
            to `None`.
        name: String. Name of the model.
        segmentation: Boolean. Whether the network classifies every pixel, at
            the size of its input. Otherwise it classifies whole images, by
            the mean of its logits over the positions. Defaults to `True`.
        auxiliary_outputs: Boolean. Whether a DANet returns the classes by its
            position path and by its channel path too, for training. Defaults
            to `False`.
        include_preprocessing: Boolean. Whether the network takes pixels 0-255
            and scales them itself. Defaults to `True`.
        data_format: String, `"channels_last"` or `"channels_first"`. Defaults
            to Keras's global setting.
        class_names: Optional list of `classes` strings, kept in the model.
            Defaults to those in the `weights`, if they have any.
        variant: String or `None`. What registered checkpoints go by.

    Returns:
        A functional `keras.Model`. Logits are enlarged in float32 whatever
        the precision of the rest.

    Example:

    >>> backbone = keras_ratn.models.ResidualBackbone(
    ...     (1, 1), widths=(8, 16), stem_filters=8)
    >>> model = keras_ratn.SegmentationNetwork(
    ...     backbone, "danet", input_shape=(64, 48, 3), classes=4)
    >>> model.output_shape
    (None, 64, 48, 4)
    """
    _common.one_of("head", head, HEADS)
    if auxiliary_outputs and head != "danet":
        raise ValueError(
            "`auxiliary_outputs` are of DANet's head only. "
            f"Received: auxiliary_outputs=True, head={head!r}"
        )
    if not include_top:
        _common.one_of("pooling", pooling, (None, "avg", "max"))
    data_format = _common.standard_data_format(data_format)
    weights = resolve_weights(weights, variant, include_top, classes)
    classes, class_names = resolve_classes(
        weights, classes, class_names, CLASSES.get(variant, VOC_CLASSES)
    )
    names = ("predictions", "position", "channel")
    # Made before the rest: a wrong argument is an error at once. A softmax
    # has a layer of its own, which knows the axis.
    _common.known_activation("classifier_activation", classifier_activation)
    softmax = classifier_activation == "softmax"
    scores = [
        layers.ClassScores(
            classes,
            class_names,
            None if softmax else classifier_activation,
            dtype="float32",
            name=name,
        )
        for name in (names if auxiliary_outputs else names[:1])
    ]
    inputs = image_input(input_tensor, input_shape, DEFAULT_SIZE, data_format)
    axes = _common.spatial_axes(data_format)
    size = tuple(inputs.shape[axis] for axis in axes)
    if include_top and segmentation and None in size:
        raise ValueError(
            "With `segmentation`, height and width must be known, since the "
            "logits are enlarged to them. "
            f"Received: input_shape={tuple(inputs.shape[1:])}"
        )
    x = inputs
    if include_preprocessing:
        channels = inputs.shape[_common.channel_axis(data_format)]
        x = preprocessing_layer(
            "imagenet", channels, data_format=data_format, name="preprocessing"
        )(x)
    x = backbone.features(x, data_format)
    if include_top:
        x = _head(x, head, classes, auxiliary_outputs, data_format)
        outputs = [
            _finish(
                logits,
                size if segmentation else None,
                softmax,
                data_format,
                layer,
            )
            for logits, layer in zip(keras.tree.flatten(x), scores)
        ]
        x = outputs if auxiliary_outputs else outputs[0]
    else:
        x = pool(x, pooling, data_format)
    if input_tensor is not None:
        inputs = keras.utils.get_source_inputs(input_tensor)
    model = keras.Model(inputs, x, name=name)
    if weights is not None:
        load_weights(model, weights.path)
    return model


def _head(x, head, classes, auxiliary_outputs, data_format):
    """Logits for each position of the features."""
    if head == "danet":
        return layers.DualAttention(
            classes,
            dropout_rate=DROPOUT_RATE,
            auxiliary_outputs=auxiliary_outputs,
            data_format=data_format,
            name="head",
        )(x)
    graph = Graph(data_format)
    filters = graph.channels(x) // 4
    x = graph.convolve_normalize_relu(x, filters, 3, "head1")
    x = layers.ExternalAttention(
        data_format=data_format, name="head_attention"
    )(x)
    x = graph.convolve_normalize_relu(x, filters // 2, 3, "head2")
    x = keras.layers.SpatialDropout2D(
        DROPOUT_RATE, data_format=data_format, name="head_dropout"
    )(x)
    return graph.convolve(x, classes, 1, "head_classifier", use_bias=True)


def _finish(logits, size, softmax, data_format, scores):
    """To the size of the images, or to one vector for each of them."""
    name = scores.name
    if size is None:
        x = keras.layers.GlobalAveragePooling2D(
            data_format=data_format, dtype="float32", name=f"{name}_mean"
        )(logits)
    else:
        x = layers.BilinearUpsampling2D(
            align_corners=True,
            data_format=data_format,
            dtype="float32",
            name=f"{name}_upsampling",
        )(logits, target_size=size)
    if softmax:
        axis = -1 if size is None else _common.channel_axis(data_format)
        x = keras.layers.Softmax(
            axis=axis, dtype="float32", name=f"{name}_softmax"
        )(x)
    return scores(x)


def _danet_backbone(depth, stem, multi_grid):
    return ResidualBackbone(
        _STAGES[depth],
        stem=_common.one_of("stem", stem, ("imagenet", "deep")),
        stem_filters=64 if stem == "imagenet" else 128,
        dilations=_MULTI_GRID if multi_grid else _PLAIN,
    )


def _eanet_backbone(depth):
    return ResidualBackbone(
        _STAGES[depth], stem="deep", stem_filters=128, dilations=_EANET
    )


@shared_arguments
def _danet(
    depth: int,
    include_top: bool = True,
    weights: Weights = None,
    input_tensor: keras.KerasTensor | None = None,
    input_shape: Shape = None,
    pooling: Pooling = None,
    classes: int | None = None,
    classifier_activation: Activation = None,
    name: str | None = None,
    *,
    segmentation: bool = True,
    auxiliary_outputs: bool = False,
    stem: Literal["imagenet", "deep"] = "imagenet",
    multi_grid: bool = True,
    include_preprocessing: bool = True,
    data_format: DataFormat = None,
    class_names: Sequence[str] | None = None,
) -> keras.Model:
    """DANet on a ResNet of that depth.

    A ResNet whose last two stages are dilated, so that its features are an
    eighth of the image in size, and an attention head on it.

    Reference:
    - [Dual Attention Network for Scene Segmentation (Fu et al., 2019)](
        https://arxiv.org/abs/1809.02983)

    {common}
        segmentation: Boolean. Whether every pixel is classified, at the size
            of the input, rather than whole images. Height and width are known
            then. Defaults to `True`.
        auxiliary_outputs: Boolean. Whether to return the classes by the
            position path and by the channel path too, for training. Defaults
            to `False`.
        stem: String, `"imagenet"` (7x7) or `"deep"` (three 3x3). Defaults to
            `"imagenet"`.
        multi_grid: Boolean. Whether the blocks of the last stage have the
            dilations 4, 8 and 16, as in the authors' released network, rather
            than 2, 4 and 4. Defaults to `True`.
    {last}
    """
    return SegmentationNetwork(
        _danet_backbone(depth, stem, multi_grid),
        "danet",
        include_top,
        weights,
        input_tensor,
        input_shape,
        pooling,
        classes,
        classifier_activation,
        name,
        segmentation=segmentation,
        auxiliary_outputs=auxiliary_outputs,
        include_preprocessing=include_preprocessing,
        data_format=data_format,
        class_names=class_names,
        variant=f"danet{depth}",
    )


@shared_arguments
def _eanet(
    depth: int,
    include_top: bool = True,
    weights: Weights = None,
    input_tensor: keras.KerasTensor | None = None,
    input_shape: Shape = None,
    pooling: Pooling = None,
    classes: int | None = None,
    classifier_activation: Activation = None,
    name: str | None = None,
    *,
    segmentation: bool = True,
    include_preprocessing: bool = True,
    data_format: DataFormat = None,
    class_names: Sequence[str] | None = None,
) -> keras.Model:
    """EANet on a ResNet of that depth.

    A ResNet whose last two stages are dilated, so that its features are an
    eighth of the image in size, and an attention head on it.

    Reference:
    - [Beyond Self-attention: External Attention using Two Linear Layers for
        Visual Tasks (Guo et al., 2021)](https://arxiv.org/abs/2105.02358)

    {common}
        segmentation: Boolean. Whether every pixel is classified, at the size
            of the input, rather than whole images. Height and width are known
            then. Defaults to `True`.
    {last}
    """
    return SegmentationNetwork(
        _eanet_backbone(depth),
        "eanet",
        include_top,
        weights,
        input_tensor,
        input_shape,
        pooling,
        classes,
        classifier_activation,
        name,
        segmentation=segmentation,
        include_preprocessing=include_preprocessing,
        data_format=data_format,
        class_names=class_names,
        variant=f"eanet{depth}",
    )


@named(_danet, 50, "segmentation")
def DANet50() -> None:
    """DANet on a dilated ResNet-50: 47.5 M parameters."""


@named(_danet, 101, "segmentation")
def DANet101() -> None:
    """DANet on a dilated ResNet-101: 66.5 M parameters."""


@named(_eanet, 50, "segmentation")
def EANet50() -> None:
    """EANet on a dilated ResNet-50: 34.8 M parameters."""


@named(_eanet, 101, "segmentation")
def EANet101() -> None:
    """EANet on a dilated ResNet-101: 53.8 M parameters."""
