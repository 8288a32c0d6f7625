"""The networks of the attention family: their numbers and their properties."""

import json

import keras
import numpy as np
import pytest
from keras import ops
from network_lists import FAMILY_BUILDERS
from tiny_models import forward

import keras_ratn as k
from keras_ratn.models import ResidualBackbone
from keras_ratn.models.residual_backbone import ATTENTIONS
from keras_ratn.profiling import count_macs

SIZE = (224, 224, 3)
BIAS_FREE = {"use_bias": False}
# The counts include the classifiers that DANet trains with.
DANET = {"auxiliary_outputs": True, "input_shape": SIZE}


def taps(*kernel_sizes):
    """Options of ECA for each stage."""
    return tuple({"kernel_size": size} for size in kernel_sizes)


def strided_first(num_blocks):
    """The networks of the SE paper, which have no builder of their own."""
    backbone = ResidualBackbone(num_blocks, stride_first=True, attention="se")
    arguments = {**ARGUMENTS, "input_shape": SIZE, "classes": 1000}
    return k.models._ends.image_classifier(backbone.features, **arguments)


def on_maps(layer):
    """A model of one layer on 512 maps."""
    inputs = keras.Input((28, 28, 512))
    return keras.Model(inputs, layer(inputs))


# Configuration, named as in the developers' table of the authors' networks:
# (builder, trainable parameters, multiply-accumulates or None, slow). None
# stands where the authors' count has products that here are no layer's: ECA's
# convolution, ResT's mixing of heads.
NUMBERS = {
    "resnet18": (lambda: k.ResNet18(), 11_689_512, 1_814_073_344, False),
    "resnet18_bam": (
        lambda: k.ResNet18(attention="bam"),
        11_712_503,
        1_819_224_000,
        False,
    ),
    "resnet18_cbam": (
        lambda: k.ResNet18(attention="cbam"),
        11_779_392,
        1_815_063_764,
        False,
    ),
    "resnet34": (lambda: k.ResNet34(), 21_797_672, 3_663_761_408, True),
    "resnet34_bam": (
        lambda: k.ResNet34(attention="bam"),
        21_820_663,
        3_668_912_064,
        True,
    ),
    "resnet34_cbam": (
        lambda: k.ResNet34(attention="cbam"),
        21_960_468,
        3_665_434_742,
        True,
    ),
    "resnet50": (lambda: k.ResNet50(), 25_557_032, 4_089_184_256, True),
    "resnet50_bam": (
        lambda: k.ResNet50(attention="bam"),
        25_915_099,
        4_171_331_328,
        True,
    ),
    "resnet50_cbam": (
        lambda: k.ResNet50(attention="cbam"),
        28_089_624,
        4_095_573_110,
        True,
    ),
    "resnet101": (lambda: k.ResNet101(), 44_549_160, 7_801_405_440, True),
    "resnet101_bam": (
        lambda: k.ResNet101(attention="bam"),
        44_907_227,
        7_883_552_512,
        True,
    ),
    "resnet101_cbam": (
        lambda: k.ResNet101(attention="cbam"),
        49_330_172,
        7_812_577_278,
        True,
    ),
    "cifar100_resnet18": (
        lambda: k.ResNet18(stem="cifar", classes=100),
        11_220_132,
        555_468_800,
        True,
    ),
    "cifar100_resnet18_bam": (
        lambda: k.ResNet18(stem="cifar", classes=100, attention="bam"),
        11_243_123,
        557_157_888,
        True,
    ),
    "cifar100_resnet18_cbam": (
        lambda: k.ResNet18(stem="cifar", classes=100, attention="cbam"),
        11_310_012,
        555_909_440,
        True,
    ),
    "cifar100_resnet34": (
        lambda: k.ResNet34(stem="cifar", classes=100),
        21_328_292,
        1_159_448_576,
        True,
    ),
    "cifar100_resnet34_bam": (
        lambda: k.ResNet34(stem="cifar", classes=100, attention="bam"),
        21_351_283,
        1_161_137_664,
        True,
    ),
    "cifar100_resnet34_cbam": (
        lambda: k.ResNet34(stem="cifar", classes=100, attention="cbam"),
        21_491_088,
        1_160_206_688,
        True,
    ),
    "cifar100_resnet50": (
        lambda: k.ResNet50(stem="cifar", classes=100),
        23_705_252,
        1_298_014_208,
        True,
    ),
    "cifar100_resnet50_bam": (
        lambda: k.ResNet50(stem="cifar", classes=100, attention="bam"),
        24_063_319,
        1_324_953_600,
        True,
    ),
    "cifar100_resnet50_cbam": (
        lambda: k.ResNet50(stem="cifar", classes=100, attention="cbam"),
        26_237_844,
        1_303_487_840,
        True,
    ),
    "cifar100_resnet101": (
        lambda: k.ResNet101(stem="cifar", classes=100),
        42_697_380,
        2_510_168_064,
        True,
    ),
    "cifar100_resnet101_bam": (
        lambda: k.ResNet101(stem="cifar", classes=100, attention="bam"),
        43_055_447,
        2_537_107_456,
        True,
    ),
    "cifar100_resnet101_cbam": (
        lambda: k.ResNet101(stem="cifar", classes=100, attention="cbam"),
        47_478_392,
        2_520_204_768,
        True,
    ),
    "eca_resnet18_k3577": (
        lambda: k.ResNet18(attention="eca", attention_options=taps(3, 5, 7, 7)),
        11_689_556,
        None,
        False,
    ),
    "eca_resnet18_k3333": (
        lambda: k.ResNet18(attention="eca"),
        11_689_536,
        None,
        True,
    ),
    "eca_resnet34_k3357": (
        lambda: k.ResNet34(attention="eca", attention_options=taps(3, 3, 5, 7)),
        21_797_744,
        None,
        True,
    ),
    "eca_resnet34_k3333": (
        lambda: k.ResNet34(attention="eca"),
        21_797_720,
        None,
        True,
    ),
    "eca_resnet50_k3557": (
        lambda: k.ResNet50(attention="eca", attention_options=taps(3, 5, 5, 7)),
        25_557_112,
        None,
        True,
    ),
    "eca_resnet50_k3333": (
        lambda: k.ResNet50(attention="eca"),
        25_557_080,
        None,
        True,
    ),
    "eca_resnet101_k3357": (
        lambda: k.ResNet101(
            attention="eca", attention_options=taps(3, 3, 5, 7)
        ),
        44_549_317,
        None,
        True,
    ),
    "eca_resnet101_k3333": (
        lambda: k.ResNet101(attention="eca"),
        44_549_259,
        None,
        True,
    ),
    "eca_resnet152_k3357": (
        lambda: k.ResNet152(
            attention="eca", attention_options=taps(3, 3, 5, 7)
        ),
        60_193_042,
        None,
        True,
    ),
    "eca_resnet152_k3333": (
        lambda: k.ResNet152(attention="eca"),
        60_192_958,
        None,
        True,
    ),
    "eca_resnet50_adaptive_k5557": (
        lambda: k.ResNet50(attention="eca_adaptive"),
        25_557_118,
        None,
        True,
    ),
    "resnet50_eca_ns_k3": (
        lambda: k.ResNet50(attention="eca_ns"),
        25_602_344,
        None,
        True,
    ),
    "resnet18_se_biased": (
        lambda: k.ResNet18(attention="se"),
        11_778_592,
        None,
        False,
    ),
    "resnet18_se_bias_free": (
        lambda: k.ResNet18(attention="se", attention_options=BIAS_FREE),
        11_776_552,
        None,
        False,
    ),
    "resnet50_se_biased": (
        lambda: k.ResNet50(attention="se"),
        28_088_024,
        None,
        True,
    ),
    "resnet50_se_bias_free": (
        lambda: k.ResNet50(attention="se", attention_options=BIAS_FREE),
        28_071_976,
        None,
        True,
    ),
    "resnet101_se_biased": (
        lambda: k.ResNet101(attention="se"),
        49_326_872,
        None,
        True,
    ),
    "resnet101_se_bias_free": (
        lambda: k.ResNet101(attention="se", attention_options=BIAS_FREE),
        49_292_328,
        None,
        True,
    ),
    "resnet50_se_var1": (
        lambda: k.ResNet50(attention="se_var1"),
        25_557_032,
        None,
        True,
    ),
    "resnet50_se_var2": (
        lambda: k.ResNet50(attention="se_var2"),
        25_572_136,
        None,
        True,
    ),
    "resnet50_se_var3": (
        lambda: k.ResNet50(attention="se_var3"),
        45_676_584,
        None,
        True,
    ),
    "resnet50_se_gc_G16": (
        lambda: k.ResNet50(attention="se_gc"),
        26_814_504,
        None,
        True,
    ),
    "resnet50_se_gc_GCover16": (
        lambda: k.ResNet50(
            attention="se_gc", attention_options={"group_size": 16}
        ),
        25_798_696,
        None,
        True,
    ),
    "resnet50_se_gc_GCover8": (
        lambda: k.ResNet50(
            attention="se_gc", attention_options={"group_size": 8}
        ),
        25_677_864,
        None,
        True,
    ),
    "scnet50": (lambda: k.SCNet50(), 25_564_584, 3_925_286_912, True),
    "scnet50_v1d": (
        lambda: k.SCNet50(v1d=True),
        25_583_816,
        4_685_152_256,
        True,
    ),
    "epsanet50_small": (
        lambda: k.EPSANet50(),
        22_561_715,
        3_597_900_160,
        False,
    ),
    "scnet101": (lambda: k.SCNet101(), 44_565_416, 7_168_745_472, True),
    "scnet101_v1d": (
        lambda: k.SCNet101(v1d=True),
        44_689_192,
        9_044_123_648,
        True,
    ),
    "epsanet101_small": (
        lambda: k.EPSANet101(),
        38_900_279,
        6_788_125_056,
        True,
    ),
    "rest_lite": (lambda: k.ResTLite(), 10_508_300, None, False),
    "rest_lite_stem7x7": (
        lambda: k.ResTLite(stem="7x7"),
        10_489_196,
        None,
        True,
    ),
    "rest_small": (lambda: k.ResTSmall(), 13_679_708, None, True),
    "rest_small_stem7x7": (
        lambda: k.ResTSmall(stem="7x7"),
        13_660_604,
        None,
        True,
    ),
    "rest_base": (lambda: k.ResTBase(), 30_327_052, None, True),
    "rest_base_stem7x7": (
        lambda: k.ResTBase(stem="7x7"),
        30_277_660,
        None,
        True,
    ),
    "rest_large": (lambda: k.ResTLarge(), 51_676_156, None, True),
    "rest_large_stem7x7": (
        lambda: k.ResTLarge(stem="7x7"),
        51_626_764,
        None,
        True,
    ),
    "eamlp_7_224": (lambda: k.EAMLP7(), 6_096_206, 1_465_194_496, False),
    "eamlp_10_224": (lambda: k.EAMLP10(), 8_489_678, 2_007_439_360, True),
    "eamlp_12_224": (lambda: k.EAMLP12(), 10_085_326, 2_368_935_936, True),
    "eamlp_14_224": (lambda: k.EAMLP14(), 29_801_422, 6_450_351_104, True),
    "eamlp_19_224": (lambda: k.EAMLP19(), 54_470_798, 11_597_669_888, True),
    "eamlp_24_224": (lambda: k.EAMLP24(), 89_355_726, 18_820_366_336, True),
    "eamlp_7_384": (
        lambda: k.EAMLP7(input_shape=(384, 384, 3)),
        6_096_206,
        4_292_929_536,
        True,
    ),
    "danet_resnet50_os8_mg_cityscapes19": (
        lambda: k.DANet50(classes=19, **DANET),
        47_462_651,
        37_853_978_624,
        False,
    ),
    "danet_resnet50_os8_mg_voc21": (
        lambda: k.DANet50(classes=21, **DANET),
        47_465_729,
        None,
        True,
    ),
    "danet_resnet50_os8_mg_pcontext59": (
        lambda: k.DANet50(classes=59, **DANET),
        47_524_211,
        None,
        True,
    ),
    "danet_resnet50_os8_mg_cocostuff171": (
        lambda: k.DANet50(classes=171, **DANET),
        47_696_579,
        None,
        True,
    ),
    "danet_resnet50_deepstem_os8_mg_cityscapes19": (
        lambda: k.DANet50(classes=19, stem="deep", **DANET),
        47_586_427,
        39_209_132_032,
        True,
    ),
    "danet_resnet50_deepstem_os8_mg_voc21": (
        lambda: k.DANet50(classes=21, stem="deep", **DANET),
        47_589_505,
        None,
        True,
    ),
    "danet_resnet50_deepstem_os8_mg_pcontext59": (
        lambda: k.DANet50(classes=59, stem="deep", **DANET),
        47_647_987,
        None,
        True,
    ),
    "danet_resnet50_deepstem_os8_mg_cocostuff171": (
        lambda: k.DANet50(classes=171, stem="deep", **DANET),
        47_820_355,
        None,
        True,
    ),
    "eanet_resnet50_os8_21cls": (
        lambda: k.EANet50(input_shape=(129, 129, 3)),
        34_846_933,
        10_709_490_624,
        True,
    ),
    "danet_resnet101_os8_mg_cityscapes19": (
        lambda: k.DANet101(classes=19, **DANET),
        66_454_779,
        52_702_863_360,
        True,
    ),
    "danet_resnet101_os8_mg_voc21": (
        lambda: k.DANet101(classes=21, **DANET),
        66_457_857,
        None,
        True,
    ),
    "danet_resnet101_os8_mg_pcontext59": (
        lambda: k.DANet101(classes=59, **DANET),
        66_516_339,
        None,
        True,
    ),
    "danet_resnet101_os8_mg_cocostuff171": (
        lambda: k.DANet101(classes=171, **DANET),
        66_688_707,
        None,
        True,
    ),
    "danet_resnet101_deepstem_os8_mg_cityscapes19": (
        lambda: k.DANet101(classes=19, stem="deep", **DANET),
        66_578_555,
        54_058_016_768,
        True,
    ),
    "danet_resnet101_deepstem_os8_mg_voc21": (
        lambda: k.DANet101(classes=21, stem="deep", **DANET),
        66_581_633,
        None,
        True,
    ),
    "danet_resnet101_deepstem_os8_mg_pcontext59": (
        lambda: k.DANet101(classes=59, stem="deep", **DANET),
        66_640_115,
        None,
        True,
    ),
    "danet_resnet101_deepstem_os8_mg_cocostuff171": (
        lambda: k.DANet101(classes=171, stem="deep", **DANET),
        66_812_483,
        None,
        True,
    ),
    "eanet_resnet101_os8_21cls": (
        lambda: k.EANet101(input_shape=(129, 129, 3)),
        53_839_061,
        16_183_122_880,
        True,
    ),
    "se_resnet50_biased(cadene/caffe)": (
        lambda: strided_first((3, 4, 6, 3)),
        28_088_024,
        3_860_488_192,
        True,
    ),
    "se_resnet101_biased(cadene/caffe)": (
        lambda: strided_first((3, 4, 23, 3)),
        49_326_872,
        7_574_937_600,
        True,
    ),
    "se_resnet152_biased(cadene/caffe)": (
        lambda: strided_first((3, 8, 36, 3)),
        66_821_848,
        11_288_993_792,
        True,
    ),
    "external_attention_module_512": (
        lambda: on_maps(k.layers.ExternalAttention()),
        591_360,
        None,
        False,
    ),
}
# The rest of the authors' table, and why it is left out.
NOT_BUILT = {
    "eca_mobilenet_v2": "the family has no MobileNetV2",
    "se_resnext50_32x4d_biased(cadene/caffe)": "ResNet has no grouped blocks",
    "se_resnext101_32x4d_biased(cadene/caffe)": "ResNet has no grouped blocks",
    "epsanet50_large_PUBLISHED_ARITHMETIC": "never released, nor determined",
    "epsanet101_large_PUBLISHED_ARITHMETIC": "never released, nor determined",
    "epsanet50_large_k3579_G32_hypothesis": "not what was published",
}

