"""Layers, blocks and networks against numbers of the authors' own code.

The vectors stand in the folder that RATN_GOLDEN_DIR names, else in the
developers' shared folder beside the checkout. Each case says how to build our
counterpart and which of its layers each of the authors' weights belongs to.
"""

import dataclasses
import os
import pathlib
import typing

import keras
import numpy as np
import pytest
from keras import ops

from keras_ratn import layers
from keras_ratn.models import eamlp
from keras_ratn.models import rest
from keras_ratn.models._ends import image_classifier
from keras_ratn.models._graph import Graph
from keras_ratn.models.residual_backbone import ResidualBackbone
from keras_ratn.models.residual_backbone import ResidualBlock

DEFAULT_FOLDER = (
    pathlib.Path(__file__).resolve().parents[3]
    / "shared"
    / "golden"
    / "attention_family"
)
FOLDER = pathlib.Path(os.environ.get("RATN_GOLDEN_DIR", DEFAULT_FOLDER))
TOLERANCE = 1e-5

pytestmark = pytest.mark.skipif(
    # A folder that was named must be there; the default one need not.
    not FOLDER.is_dir() and "RATN_GOLDEN_DIR" not in os.environ,
    reason="needs the golden vectors; RATN_GOLDEN_DIR names their folder",
)


@dataclasses.dataclass(frozen=True)
class Case:
    """How one vector is compared.

    `weights` maps the authors' path of a weight, without its last part or
    whole, to our layer: attributes and list indices joined by dots, after the
    name of the layer where `build` returns a model. A value ending in `:name`
    gives the weight's own name where it differs from the authors', one ending
    in `:name_` what comes before it.
    """

    build: typing.Callable
    weights: dict
    inputs: typing.Callable = lambda arrays: (arrays["input"],)
    # Applied to what the layer returns; gives one array for each output.
    outputs: typing.Callable = lambda y: y
    output_names: tuple = ("output",)
    call_kwargs: dict = dataclasses.field(default_factory=dict)
    # Weights stored in another order: path -> function of the array.
    reorder: dict = dataclasses.field(default_factory=dict)


def prefixed(prefix, table, ours=""):
    """The table of a part, for where it stands inside something larger."""
    return {f"{prefix}{k}": f"{ours}{v}" for k, v in table.items()}


# (2, 96, 64) tokens in rows are maps of 8 rows.
def tokens_to_map(arrays):
    x = arrays["input"]
    return (x.reshape(x.shape[0], 8, 12, x.shape[-1]),)


def map_to_tokens(y):
    return ops.reshape(y, (y.shape[0], -1, y.shape[-1]))


