"""Every option of the builders, on tiny networks of each unit type."""

import dataclasses
import itertools
import subprocess
import sys

import keras
import numpy as np
import pytest
from network_lists import BUILDERS
from shape_seeded import fill

import keras_ratn
from keras_ratn import Architecture
from keras_ratn import ResidualAttentionNetwork

TINY = Architecture(
    stem="cifar",
    stem_filters=4,
    stage_filters=(8, 16),
    num_modules=(1, 1),
    mask_depths=(2, 1),
    num_trunk_units=1,
    num_tail_units=0,
)
ONE_MODULE = dataclasses.replace(
    TINY, stage_filters=(8,), num_modules=(1,), mask_depths=(1,)
)
TINY_IMAGENET = Architecture(
    stem="imagenet",
    stem_filters=4,
    stage_filters=(8,),
    num_modules=(1,),
    mask_depths=(3,),
    num_trunk_units=1,
    tail_filters=16,
    num_tail_units=1,
)
STEMS = {"cifar": TINY, "imagenet": TINY_IMAGENET}

CHOICES = {
    "size": (32, 33, 97, None),
    "channels": (1, 3, 4),
    "unit": ("residual", "resnext", "inception"),
    "mask_activation": ("mixed", "channel", "spatial"),
    "interpolation": ("bilinear", "bilinear_align_corners", "transpose"),
    "data_format": ("channels_last", "channels_first"),
    "include_top": (True, False),
    "stem": ("cifar", "imagenet"),
    "attention_learning": ("residual", "naive"),
    "mask_structure": ("encoder_decoder", "local_convolution"),
    "include_preprocessing": (True, False),
    "remat": (False, True),
}


def _pairs(case):
    return set(itertools.combinations(enumerate(case), 2))


def _pairwise(choices, candidates_per_row=200):
    """Few cases in which every pair of values of two options occurs."""
    random = np.random.default_rng(0)
    values = list(choices.values())
    wanted = {
        ((i, a), (j, b))
        for (i, first), (j, second) in itertools.combinations(
            enumerate(values), 2
        )
        for a in first
        for b in second
    }
    cases = []
    while wanted:
        candidates = [
            tuple(v[random.integers(len(v))] for v in values)
            for _ in range(candidates_per_row)
        ]
        best = max(candidates, key=lambda case: len(_pairs(case) & wanted))
        if _pairs(best) & wanted:
            wanted -= _pairs(best)
            cases.append(dict(zip(choices, best)))
    return cases


def _product(full):
    """All values of the options in `full`; the rest drawn for each case."""
    random = np.random.default_rng(1)
    for values in itertools.product(*(CHOICES[key] for key in full)):
        case = {k: v[random.integers(len(v))] for k, v in CHOICES.items()}
        yield {**case, **dict(zip(full, values))}


LAYOUTS = ("size", "channels", "data_format", "include_top", "unit")
OPTIONS = (
    "unit",
    "attention_learning",
    "mask_activation",
    "mask_structure",
    "interpolation",
)


def _id(case):
    return "-".join(map(str, case.values()))


LOADER = """
import sys, keras, numpy as np
import keras_ratn
for line in sys.stdin:
    model, inputs, outputs = line.strip().split("|")
    loaded, images = keras.saving.load_model(model), np.load(inputs)
    if keras.backend.backend() == "jax":
        found = loaded.predict(images, verbose=0)
    else:  # for so few images a trace takes longer than to do without
        found = keras.ops.convert_to_numpy(loaded(images, training=False))
    np.save(outputs, found)
    print("loaded", flush=True)
"""