# With the matrix products inside the attention layers.
MACS_WITH_PRODUCTS = {
    "rest_lite": 1_533_125_376,
    "rest_small": 2_093_352_960,
    "rest_base": 4_625_875_648,
    "rest_large": 8_359_835_584,
    "danet_resnet50_os8_mg_cityscapes19": 38_619_062_272,
    "danet_resnet50_deepstem_os8_mg_cityscapes19": 39_974_215_680,
    "danet_resnet101_os8_mg_cityscapes19": 53_467_947_008,
    "danet_resnet101_deepstem_os8_mg_cityscapes19": 54_823_100_416,
    "eamlp_7_224": 1_465_194_496,
}


def _count(variables):
    return sum(int(np.prod(v.shape)) for v in variables)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] * row[3])
        for name, row in NUMBERS.items()
    ],
)
def test_numbers(name):
    builder, parameters, macs, _ = NUMBERS[name]
    model = builder()
    assert _count(model.trainable_variables) == parameters
    if macs is not None:
        assert count_macs(model) == macs
    if name in MACS_WITH_PRODUCTS:
        macs = count_macs(model, matrix_products=True)
        assert macs == MACS_WITH_PRODUCTS[name]


def test_numbers_are_the_authors(shared):
    path = shared / "golden" / "attention_family" / "param_counts.json"
    known = json.loads(path.read_text())["models"]
    for name, (_, parameters, macs, _) in NUMBERS.items():
        assert known[name]["trainable"] == parameters
        # Products of two activations are no layer's, so they do not count.
        theirs = known[name].get("macs_conv_matmul")
        theirs = known[name].get("macs_conv_linear_only", theirs)
        assert macs in (None, theirs)
    for name, macs in MACS_WITH_PRODUCTS.items():
        assert macs == known[name]["macs_conv_matmul"]
    assert set(known) - set(NUMBERS) == set(NOT_BUILT)