BAM = {
    "channel_att/gate_c/gate_c_fc_0": "channel_branch.0",
    "channel_att/gate_c/gate_c_bn_1": "channel_branch.1",
    "channel_att/gate_c/gate_c_fc_final": "channel_branch.3",
    "spatial_att/gate_s/gate_s_conv_reduce0": "spatial_branch.0",
    "spatial_att/gate_s/gate_s_bn_reduce0": "spatial_branch.1",
    "spatial_att/gate_s/gate_s_conv_di_0": "spatial_branch.3",
    "spatial_att/gate_s/gate_s_bn_di_0": "spatial_branch.4",
    "spatial_att/gate_s/gate_s_conv_di_1": "spatial_branch.6",
    "spatial_att/gate_s/gate_s_bn_di_1": "spatial_branch.7",
    "spatial_att/gate_s/gate_s_conv_final": "spatial_branch.9",
}
BAM_LITERAL = {
    "fc0": "channel_branch.0",
    "fc1": "channel_branch.1",
    "bn_c": "channel_branch.2",
    "conv0": "spatial_branch.0",
    "conv1": "spatial_branch.1",
    "conv2": "spatial_branch.2",
    "conv3": "spatial_branch.3",
    "bn_s": "spatial_branch.4",
}
CBAM = {
    "ChannelGate/mlp/1": "squeeze",
    "ChannelGate/mlp/3": "excite",
    "SpatialGate/spatial/conv": "spatial_conv",
    "SpatialGate/spatial/bn": "spatial_bn",
}
ECA = {"conv": ""}
SE = {"fc1": "squeeze", "fc2": "excite"}
PAM = {
    "": "",
    "query_conv": "query",
    "key_conv": "key",
    "value_conv": "value",
}
DANET_HEAD = {
    "conv5a/0": "position_before_conv",
    "conv5a/1": "position_before_bn",
    "conv5c/0": "channel_before_conv",
    "conv5c/1": "channel_before_bn",
    "sa": "position",
    "sa/query_conv": "position.query",
    "sa/key_conv": "position.key",
    "sa/value_conv": "position.value",
    "sc": "channel",
    "conv51/0": "position_after_conv",
    "conv51/1": "position_after_bn",
    "conv52/0": "channel_after_conv",
    "conv52/1": "channel_after_bn",
    "conv6/1": "position_classifier",
    "conv7/1": "channel_classifier",
    "conv8/1": "classifier",
}
SCCONV = {
    "k2/1": "small_conv",
    "k2/2": "small_bn",
    "k3/0": "features_conv",
    "k3/1": "features_bn",
    "k4/0": "last_conv",
    "k4/1": "last_bn",
}
PSA = {
    "conv_1": "convolutions.0",
    "conv_2": "convolutions.1",
    "conv_3": "convolutions.2",
    "conv_4": "convolutions.3",
    "se/fc1": "excitation.squeeze",
    "se/fc2": "excitation.excite",
}
PIXEL = {"pa_conv": "conv"}
EMSA_PLAIN = {
    "q": "query",
    "kv": "key_value",
    "proj": "output_projection",
}
EMSA_REDUCED = {
    **EMSA_PLAIN,
    "sr": "reduction_conv",
    "sr_norm": "reduction_norm",
}
EMSA_MIXED = {"transform_conv": ":mix_"}
EXTERNAL = {
    "conv1": "input_projection",
    "linear_0": "key_memory",
    "linear_1": "value_memory",
    "conv2/0": "output_projection",
    "conv2/1": "bn",
}
MULTI_HEAD_EXTERNAL = {
    "trans_dims": "input_projection",
    "linear_0": "key_memory",
    "linear_1": "value_memory",
    "proj": "output_projection",
}


def emsa(num_heads, ratio, weights, mix_heads=True):
    return Case(
        lambda: layers.EfficientMultiHeadSelfAttention(
            num_heads, ratio, mix_heads
        ),
        weights,
        inputs=tokens_to_map,
        outputs=map_to_tokens,
    )


def sc(**options):
    return Case(lambda: layers.SelfCalibratedConv2D(**options), SCCONV)


def se(weights, **options):
    return Case(lambda: layers.SqueezeExcite(**options), weights)


def eca(kernel_size, **options):
    return Case(
        lambda: layers.EfficientChannelAttention(kernel_size, **options), ECA
    )


def model_of(shape, body):
    """A model of what `body` does to maps of that shape."""
    inputs = keras.Input(shape)
    return keras.Model(inputs, body(inputs))


BOTTLENECK = {
    "conv1": "block_1_conv",
    "bn1": "block_1_bn",
    "conv2": "block_2_conv",
    "bn2": "block_2_bn",
    "conv3": "block_3_conv",
    "bn3": "block_3_bn",
}
PROJECTION = {
    "downsample/0": "block_projection_conv",
    "downsample/1": "block_projection_bn",
}
POOLED_PROJECTION = {
    "downsample/1": "block_projection_conv",
    "downsample/2": "block_projection_bn",
}
SC_BLOCK = {
    "conv1_a": "block_a1_conv",
    "bn1_a": "block_a1_bn",
    "conv1_b": "block_b1_conv",
    "bn1_b": "block_b1_bn",
    "k1/0": "block_a2_conv",
    "k1/1": "block_a2_bn",
    **prefixed("scconv/", SCCONV, "block_b2."),
    "conv3": "block_3_conv",
    "bn3": "block_3_bn",
}
INVERTED_RESIDUAL = {
    "conv/0/0": "expand_conv",
    "conv/0/1": "expand_bn",
    "conv/1/0": "depthwise",
    "conv/1/1": "depthwise_bn",
    "conv/2": "project_conv",
    "conv/3": "project_bn",
    "conv/4/conv": "attention",
}


