"""The residual networks on which the attention papers report: one builder.

ResNet, with attention by name; SCNet and EPSANet, whose blocks differ in the
middle; and the dilated forms on which segmentation heads stand.
"""

import dataclasses

import keras

from keras_ratn import layers
from keras_ratn.layers import _common
from keras_ratn.models._graph import Graph

STEMS = ("imagenet", "deep", "cifar")
BLOCKS = ("basic", "bottleneck", "self_calibrated")
STAGE_WIDTHS = (64, 128, 256, 512)
EXPANSION = {"basic": 1, "bottleneck": 4, "self_calibrated": 4}
BETWEEN_STAGES = ("bam", "bam_sum")
# A bottleneck's only one, a basic block's second one.
IN_PLACE_OF_3X3 = ("psa",)
# The rest stand at the end of each block, before the shortcut is added.
IN_BLOCKS = (
    "cbam",
    "channel_affinity",
    "eca",
    "eca_adaptive",
    "eca_ns",
    "emsa",
    "external",
    "highway",
    "pixel",
    "position",
    "se",
    "se_gc",
    "se_var1",
    "se_var2",
    "se_var3",
)
ATTENTIONS = (None, *BETWEEN_STAGES, *IN_PLACE_OF_3X3, *IN_BLOCKS)


@dataclasses.dataclass(frozen=True)
class ResidualBackbone:
    """The numbers and choices that make one network of this kind.

    Args:
        num_blocks: Tuple of integers. Blocks in each stage.
        block: String, `"basic"`, `"bottleneck"` or `"self_calibrated"`.
        stem: String, `"imagenet"` (7x7 convolution and max-pool), `"deep"`
            (three 3x3 convolutions and max-pool) or `"cifar"` (one 3x3
            convolution at full size).
        stem_filters: Integer. Channels of the stem; in a deep stem the first
            two convolutions have half of them.
        widths: Tuple of integers. Channels inside the blocks of each stage.
        average_pooling: Boolean. Whether strides are made by average-pooling
            (the "v1d" networks).
        stride_first: Boolean. Whether a bottleneck's stride is in its first
            1x1 convolution (the authors' SE networks), not in the 3x3.
        dilations: `None`, or for each stage a tuple of the dilations of its
            blocks, of which the last repeats. A stage with dilations keeps
            its size; an empty tuple leaves it as usual.
        attention: `None` or a short name, see `keras_ratn.layers.get`.
        attention_options: Dictionary of options of the attention's class, or
            a tuple of such for each stage.
    """

    num_blocks: tuple
    block: str = "bottleneck"
    stem: str = "imagenet"
    stem_filters: int = 64
    widths: tuple = STAGE_WIDTHS
    average_pooling: bool = False
    stride_first: bool = False
    dilations: tuple | None = None
    attention: str | None = None
    attention_options: dict | tuple = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        _common.one_of("block", self.block, BLOCKS)
        _common.one_of("stem", self.stem, STEMS)
        if self.attention not in ATTENTIONS:
            raise ValueError(
                "`attention` must be None or one of "
                f"{sorted(a for a in ATTENTIONS if a)}. "
                f"Received: attention={self.attention!r}"
            )
        if self.attention in IN_PLACE_OF_3X3 and (
            self.block == "self_calibrated" or self.dilations
        ):
            raise ValueError(
                f"`attention={self.attention!r}` takes the place of a plain "
                "3x3 convolution: blocks must be 'basic' or 'bottleneck', "
                f"without dilations. Received: block={self.block!r}, "
                f"dilations={self.dilations}"
            )
        options = self.attention_options
        stages = len(self.num_blocks)
        for field in ("widths", "dilations"):
            value = getattr(self, field)
            if value is not None and len(value) < stages:
                raise ValueError(
                    f"`{field}` must have an entry for each of the {stages} "
                    f"stages of `num_blocks`. Received: {field}={value}"
                )
        if options and self.attention is None:
            raise ValueError(
                "`attention_options` need an `attention`. "
                f"Received: attention=None, attention_options={options!r}"
            )
        if not isinstance(options, dict) and len(options) != stages:
            raise ValueError(
                "`attention_options` must be a dictionary, or one for each "
                f"of the {stages} stages. "
                f"Received: attention_options={options!r}"
            )

    @property
    def family(self):
        """The kind of images the network is for."""
        return "cifar" if self.stem == "cifar" else "imagenet"

    def features(self, x, data_format):
        """Adds stem and stages to the graph; returns the last maps."""
        graph = Graph(data_format)
        x = self._stem(graph, x)
        for stage in range(len(self.num_blocks)):
            x = self._stage(graph, x, stage)
        return x

    def _stem(self, graph, x):
        filters = self.stem_filters
        if self.stem == "cifar":
            return graph.convolve_normalize_relu(x, filters, 3, "stem")
        if self.stem == "imagenet":
            x = graph.convolve_normalize_relu(x, filters, 7, "stem", strides=2)
        else:
            for index, (width, strides) in enumerate(
                ((filters // 2, 2), (filters // 2, 1), (filters, 1)), start=1
            ):
                x = graph.convolve_normalize_relu(
                    x, width, 3, f"stem{index}", strides=strides
                )
        return graph.max_pool(x, "stem_pool")

    def _stage(self, graph, x, stage):
        dilations = self.dilations[stage] if self.dilations else ()
        strides = 1 if stage == 0 or dilations else 2
        for index in range(self.num_blocks[stage]):
            dilation = 1
            if dilations:
                dilation = dilations[min(index, len(dilations) - 1)]
            block = ResidualBlock(
                self,
                graph,
                stage,
                strides if index == 0 else 1,
                dilation,
                f"stage{stage + 1}_block{index + 1}",
            )
            x = block(x)
        last = stage == len(self.num_blocks) - 1
        if self.attention in BETWEEN_STAGES and not last:
            x = self.attend(graph, stage, f"stage{stage + 1}_attention")(x)
        return x

    def attend(self, graph, stage, name, **options):
        """The stage's attention layer."""
        own = self.attention_options
        own = own if isinstance(own, dict) else own[stage]
        return layers.get(
            self.attention,
            **own,
            **options,
            data_format=graph.data_format,
            name=name,
        )


@dataclasses.dataclass(frozen=True)
class ResidualBlock:
    """One residual block of a backbone, as a function of its input."""

    backbone: ResidualBackbone
    graph: Graph
    stage: int
    strides: int
    dilation: int
    name: str

    @property
    def width(self):
        return self.backbone.widths[self.stage]

    @property
    def filters(self):
        """Channels that the block returns."""
        return self.width * EXPANSION[self.backbone.block]

    def __call__(self, x):
        main = getattr(self, f"_{self.backbone.block}")(x)
        if self.backbone.attention in IN_BLOCKS:
            main = self._attend(main)
        shortcut = self._shortcut(x)
        x = keras.layers.Add(name=f"{self.name}_add")([main, shortcut])
        return self.graph.relu(x, self.name)

    def _attend(self, x, **options):
        return self.backbone.attend(
            self.graph, self.stage, f"{self.name}_attention", **options
        )(x)

    def _shortcut(self, x):
        graph, name = self.graph, f"{self.name}_projection"
        if self.strides == 1 and graph.channels(x) == self.filters:
            return x
        strides = self.strides
        if self.backbone.average_pooling and strides > 1:
            # "same" pads odd sizes at the end and leaves the padding out of
            # the average.
            x = graph.average_pool(x, 2, 2, f"{name}_pool", padding="same")
            strides = 1
        return graph.convolve_normalize(
            x, self.filters, 1, name, strides=strides
        )

    def _basic(self, x):
        x = self.graph.convolve_normalize_relu(
            x,
            self.width,
            3,
            f"{self.name}_1",
            strides=self.strides,
            dilation_rate=self.dilation,
        )
        name = f"{self.name}_2"
        if self.backbone.attention in IN_PLACE_OF_3X3:
            return self.graph.normalize(self._attend(x), name)
        return self.graph.convolve_normalize(
            x, self.width, 3, name, dilation_rate=self.dilation
        )

    def _bottleneck(self, x):
        graph, name = self.graph, self.name
        first, middle = 1, self.strides
        if self.backbone.stride_first:
            first, middle = middle, first
        x = graph.convolve_normalize_relu(
            x, self.width, 1, f"{name}_1", strides=first
        )
        if self.backbone.attention in IN_PLACE_OF_3X3:
            x = self._attend(x, strides=middle)
            x = graph.relu(graph.normalize(x, f"{name}_2"), f"{name}_2")
        else:
            x = graph.convolve_normalize_relu(
                x,
                self.width,
                3,
                f"{name}_2",
                strides=middle,
                dilation_rate=self.dilation,
            )
        return graph.convolve_normalize(x, self.filters, 1, f"{name}_3")

    def _self_calibrated(self, x):
        """Half of the width in a 3x3, half in a self-calibrated one."""
        graph, name = self.graph, self.name
        half = self.width // 2
        pooled = self.backbone.average_pooling and self.strides > 1
        strides = 1 if pooled else self.strides
        a = graph.convolve_normalize_relu(x, half, 1, f"{name}_a1")
        a = graph.convolve_normalize_relu(
            a,
            half,
            3,
            f"{name}_a2",
            strides=strides,
            dilation_rate=self.dilation,
        )
        b = graph.convolve_normalize_relu(x, half, 1, f"{name}_b1")
        b = layers.SelfCalibratedConv2D(
            strides,
            self.dilation,
            data_format=graph.data_format,
            name=f"{name}_b2",
        )(b)
        b = graph.relu(b, f"{name}_b2")
        x = graph.concatenate([a, b], f"{name}_concatenate")
        if pooled:
            # Here the padding does count in the average.
            x = graph.pad(x, 1, f"{name}_pool_padding")
            x = graph.average_pool(x, 3, self.strides, f"{name}_pool")
        return graph.convolve_normalize(x, self.filters, 1, f"{name}_3")