@pytest.fixture(scope="module")
def another_process():
    """Loads models where nothing but `import keras_ratn` has happened."""
    process = subprocess.Popen(
        [sys.executable, "-c", LOADER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )

    def predict(model, images, folder):
        model.save(folder / "model.keras")
        np.save(folder / "images.npy", images)
        files = ("model.keras", "images.npy", "outputs.npy")
        line = "|".join(str(folder / name) for name in files)
        process.stdin.write(line + "\n")
        process.stdin.flush()
        while (answer := process.stdout.readline()) != "loaded\n":
            assert answer, "the other process ended"
        return np.load(folder / "outputs.npy")

    yield predict
    process.stdin.close()
    process.wait(timeout=60)


def _check(case, another_process, folder):
    case = dict(case)
    size, channels, stem = (
        case.pop(key) for key in ("size", "channels", "stem")
    )
    unit = case.pop("unit")
    shape = _shape(size, channels, case["data_format"])
    architecture = dataclasses.replace(STEMS[stem], unit=unit)
    model = ResidualAttentionNetwork(
        architecture,
        input_shape=shape,
        classifier_activation=None,
        **case,
    )
    fill_with_transposed(model)
    images = np.random.default_rng(0).uniform(
        0, 255, (2, *_shape(size or 47, channels, case["data_format"]))
    )
    images = images.astype("float32")
    outputs = model.predict(images, verbose=0)
    assert np.all(np.isfinite(outputs))
    assert outputs.dtype == "float32"
    if case["include_top"]:
        assert outputs.shape == (2, architecture.family.classes)
    loaded = another_process(model, images, folder)
    scale = np.abs(outputs).max()
    np.testing.assert_allclose(loaded, outputs, atol=1e-5 * scale)

    model.compile(keras.optimizers.SGD(1e-4), "mse", jit_compile=_jit())
    before = keras.ops.convert_to_numpy(model.trainable_variables[0]).copy()
    loss = model.train_on_batch(images, np.zeros_like(outputs))
    after = keras.ops.convert_to_numpy(model.trainable_variables[0])
    assert np.isfinite(loss)
    assert np.any(before != after)


def _jit():
    """Tracing JAX without compiling is slower; XLA elsewhere is."""
    return keras.backend.backend() == "jax"


def _shape(size, channels, data_format):
    if data_format == "channels_first":
        return (channels, size, size)
    return (size, size, channels)


def fill_with_transposed(model):
    """Shape-seeded values; a depthwise kernel keeps its bilinear start."""
    values = {
        v.path: v.value for v in model.variables if "upsampling" in v.path
    }
    fill(model)
    for variable in model.variables:
        if variable.path in values:
            variable.assign(values[variable.path])


@pytest.mark.parametrize("case", _pairwise(CHOICES), ids=_id)
def test_every_pair_of_options(case, another_process, tmp_path):
    _check(case, another_process, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("case", list(_product(LAYOUTS)), ids=_id)
def test_product_of_sizes_and_layouts(case, another_process, tmp_path):
    _check(case, another_process, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("case", list(_product(OPTIONS)), ids=_id)
def test_product_of_options(case, another_process, tmp_path):
    _check(case, another_process, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(BUILDERS))
def test_every_builder(name, another_process, tmp_path):
    if "452" in name and keras.backend.backend() != "tensorflow":
        pytest.skip("Attention-452 is run on TensorFlow only, for time")
    model = BUILDERS[name](input_shape=(32, 32, 3), classifier_activation=None)
    fill(model)
    images = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3))
    outputs = model.predict(images, verbose=0)
    loaded = another_process(model, images, tmp_path)
    scale = np.abs(outputs).max()
    np.testing.assert_allclose(loaded, outputs, atol=1e-5 * scale)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(1e-3), loss, jit_compile=_jit())
    assert np.isfinite(model.train_on_batch(images, np.array([0, 1])))


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_trains_with_float32_outputs(policy):
    keras.config.set_dtype_policy(policy)
    model = ResidualAttentionNetwork(TINY)
    model.compile("sgd", "sparse_categorical_crossentropy", jit_compile=_jit())
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3))
    assert np.isfinite(model.train_on_batch(images, np.array([1, 2])))
    outputs = model(images.astype("uint8"))
    assert keras.backend.standardize_dtype(outputs.dtype) == "float32"
    assert model.get_layer("stage1_unit").compute_dtype == policy[6:]
    assert all(v.dtype == "float32" for v in model.trainable_variables)


@pytest.mark.skipif(
    keras.backend.backend() == "torch",
    reason="torch.compile is not part of a plain installation's promise",
)
def test_jit_compiled_training_step():
    model = ResidualAttentionNetwork(ONE_MODULE)
    model.compile("sgd", "sparse_categorical_crossentropy", jit_compile=True)
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3))
    assert np.isfinite(model.train_on_batch(images, np.array([1, 2])))