def block(shape, width, weights, strides=1, **choices):
    """One block of a residual network, with any attention in it."""
    backbone = ResidualBackbone((1,), widths=(width,), **choices)
    body = ResidualBlock(
        backbone, Graph("channels_last"), 0, strides, 1, "block"
    )
    return Case(lambda: model_of(shape, body), weights)


def sc_block(shape, weights, strides=2, **choices):
    weights = {**SC_BLOCK, **weights}
    return block(
        shape, 16, weights, strides, block="self_calibrated", **choices
    )


def inverted_residual(x):
    """MobileNetV2's block, with ECA after its projection."""
    graph = Graph("channels_last")
    y = graph.convolve_normalize(x, 144, 1, "expand")
    y = keras.layers.ReLU(6)(y)
    y = keras.layers.DepthwiseConv2D(
        3, padding="same", use_bias=False, name="depthwise"
    )(y)
    y = keras.layers.ReLU(6)(graph.normalize(y, "depthwise"))
    y = graph.convolve_normalize(y, 24, 1, "project")
    y = layers.EfficientChannelAttention(3, name="attention")(y)
    return keras.layers.Add()([x, y])


def transformer_block(prefix, attention, name):
    """Weights of a block of ResT or EAMLP."""
    return {
        f"{prefix}norm1": f"{name}_norm1",
        **prefixed(f"{prefix}attn/", attention, f"{name}_attention."),
        f"{prefix}norm2": f"{name}_norm2",
        f"{prefix}mlp/fc1": f"{name}_mlp_fc1",
        f"{prefix}mlp/fc2": f"{name}_mlp_fc2",
    }


def patch_embed(prefix, name):
    return {
        f"{prefix}conv": f"{name}_conv",
        f"{prefix}norm": f"{name}_bn",
        f"{prefix}pos/pa_conv": f"{name}_positions.conv",
    }


EMSA = {**EMSA_REDUCED, **EMSA_MIXED}
REST_STEM = {
    "conv1": "stem1_conv",
    "norm1": "stem1_bn",
    "conv2": "stem2_conv",
    "norm2": "stem2_bn",
    "conv3": "stem3_conv",
    "pos/pa_conv": "stem_positions.conv",
}
REST_STEM_7X7 = {
    "conv": "stem_conv",
    "norm": "stem_bn",
    "pos/pa_conv": "stem_positions.conv",
}
REST = {
    **prefixed("stem/", REST_STEM),
    **patch_embed("patch_embed_2/", "stage2_embed"),
    **patch_embed("patch_embed_3/", "stage3_embed"),
    **patch_embed("patch_embed_4/", "stage4_embed"),
    **transformer_block("stage1/0/", EMSA, "stage1_block1"),
    **transformer_block("stage2/0/", EMSA, "stage2_block1"),
    **transformer_block("stage3/0/", EMSA, "stage3_block1"),
    **transformer_block("stage3/1/", EMSA, "stage3_block2"),
    **transformer_block("stage4/0/", EMSA, "stage4_block1"),
    "norm": "final_norm",
    "head": "predictions",
}


def token_block(prefix, name):
    return {
        f"{prefix}norm1": f"{name}_norm1",
        f"{prefix}attn/q_linear": f"{name}_query",
        f"{prefix}attn/linear_0": f"{name}_key_memory",
        f"{prefix}attn/linear_1": f"{name}_value_memory",
        f"{prefix}attn/proj": f"{name}_output",
        f"{prefix}norm2": f"{name}_norm2",
        f"{prefix}mlp/fc1": f"{name}_mlp_fc1",
        f"{prefix}mlp/fc2": f"{name}_mlp_fc2",
    }


EAMLP = {
    **token_block("tokens_to_token/attention1/", "token1"),
    **token_block("tokens_to_token/attention2/", "token2"),
    "tokens_to_token/project": "token_projection",
    **transformer_block("blocks/0/", MULTI_HEAD_EXTERNAL, "block1"),
    **transformer_block("blocks/1/", MULTI_HEAD_EXTERNAL, "block2"),
    "norm": "final_norm",
    "head": "predictions",
    "cls_token": "class_token:token",
    "pos_embed": "positions:table",
}