def test_every_builder_has_numbers():
    built = {name.split("_")[0] for name in NUMBERS}
    tested = " ".join(NUMBERS)
    for builder in FAMILY_BUILDERS:
        assert builder.lower() in tested.replace("rest_", "rest").replace(
            "eamlp_", "eamlp"
        ).replace("net_resnet", "net"), (builder, built)


def test_builders_are_public():
    for name in FAMILY_BUILDERS:
        assert getattr(k, name) is FAMILY_BUILDERS[name]
        assert FAMILY_BUILDERS[name].__doc__


# === Properties, on networks as small as the kinds allow ===

TINY = {
    "basic": ResidualBackbone((1, 1), "basic", widths=(8, 16), stem_filters=8),
    "bam": ResidualBackbone(
        (1, 1),
        widths=(8, 16),
        stem_filters=8,
        attention="bam",
    ),
    "eca": ResidualBackbone(
        (1, 1),
        widths=(8, 16),
        stem="cifar",
        stem_filters=8,
        attention="eca",
        attention_options=taps(3, 5),
    ),
    "psa": ResidualBackbone(
        (1, 1),
        widths=(64, 64),
        stem_filters=8,
        attention="psa",
    ),
    "self_calibrated": ResidualBackbone(
        (1, 1),
        "self_calibrated",
        widths=(8, 16),
        stem="deep",
        stem_filters=16,
        average_pooling=True,
    ),
    "rest": k.models.rest.ResTArchitecture(
        (8, 16, 16, 16), (1, 1, 1, 1), (1, 2, 2, 2), drop_path_rate=0.2
    ),
    "eamlp": k.models.eamlp.EAMLPArchitecture(
        16, 2, 2, 2, token_width=8, drop_path_rate=0.2
    ),
}
ARGUMENTS = {
    "variant": None,
    "family": "imagenet",
    "include_top": True,
    "weights": None,
    "input_tensor": None,
    "input_shape": (64, 72, 3),
    "pooling": None,
    "classes": 5,
    "classifier_activation": "softmax",
    "name": "tiny",
    "include_preprocessing": True,
    "data_format": "channels_last",
    "class_names": None,
}