def test_remat_changes_neither_gradients_nor_statistics():
    images = np.random.default_rng(0).uniform(0, 255, (4, 32, 32, 3))
    labels = np.array([0, 1, 2, 3])
    results = []
    for remat in (False, True):
        model = fill(ResidualAttentionNetwork(TINY, remat=remat))
        model.compile(
            keras.optimizers.SGD(0.1),
            "sparse_categorical_crossentropy",
            jit_compile=_jit(),
        )
        model.train_on_batch(images, labels)
        results.append([keras.ops.convert_to_numpy(v) for v in model.variables])
    for plain, rematerialized in zip(*results):
        np.testing.assert_allclose(rematerialized, plain, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize("part", ["module", "unit"])
def test_remat_leaves_frozen_weights_alone(policy, part):
    keras.config.set_dtype_policy(policy)
    model = ResidualAttentionNetwork(ONE_MODULE, remat=True)
    frozen = model.get_layer("stage1_attention1")
    if part == "unit":
        frozen = frozen.trunk_units[0]
    # Values that half precision would round.
    for variable in frozen.trainable_variables:
        variable.assign(keras.ops.add(variable, 1e-4))
    frozen.trainable = False
    before = frozen.get_weights()
    model.compile("sgd", "sparse_categorical_crossentropy", jit_compile=_jit())
    images = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3))
    assert np.isfinite(model.train_on_batch(images, np.array([0, 1])))
    for one, other in zip(before, frozen.get_weights()):
        np.testing.assert_array_equal(one, other)


@pytest.mark.skipif(
    keras.backend.backend() != "jax", reason="JAX tells the residuals' bytes"
)
def test_remat_keeps_fewer_bytes_for_the_backward_pass():
    from benchmarks.remat_memory import residual_bytes

    plain = residual_bytes(ResidualAttentionNetwork(TINY), batch_size=8)
    remat = residual_bytes(
        ResidualAttentionNetwork(TINY, remat=True), batch_size=8
    )
    assert remat < 0.6 * plain


def test_a_call_in_naive_learning_is_the_mask_times_the_trunk():
    module = keras_ratn.layers.AttentionModule(
        8, mask_depth=1, attention_learning="naive"
    )
    x = np.random.default_rng(0).standard_normal((1, 8, 8, 8))
    module(x)
    trunk, mask = module.branches(x)
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(module.combine(trunk, mask)),
        keras.ops.convert_to_numpy(mask) * keras.ops.convert_to_numpy(trunk),
        rtol=1e-6,
    )


def test_head_is_named_as_in_keras_and_keeps_class_names(tmp_path):
    names = ["cat", "dog"]
    model = ResidualAttentionNetwork(TINY, classes=2, class_names=names)
    assert [layer.name for layer in model.layers[-2:]] == [
        "avg_pool",
        "predictions",
    ]
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert keras_ratn.class_names(loaded) == names


def test_pooling_without_top():
    shapes = {
        pooling: ResidualAttentionNetwork(
            TINY, include_top=False, pooling=pooling
        ).output_shape
        for pooling in (None, "avg", "max")
    }
    assert shapes == {
        None: (None, 16, 16, 16),
        "avg": (None, 16),
        "max": (None, 16),
    }


def test_input_tensor_is_built_upon():
    images = keras.Input((40, 36, 3))
    flipped = keras.layers.RandomFlip()(images)
    model = ResidualAttentionNetwork(TINY, input_tensor=flipped)
    assert model.input_shape == (None, 40, 36, 3)


def test_variables_keep_keras_leaf_names():
    model = ResidualAttentionNetwork(TINY)
    leaves = {v.path.split("/")[-1] for v in model.variables}
    assert leaves == {
        "kernel",
        "bias",
        "gamma",
        "beta",
        "moving_mean",
        "moving_variance",
    }