def unfolded(size):
    """Rows of (channels, rows, columns) to ours, channels last."""

    def reorder(value):
        rest = value.shape[1:]
        value = value.reshape(-1, size, size, *rest)
        return np.moveaxis(value, 0, 2).reshape(-1, *rest)

    return reorder


UNFOLDED = {
    "tokens_to_token/attention1/norm1/gamma": unfolded(7),
    "tokens_to_token/attention1/norm1/beta": unfolded(7),
    "tokens_to_token/attention1/attn/q_linear/kernel": unfolded(7),
    "tokens_to_token/attention2/norm1/gamma": unfolded(3),
    "tokens_to_token/attention2/norm1/beta": unfolded(3),
    "tokens_to_token/attention2/attn/q_linear/kernel": unfolded(3),
    "tokens_to_token/project/kernel": unfolded(3),
}


def network(architecture, shape):
    """A whole network of toy widths, whose outputs are logits."""
    return image_classifier(
        architecture.features,
        variant=None,
        family="imagenet",
        include_top=True,
        weights=None,
        input_tensor=None,
        input_shape=shape,
        pooling=None,
        classes=10,
        classifier_activation=None,
        name="network",
        include_preprocessing=False,
        data_format="channels_last",
        class_names=None,
    )


CASES = {
    "bam_official": Case(lambda: layers.BottleneckAttentionModule(), BAM),
    "bam_sum": Case(
        lambda: layers.BottleneckAttentionModule(combine="sum"), BAM
    ),
    "bam_paper_literal": Case(
        lambda: layers.BottleneckAttentionModule(
            combine="sum", normalization="final"
        ),
        BAM_LITERAL,
    ),
    "cbam": Case(lambda: layers.ConvolutionalBlockAttention(), CBAM),
    "eca_c64_k3": eca(3),
    "eca_c128_k5": eca(None),  # the paper's rule gives 5 here
    "eca_c256_k7": eca(7),
    "eca_c64_k1": eca(1),
    "eca_ns_c64_k3": eca(3, shared=False),
    "se_biased": se(SE),
    "se_bias_free": se(SE, use_bias=False),
    "se_var1": se({}, variant="var1"),
    "se_var2": se({"": ":scale"}, variant="var2"),
    "se_var3": se({"fc": "excite"}, variant="var3"),
    "se_gc_g16": se({"gc": "excite"}, variant="grouped", groups=16),
    "se_gc_g8": se({"gc": "excite"}, variant="grouped", group_size=8),
    "danet_pam": Case(lambda: layers.PositionAttention(), PAM),
    "danet_cam": Case(lambda: layers.ChannelAffinityAttention(), {"": ""}),
    "danet_cam_paper": Case(
        lambda: layers.ChannelAffinityAttention("similar"), {"": ""}
    ),
    "danet_head": Case(
        lambda: layers.DualAttention(7, auxiliary_outputs=True),
        DANET_HEAD,
        output_names=("output", "output_pam", "output_cam"),
    ),
    "upsample_bilinear": Case(
        lambda: layers.BilinearUpsampling2D(align_corners=True),
        {},
        call_kwargs={"target_size": (33, 41)},
    ),
    "upsample_bilinear:half_pixel": Case(
        lambda: layers.BilinearUpsampling2D(),
        {},
        call_kwargs={"target_size": (33, 41)},
        output_names=("output_align_corners_false",),
    ),
    "scconv_16_s1": sc(),
    "scconv_14_s1": sc(),
    "scconv_7x10_s1": sc(),
    "scconv_14_s2": sc(strides=2),
    "scconv_16_d2": sc(dilation_rate=2),
    "se_weight": Case(
        lambda: layers.SqueezeExcite(),
        SE,
        call_kwargs={"return_attention_mask": True},
        outputs=lambda y: y[1],
    ),
    "psa_c64_s1": Case(lambda: layers.PyramidSqueezeAttention(), PSA),
    "psa_c64_s2": Case(lambda: layers.PyramidSqueezeAttention(strides=2), PSA),
    "psa_c128_g32": Case(
        lambda: layers.PyramidSqueezeAttention(groups=(32, 32, 32, 32)), PSA
    ),
    "rest_pa": Case(lambda: layers.PixelAttention(), PIXEL),
    "rest_emsa_h4_sr2": emsa(4, 2, {**EMSA_REDUCED, **EMSA_MIXED}),
    "rest_emsa_h1_sr4": emsa(1, 4, EMSA_REDUCED),
    "rest_emsa_h8_sr1": emsa(8, 1, {**EMSA_PLAIN, **EMSA_MIXED}),
    "rest_emsa_h4_sr2_plain": emsa(4, 2, EMSA_REDUCED, mix_heads=False),
    "eanet_external_attention": Case(
        lambda: layers.ExternalAttention(), EXTERNAL
    ),
    "eanet_external_attention_tied": Case(
        lambda: layers.ExternalAttention(), EXTERNAL
    ),
    "eamlp_mhea": Case(
        lambda: layers.MultiHeadExternalAttention(4), MULTI_HEAD_EXTERNAL
    ),
    "highway_conv": Case(
        lambda: layers.HighwayGate(), {"h": "transform", "t": "gate"}
    ),
    "stn_affine_bilinear": Case(
        lambda: layers.SpatialTransformer((9, 11)),
        None,  # its matrix is given: the localisation network is not used
        inputs=lambda arrays: (arrays["input"], arrays["theta"]),
    ),
    "stn_affine_bilinear:edges": Case(
        lambda: layers.SpatialTransformer((9, 11), align_corners=False),
        None,
        inputs=lambda arrays: (arrays["input"], arrays["theta"]),
        output_names=("output_align_corners_false",),
    ),
    "cbam_bottleneck_s2": block(
        (16, 16, 32),
        16,
        {
            **BOTTLENECK,
            **PROJECTION,
            **prefixed("cbam/", CBAM, "block_attention."),
        },
        strides=2,
        attention="cbam",
    ),
    "eca_bottleneck_s2": block(
        (16, 16, 32),
        16,
        {
            **BOTTLENECK,
            **PROJECTION,
            **prefixed("eca/", ECA, "block_attention."),
        },
        strides=2,
        attention="eca",
        attention_options={"kernel_size": 5},
    ),
    "eca_basicblock": block(
        (16, 16, 32),
        32,
        {
            **BOTTLENECK,
            **prefixed("eca/", ECA, "block_attention."),
        },
        block="basic",
        attention="eca",
    ),
    "eca_inverted_residual": Case(
        lambda: model_of((16, 16, 24), inverted_residual), INVERTED_RESIDUAL
    ),
    "se_resnet_bottleneck_s2": block(
        (16, 16, 32),
        16,
        {
            **BOTTLENECK,
            **PROJECTION,
            **prefixed("se_module/", SE, "block_attention."),
        },
        strides=2,
        attention="se",
        stride_first=True,
    ),
    "sc_bottleneck_s1": sc_block((14, 14, 64), {}, strides=1),
    "sc_bottleneck_s2": sc_block((14, 14, 32), PROJECTION),
    "sc_bottleneck_v1d_s2": sc_block(
        (14, 14, 32), POOLED_PROJECTION, average_pooling=True
    ),
    "sc_bottleneck_v1d_s2_odd": sc_block(
        (15, 13, 32), POOLED_PROJECTION, average_pooling=True
    ),
    "epsa_block_s2": block(
        (10, 10, 32),
        64,
        {
            **BOTTLENECK,
            **PROJECTION,
            **prefixed("conv2/", PSA, "block_attention."),
        },
        strides=2,
        attention="psa",
    ),
    "rest_block_h2_sr4": Case(
        lambda: model_of(
            (8, 12, 32),
            lambda x: rest.transformer_block(x, 2, 4, 4, 0.0, "block"),
        ),
        transformer_block("", EMSA, "block"),
        inputs=tokens_to_map,
        outputs=map_to_tokens,
    ),
    "rest_patch_embed": Case(
        lambda: model_of(
            (12, 16, 16),
            lambda x: rest.patch_embedding(
                Graph("channels_last"), x, 32, "embed"
            ),
        ),
        patch_embed("pe/", "embed"),
        outputs=map_to_tokens,
    ),
    "rest_basic_stem": Case(
        lambda: model_of(
            (32, 40, 3),
            lambda x: rest.stem(Graph("channels_last"), x, 32, "convolutions"),
        ),
        REST_STEM,
    ),
    "rest_stem7x7": Case(
        lambda: model_of(
            (32, 40, 3),
            lambda x: rest.stem(Graph("channels_last"), x, 32, "7x7"),
        ),
        REST_STEM_7X7,
    ),
    "rest_tiny_model": Case(
        lambda: network(
            rest.ResTArchitecture((16, 32, 64, 128), (1, 1, 2, 1)),
            (64, 96, 3),
        ),
        REST,
    ),
    "eamlp_block": Case(
        lambda: model_of(
            (50, 64), lambda x: eamlp.external_block(x, 4, 2, 0.0, "block")
        ),
        transformer_block("", MULTI_HEAD_EXTERNAL, "block"),
    ),
    "eamlp_token_performer": Case(
        lambda: model_of((64, 75), lambda x: eamlp.token_block(x, 16, "token")),
        token_block("", "token"),
    ),
    "eamlp_tiny_model": Case(
        lambda: network(
            eamlp.EAMLPArchitecture(64, 2, 4, 2, token_width=16), (64, 64, 3)
        ),
        EAMLP,
        reorder=UNFOLDED,
    ),
}