def tiny(name, **arguments):
    return k.models._ends.image_classifier(
        TINY[name].features, **{**ARGUMENTS, **arguments}
    )


# Compiling by XLA costs more here than it saves, but JAX knows nothing else.
JIT_COMPILE = keras.backend.backend() == "jax"


def outputs(model, x):
    """What a model returns for a batch: without tracing, which takes longer."""
    return ops.convert_to_numpy(model(x, training=False))


def images(*shape):
    return np.random.default_rng(0).uniform(0, 255, shape).astype("float32")


@pytest.mark.parametrize("name", TINY)
def test_saved_network_comes_back(name, tmp_path):
    model = tiny(name)
    x = images(2, 64, 72, 3)
    expected = model.predict(x, verbose=0)
    assert expected.shape == (2, 5)
    np.testing.assert_allclose(expected.sum(axis=1), 1, rtol=1e-5)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(
        loaded.predict(x, verbose=0), expected, rtol=1e-4, atol=1e-6
    )


@pytest.mark.parametrize("name", TINY)
def test_both_layouts_compute_the_same(name):
    last = tiny(name)
    first = tiny(name, data_format="channels_first", input_shape=(3, 64, 72))
    first.set_weights(last.get_weights())
    x = images(2, 64, 72, 3)
    np.testing.assert_allclose(
        first.predict(x.transpose(0, 3, 1, 2), verbose=0),
        last.predict(x, verbose=0),
        rtol=1e-3,
        atol=1e-5,
    )