def test_grouped_convolution_is_one_kernel():
    unit = keras_ratn.layers.ResNeXtUnit(128)
    unit.build((None, 8, 8, 128))
    assert unit.conv2.groups == 32
    assert tuple(unit.conv2.kernel.shape) == (3, 3, 2, 64)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"input_shape": (31, 32, 3)}, "at least 32, or None"),
        ({"input_shape": (32, 32)}, "three entries"),
        ({"input_shape": (32, 32, None)}, "number of channels must be known"),
        ({"mask_activation": "soft"}, r"one of \['mixed', 'channel'"),
        ({"attention_learning": "both"}, r"one of \['residual', 'naive'\]"),
        ({"mask_structure": "unet"}, r"one of \['encoder_decoder'"),
        ({"interpolation": "nearest"}, r"one of \['bilinear'"),
        ({"data_format": "NCHW"}, r"one of \['channels_first'"),
        ({"include_top": False, "pooling": "mean"}, r"\[None, 'avg', 'max'\]"),
        ({"classes": 0}, "`classes` must be an integer of at least 1"),
        ({"classes": 3, "class_names": ["a"]}, "one name for each class"),
        ({"input_tensor": np.zeros((1, 32, 32, 3))}, "must be a Keras tensor"),
        ({"weights": []}, r"`weights` must be None.*Received: weights=\[\]"),
        ({"class_names": 5}, "`class_names` must be a list of strings"),
        (
            {"classifier_activation": "softmaxx"},
            "`classifier_activation` must be the name of an activation",
        ),
        ({"classifier_activation": 3}, "Received: classifier_activation=3"),
    ],
)
def test_wrong_arguments_are_explained(arguments, words):
    with pytest.raises(ValueError, match=words):
        ResidualAttentionNetwork(TINY, **arguments)


def test_input_shape_and_tensor_must_agree():
    with pytest.raises(ValueError, match="must agree"):
        ResidualAttentionNetwork(
            TINY,
            input_tensor=keras.Input((32, 32, 3)),
            input_shape=(64, 64, 3),
        )


def test_architecture_must_be_one():
    with pytest.raises(ValueError, match="must be a `keras_ratn.Architecture`"):
        ResidualAttentionNetwork("attention56")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"stem": "vgg"}, "`stem` must be one of"),
        ({"unit": "dense"}, "`unit` must be one of"),
        ({"unit": ["residual"]}, "`unit` must be one of"),
        ({"attention_options": {"a": 1}}, "need the name of a layer"),
        ({"num_modules": (1,)}, "of the same length"),
        ({"stage_filters": 64}, "a tuple with one integer for each stage"),
        ({"mask_depths": (0, 1, 1)}, "`mask_depths` must be an integer"),
        ({"num_trunk_units": 0}, "`num_trunk_units` must be an integer"),
        ({"tail_filters": None}, "`tail_filters` must be an integer"),
    ],
)
def test_wrong_architectures_are_explained(changes, words):
    with pytest.raises(ValueError, match=words):
        Architecture(**changes)


@pytest.mark.parametrize("field", ["attention", "unit_attention"])
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([1], "must be a dictionary"),
        ("reduction_ratio", "must be a dictionary"),
        ({1: 2}, "must be a dictionary of names"),
        ({"data_format": "channels_last"}, "without 'data_format'"),
        ({"reduction_ratio": 4, "name": "se"}, "'name', which the network"),
    ],
)
def test_wrong_options_of_an_attention_are_explained(field, options, words):
    with pytest.raises(ValueError, match=f"`{field}_options` .*{words}"):
        Architecture(**{field: "se", f"{field}_options": options})


def test_only_units_set_the_dtype_of_their_attention():
    options = {"dtype": "float32"}
    with pytest.raises(ValueError, match="must be .* without .*'dtype'"):
        Architecture(unit_attention="se", unit_attention_options=options)
    Architecture(attention="se", attention_options=options)


@pytest.mark.parametrize(
    "arguments",
    [
        {"classes": 2, "class_names": ["a"]},
        {"classifier_activation": "softmaxx"},
    ],
)
def test_a_wrong_classifier_is_noticed_before_anything_is_built(
    arguments, monkeypatch
):
    monkeypatch.setattr(keras, "Input", None)  # what every network begins with
    with pytest.raises(ValueError, match="1 names for 2 classes|softmaxx"):
        keras_ratn.Attention452(**arguments)
    with pytest.raises(ValueError, match="1 names for 2 classes|softmaxx"):
        keras_ratn.DANet101(**arguments)


@pytest.mark.slow
@pytest.mark.skipif(
    keras.backend.backend() != "jax", reason="counts what JAX's vjp keeps"
)
def test_remat_of_a_deep_network_keeps_a_fraction():
    from benchmarks.remat_memory import residual_bytes

    plain, remat = (
        residual_bytes(keras_ratn.CifarAttention164(remat=remat), batch_size=8)
        for remat in (False, True)
    )
    assert remat <= 0.4 * plain