def load(name):
    with np.load(FOLDER / f"{name.split(':')[0]}.npz") as file:
        return {key: file[key] for key in file.files}


def find(root, path):
    """The layer at `path`; a model's layers go by name."""
    for part in filter(None, path.split(".")):
        if isinstance(root, keras.Model):
            root = root.get_layer(part)
        elif part.isdigit():
            root = root[int(part)]
        else:
            root = getattr(root, part)
    return root


def assign_weights(root, arrays, case):
    """Gives every weight of `root` the authors' value, and uses them all."""
    assigned = set()
    for key, value in arrays.items():
        if not key.startswith("w:"):
            continue
        path, _, leaf = key[2:].rpartition("/")
        ours = case.weights.get(key[2:]) or case.weights[path]
        ours, _, own_name = ours.partition(":")
        if own_name.endswith("_"):
            leaf = own_name + leaf
        elif own_name:
            leaf = own_name
        elif leaf == "depthwise_kernel":
            leaf = "kernel"
        if key[2:] in case.reorder:
            value = case.reorder[key[2:]](value)
        variable = getattr(find(root, ours), leaf)
        # A 1x1 convolution on tokens is a dense layer, and the like.
        assert np.prod(variable.shape) == value.size, key
        variable.assign(value.reshape(variable.shape))
        assigned.add(variable.path)
    missing = {v.path for v in root.variables if "seed" not in v.path}
    assert missing - assigned == set()


@pytest.mark.parametrize("name", CASES)
def test_golden(name):
    case = CASES[name]
    arrays = load(name)
    layer = case.build()
    inputs = case.inputs(arrays)
    layer(*inputs, **case.call_kwargs)
    if case.weights is not None:
        assign_weights(layer, arrays, case)
    actual = case.outputs(layer(*inputs, **case.call_kwargs))
    if not isinstance(actual, (tuple, list)):
        actual = (actual,)
    assert len(actual) == len(case.output_names)
    for output_name, value in zip(case.output_names, actual):
        expected = arrays[output_name]
        value = ops.convert_to_numpy(value)
        assert value.shape == expected.shape
        error = np.max(np.abs(value - expected))
        error /= max(1.0, np.max(np.abs(expected)))
        print(f"{name} {output_name}: {error:.2e}")
        assert error < TOLERANCE, (output_name, error)


def test_every_vector_has_a_case():
    vectors = {path.stem for path in FOLDER.glob("*.npz")}
    assert vectors - {name.split(":")[0] for name in CASES} == set()