@pytest.mark.parametrize("name", TINY)
def test_network_learns_in_half_precision(name):
    keras.config.set_dtype_policy("mixed_float16")
    # The smallest size: a processor computes in half precision slowly.
    model = tiny(name, input_shape=(32, 40, 3))
    assert model.get_layer("predictions").compute_dtype == "float32"
    model.compile(
        "sgd", "sparse_categorical_crossentropy", jit_compile=JIT_COMPILE
    )
    head = model.get_layer("predictions")
    before = np.array(ops.convert_to_numpy(head.kernel))
    # The first steps only find a loss scale that half precision can bear.
    for _ in range(8):
        loss = model.train_on_batch(
            images(4, 32, 40, 3), np.array([0, 1, 2, 3])
        )
    assert np.isfinite(loss)
    assert np.any(before != ops.convert_to_numpy(head.kernel))


@pytest.mark.parametrize("name", [n for n in TINY if n != "eamlp"])
def test_any_size_and_any_channels(name):
    model = tiny(name, input_shape=(None, None, 4), include_top=False)
    assert model.predict(images(1, 65, 81, 4), verbose=0).ndim == 4
    pooled = tiny(
        name, input_shape=(65, 81, 1), include_top=False, pooling="max"
    )
    channels = model.output_shape[-1]
    assert pooled.output_shape == (None, channels)


@pytest.mark.parametrize("name", ["bam", "rest"])
def test_what_users_of_other_packages_expect(name, tmp_path):
    """Weights by path, no top, other classes, own preprocessing."""
    model = tiny(name)
    x = images(2, 64, 72, 3)
    expected = outputs(model, x)
    path = str(tmp_path / "tiny.weights.h5")
    model.save_weights(path)
    same = tiny(name, weights=path, include_preprocessing=False)
    scaled = ops.convert_to_numpy(k.preprocess_input(x))
    np.testing.assert_allclose(
        outputs(same, scaled), expected, rtol=1e-3, atol=1e-5
    )
    headless = tiny(name, weights=path, include_top=False)
    for ours, theirs in zip(headless.weights, model.weights):
        np.testing.assert_array_equal(
            ops.convert_to_numpy(ours), ops.convert_to_numpy(theirs)
        )
    fewer = tiny(name, weights=path, classes=2, class_names=["a", "b"])
    assert outputs(fewer, x).shape == (2, 2)


def test_description_adds_up():
    model = tiny("bam")
    rows = k.describe(model, print_table=False)
    assert sum(row.macs for row in rows) == count_macs(model) > 0
    assert sum(row.parameters for row in rows) == _count(
        model.trainable_variables
    )


def test_eamlp_without_top_returns_the_class_token():
    assert tiny("eamlp", include_top=False).output_shape == (None, 16)


def test_input_tensor():
    inputs = keras.Input((64, 72, 3))
    model = tiny("basic", input_tensor=inputs * 2, input_shape=None)
    assert model.inputs[0] is inputs
    assert model.output_shape == (None, 5)


@pytest.mark.parametrize(
    "make, message",
    [
        (
            lambda: k.ResNet18(attention="attention"),
            "`attention` must be None or one of .*'eca'.*'attention'",
        ),
        (
            lambda: k.ResNet18(attention="eca", attention_options=({},)),
            "a dictionary, or one for each of the 4 stages",
        ),
        (
            lambda: k.ResNet18(attention_options={"kernel_size": 3}),
            "`attention_options` need an `attention`",
        ),
        (
            lambda: ResidualBackbone((1,), "self_calibrated", attention="psa"),
            "takes the place of a plain 3x3 convolution",
        ),
        (
            lambda: ResidualBackbone((1,), dilations=((2,),), attention="psa"),
            "without dilations. Received: block='bottleneck'",
        ),
        (
            lambda: ResidualBackbone((1, 1), widths=(8,)),
            "`widths` must have an entry for each of the 2 stages",
        ),
        (lambda: k.ResNet18(stem="mnist"), "`stem` must be one of"),
        (lambda: k.ResTLite(stem="mnist"), "`stem` must be one of"),
        (
            lambda: k.ResNet18(input_shape=(31, 64, 3)),
            "at least 32.*Received: input_shape=\\(31, 64, 3\\)",
        ),
        (
            lambda: k.SCNet50(input_shape=(64, 64, 3)),
            "SelfCalibratedConv2D needs height and width of at least",
        ),
        (
            lambda: k.EAMLP7(input_shape=(None, None, 3)),
            "known height and width",
        ),
        (
            lambda: k.ResNet18(weights="imagenet"),
            "`weights` must be None.*Received: weights='imagenet'",
        ),
        (
            lambda: k.ResNet18(classes=0),
            "`classes` must be an integer of at least 1",
        ),
        (
            lambda: k.DANet50(input_shape=(None, None, 3)),
            "height and width must be known",
        ),
        (lambda: k.DANet50(stem="cifar"), "`stem` must be one of"),
        (
            lambda: ResidualBackbone((1, 1), "dense"),
            "`block` must be one of",
        ),
        (
            lambda: k.DANet50(include_top=False, pooling="sum"),
            "`pooling` must be one of",
        ),
        (
            lambda: k.EANet50(classes=0),
            "`classes` must be an integer of at least 1",
        ),
        (
            lambda: k.SegmentationNetwork(TINY["basic"], "fcn"),
            "`head` must be one of",
        ),
        (
            lambda: k.SegmentationNetwork(
                TINY["basic"], "eanet", auxiliary_outputs=True
            ),
            "are of DANet's head only",
        ),
    ],
)
def test_errors(make, message):
    with pytest.raises(ValueError, match=message):
        make()


# Of 64 channels, which all of them can divide.
@pytest.mark.parametrize("block", ["basic", "bottleneck"])
@pytest.mark.parametrize("name", sorted(filter(None, ATTENTIONS)))
def test_every_attention_stands_in_every_block(name, block):
    backbone = ResidualBackbone(
        (1, 1), block, "cifar", 64, (64, 64), attention=name
    )
    inputs = keras.Input((32, 32, 3))
    model = keras.Model(inputs, backbone.features(inputs, "channels_last"))
    kind = type(k.layers.get(name))
    layers = [layer for layer in model.layers if isinstance(layer, kind)]
    assert len(layers) == (1 if name.startswith("bam") else 2)


def test_none_is_no_attention():
    plain = k.ResNet18(stem="cifar")
    named = k.ResNet18(stem="cifar", attention="none")
    assert [x.name for x in named.layers] == [x.name for x in plain.layers]


# === The attention of a residual attention network, by name ===

ARCHITECTURE = k.Architecture(
    stem="cifar",
    stem_filters=8,
    stage_filters=(16, 32),
    num_modules=(1, 1),
    mask_depths=(2, 1),
    num_tail_units=0,
)


def _units(model):
    names = [layer.name for layer in model.layers]
    return [name for name in names if "unit" in name]


@pytest.mark.parametrize("name", ["eca", "bam", "position", "psa"])
def test_attention_takes_the_place_of_the_soft_mask(name):
    options = {
        "bam": {"reduction_ratio": 4},
        "psa": {
            "kernel_sizes": (3, 5),
            "groups": (1, 2),
            "reduction_ratio": 4,
        },
    }
    model = k.ResidualAttentionNetwork(
        ARCHITECTURE, attention=name, attention_options=options.get(name)
    )
    kind = type(k.layers.get(name))
    assert isinstance(model.get_layer("stage1_attention1"), kind)
    assert not any(
        isinstance(layer, k.layers.AttentionModule) for layer in model.layers
    )
    assert model.predict(images(1, 32, 32, 3), verbose=0).shape == (1, 10)


def test_attention_leaves_the_trunk_unchanged():
    """Without the soft masks, the same convolutions remain."""
    plain = k.ResidualAttentionNetwork(ARCHITECTURE)
    module = plain.get_layer("stage2_attention1")
    trunk = _count(module.trainable_variables)
    trunk -= _count(module.soft_mask.trainable_variables)
    other = k.ResidualAttentionNetwork(ARCHITECTURE, attention="se_var1")
    units = [
        layer
        for layer in other.layers
        if layer.name.startswith("stage2_attention1_")
    ]
    assert len(units) == 4  # one before, two in the trunk, one after
    assert sum(_count(u.trainable_variables) for u in units) == trunk


@pytest.mark.parametrize("unit", ["residual", "resnext", "inception"])
def test_attention_inside_units(unit, tmp_path):
    plain = k.ResidualAttentionNetwork(ARCHITECTURE)
    model = k.ResidualAttentionNetwork(
        k.Architecture(**{**vars(ARCHITECTURE), "unit": unit}),
        unit_attention="se",
        unit_attention_options={"reduction_ratio": 4},
    )
    first = model.get_layer("stage1_unit")
    assert isinstance(first.attention_layer, k.layers.SqueezeExcite)
    module = model.get_layer("stage1_attention1")
    assert module.trunk_units[0].attention_layer is not None
    assert module.soft_mask.down_units[0].attention_layer is None
    assert plain.get_layer("stage1_unit").attention_layer is None
    x = images(1, 32, 32, 3)
    # The gate acts: shut, the unit is its shortcut.
    expected = forward(model, x)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(
        forward(loaded, x), expected, rtol=1e-4, atol=1e-6
    )
    first.attention_layer.excite.bias.assign(
        -100 * ops.ones_like(first.attention_layer.excite.bias)
    )
    assert np.any(forward(model, x) != expected)


@pytest.mark.parametrize("argument", ["attention", "unit_attention"])
def test_unknown_attention(argument):
    with pytest.raises(ValueError, match=f"`{argument}` must be None or one"):
        k.ResidualAttentionNetwork(ARCHITECTURE, **{argument: "dual"})


@pytest.mark.parametrize("argument", ["attention", "unit_attention"])
def test_options_of_no_attention(argument):
    with pytest.raises(ValueError, match=f"`{argument}_options` need the name"):
        k.ResidualAttentionNetwork(
            ARCHITECTURE, **{f"{argument}_options": {"kernel_size": 3}}
        )


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("attention_learning", "naive"),
        ("mask_activation", "spatial"),
        ("mask_structure", "local_convolution"),
        ("interpolation", "transpose"),
        ("remat", True),
    ],
)
def test_options_of_a_mask_that_is_not_there(option, value):
    with pytest.raises(ValueError, match=f"`{option}` belong to the soft mask"):
        k.ResidualAttentionNetwork(
            ARCHITECTURE, attention="eca", **{option: value}
        )


# === Segmentation ===

SEGMENTATION_BACKBONE = ResidualBackbone(
    (1, 1),
    "basic",
    widths=(16, 32),
    stem_filters=16,
    dilations=((), (1, 2)),
)


@pytest.mark.parametrize("head", ["danet", "eanet"])
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_segmentation_returns_logits_for_every_pixel(head, data_format):
    first = data_format == "channels_first"
    model = k.SegmentationNetwork(
        SEGMENTATION_BACKBONE,
        head,
        input_shape=(3, 33, 42) if first else (33, 42, 3),
        classes=4,
        data_format=data_format,
    )
    shape = (4, 33, 42) if first else (33, 42, 4)
    assert model.output_shape == (None, *shape)
    x = images(2, 3, 33, 42) if first else images(2, 33, 42, 3)
    assert model.predict(x, verbose=0).shape == (2, *shape)


def test_segmentation_network_can_classify_images():
    arguments = {"input_shape": (33, 42, 3), "classes": 4}
    model = k.SegmentationNetwork(
        SEGMENTATION_BACKBONE,
        "danet",
        segmentation=False,
        classifier_activation="softmax",
        **arguments,
    )
    scores = model.predict(images(2, 33, 42, 3), verbose=0)
    np.testing.assert_allclose(scores.sum(axis=1), 1, rtol=1e-5)
    features = k.SegmentationNetwork(
        SEGMENTATION_BACKBONE, "danet", include_top=False, **arguments
    )
    assert features.output_shape == (None, 9, 11, 32)


def test_auxiliary_outputs_are_three():
    model = k.SegmentationNetwork(
        SEGMENTATION_BACKBONE,
        "danet",
        input_shape=(33, 42, 3),
        classes=4,
        auxiliary_outputs=True,
    )
    assert model.output_shape == [(None, 33, 42, 4)] * 3


@pytest.mark.parametrize("activation", [None, "softmax"])
def test_segmentation_keeps_the_names_of_its_classes(activation, tmp_path):
    options = {"input_shape": (32, 32, 3), "classes": 2}
    options |= {"classifier_activation": activation}
    model = k.SegmentationNetwork(
        SEGMENTATION_BACKBONE, "eanet", class_names=["road", "sky"], **options
    )
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert k.class_names(loaded) == ["road", "sky"]
    images = np.random.default_rng(0).uniform(0, 255, (1, 32, 32, 3))
    scores = loaded.predict(images, verbose=0)
    np.testing.assert_allclose(scores, model.predict(images, verbose=0), 1e-5)
    if activation:
        np.testing.assert_allclose(scores.sum(axis=-1), 1, atol=1e-5)
    with pytest.raises(ValueError, match="3 names for 2 classes"):
        k.SegmentationNetwork(
            SEGMENTATION_BACKBONE, "eanet", class_names=list("abc"), **options
        )


def shapes_data(number, size=32):
    """Bright squares (1) and dark discs (2) on grey (0)."""
    random = np.random.default_rng(0)
    x = random.normal(128, 20, (number, size, size, 3)).astype("float32")
    y = np.zeros((number, size, size), "int32")
    rows, columns = np.mgrid[:size, :size]
    for i in range(number):
        row, column = random.integers(0, size - 12, 2)
        y[i, row : row + 12, column : column + 12] = 1
        row, column = random.integers(7, size - 7, 2)
        disc = (rows - row) ** 2 + (columns - column) ** 2 < 49
        y[i][disc] = 2
    x[y == 1] += 70
    x[y == 2] -= 70
    return x, y


@pytest.mark.parametrize(
    "head", ["danet", pytest.param("eanet", marks=pytest.mark.slow)]
)
def test_segmentation_learns_shapes(head):
    x, y = shapes_data(48)
    model = k.SegmentationNetwork(
        SEGMENTATION_BACKBONE, head, input_shape=(32, 32, 3), classes=3
    )
    model.compile(
        keras.optimizers.Adam(3e-3),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=[keras.metrics.MeanIoU(3, sparse_y_pred=False, name="miou")],
        jit_compile=JIT_COMPILE,
    )
    before = model.evaluate(x[:16], y[:16], verbose=0, return_dict=True)
    model.fit(x[16:], y[16:], batch_size=4, epochs=12, verbose=0)
    after = model.evaluate(x[:16], y[:16], verbose=0, return_dict=True)
    print(f"{head}: mIoU {before['miou']:.3f} -> {after['miou']:.3f}")
    assert after["miou"] > 0.6 > before["miou"]


# === Looking inside ===

MAPS = {
    "bam": {"stage1_attention": (16, 18, 32)},
    "eca": {
        "stage1_block1_attention": (1, 1, 8 * 4),
        "stage2_block1_attention": (1, 1, 16 * 4),
    },
    "psa": {
        "stage1_block1_attention": (1, 1, 64),
        "stage2_block1_attention": (1, 1, 64),
    },
    "self_calibrated": {
        "stage1_block1_b2": (16, 18, 4),
        "stage2_block1_b2": (16, 18, 8),  # pooled after it
    },
    "rest": {
        "stem_positions": (16, 18, 8),
        "stage1_block1_attention": (2, 3, 1),  # keys are 8 times smaller
        "stage2_embed_positions": (8, 9, 16),
        "stage2_block1_attention": (2, 3, 2),
        "stage3_embed_positions": (4, 5, 16),
        "stage3_block1_attention": (2, 3, 2),
        "stage4_embed_positions": (2, 3, 16),
        "stage4_block1_attention": (2, 3, 2),
    },
}
LIGHT = ("bam", "eca")
PYRAMIDS = {
    "basic": ["P2", "P3"],
    "eca": ["P0", "P1"],
    "self_calibrated": ["P2", "P3"],
    "rest": ["P2", "P3", "P4", "P5"],
}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] * (name not in LIGHT))
        for name in MAPS
    ],
)
def test_attention_can_be_seen(name):
    model = tiny(name)
    masks = k.attention_masks(model, images(2, 64, 72, 3))
    shapes = {key: mask.shape[1:] for key, mask in masks.items()}
    assert shapes == MAPS[name]
    overlays = k.overlay_masks(images(2, 64, 72, 3), masks)
    pictures = [key for key in MAPS[name] if MAPS[name][key][0] > 1]
    assert list(overlays) == pictures


def test_networks_without_attention_say_so():
    with pytest.raises(ValueError, match="nor any other attention layer"):
        k.attention_masks(tiny("basic"), images(1, 64, 72, 3))


@pytest.mark.parametrize("name", PYRAMIDS)
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_pyramid_of_the_family(name, data_format):
    shape = (65, 81, 3)
    if data_format == "channels_first":
        shape = (3, 65, 81)
    model = tiny(
        name, input_shape=shape, data_format=data_format, include_top=False
    )
    pyramid = k.feature_pyramid(model)
    assert list(pyramid) == PYRAMIDS[name]
    for level, tensor in pyramid.items():
        step = 2 ** int(level[1:])
        size = (-(-65 // step), -(-81 // step))
        last = data_format == "channels_last" or name == "rest"
        assert tensor.shape[1:3] == size if last else tensor.shape[2:] == size


def test_networks_without_maps_have_no_pyramid():
    with pytest.raises(ValueError, match="layers named after its stages"):
        k.feature_pyramid(tiny("eamlp"))


def segmentation(head, **arguments):
    arguments = {"input_shape": (33, 42, 3), "classes": 3, **arguments}
    return k.SegmentationNetwork(SEGMENTATION_BACKBONE, head, **arguments)


def test_attention_of_segmentation_networks_can_be_seen():
    x = images(1, 33, 42, 3)
    danet = segmentation("danet")
    masks = k.attention_masks(danet, x)
    shapes = {key: mask.shape[1:] for key, mask in masks.items()}
    assert shapes == {"head/position": (9, 11, 1), "head/channel": (1, 1, 8)}
    # What all positions receive is what all positions give.
    np.testing.assert_allclose(masks["head/position"].sum(), 1, rtol=1e-4)
    first = segmentation(
        "danet", data_format="channels_first", input_shape=(3, 33, 42)
    )
    first.set_weights(danet.get_weights())
    other = k.attention_masks(first, x.transpose(0, 3, 1, 2))
    for key, mask in masks.items():
        np.testing.assert_allclose(other[key], mask, rtol=1e-3, atol=1e-6)
    masks = k.attention_masks(segmentation("eanet"), x)
    assert masks["head_attention"].shape == (1, 9, 11, 64)
    # Each position's shares of the slots.
    np.testing.assert_allclose(masks["head_attention"].sum(-1), 1, rtol=1e-4)
    assert list(k.feature_pyramid(danet)) == ["P2"]


def test_masks_are_those_that_the_layers_return():
    model = tiny("eca")
    layer = model.get_layer("stage2_block1_attention")
    x = images(2, 64, 72, 3)
    features = keras.Model(model.inputs, layer.input)(x)
    after, expected = layer(features, return_attention_mask=True)
    masks = k.attention_masks(model, x)
    np.testing.assert_allclose(
        masks[layer.name], ops.convert_to_numpy(expected), rtol=1e-4
    )


def test_figure_draws_channel_weights_as_a_curve(tmp_path):
    pytest.importorskip("matplotlib")
    figure = k.plot_attention(
        tiny("eca"), images(1, 64, 72, 3), path=tmp_path / "eca.png"
    )
    assert len(figure.axes) == 2 * 4
    assert [len(axis.lines) for axis in figure.axes] == [0, 0, 1, 0] * 2
    (curve,) = figure.axes[2].lines
    assert len(curve.get_ydata()) == 32


@pytest.mark.parametrize("head", ["danet", "eanet"])
def test_weights_of_a_segmentation_network(head, tmp_path, capsys):
    """One file serves the whole, the features, and other classes."""
    path = str(tmp_path / "whole.weights.h5")
    whole = segmentation(head)
    whole.save_weights(path)
    x = images(1, 33, 42, 3)
    same = segmentation(head, weights=path)
    np.testing.assert_allclose(outputs(same, x), outputs(whole, x), atol=1e-5)
    assert capsys.readouterr().out == ""
    features = segmentation(head, weights=path, include_top=False)
    fewer = segmentation(head, weights=path, classes=2)
    assert "Loaded all weights but those of 'head" in capsys.readouterr().out
    for model in (features, fewer):
        for ours, theirs in zip(model.weights, whole.weights):
            if ours.shape == theirs.shape:
                np.testing.assert_array_equal(
                    ops.convert_to_numpy(ours), ops.convert_to_numpy(theirs)
                )


def test_a_danet_trained_with_its_auxiliary_outputs_serves_without(
    tmp_path, capsys
):
    path = str(tmp_path / "trained.weights.h5")
    trained = segmentation("danet", auxiliary_outputs=True)
    trained.save_weights(path)
    served = segmentation("danet", weights=path)
    assert capsys.readouterr().out == ""
    x = images(1, 33, 42, 3)
    np.testing.assert_allclose(
        outputs(served, x),
        ops.convert_to_numpy(trained(x, training=False)[0]),
        atol=1e-5,
    )
    served.save_weights(path)
    again = segmentation("danet", weights=path, auxiliary_outputs=True)
    assert "Loaded all weights but those of 'head'" in capsys.readouterr().out
    np.testing.assert_allclose(
        ops.convert_to_numpy(again(x, training=False)[0]),
        outputs(served, x),
        atol=1e-5,
    )
