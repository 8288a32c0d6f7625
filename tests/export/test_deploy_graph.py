import dataclasses

import keras
import numpy as np
import pytest
from tiny_models import calibrate
from tiny_models import difference
from tiny_models import forward
from tiny_models import random_pixels
from tiny_models import randomize
from tiny_models import SMALLEST
from tiny_models import TINY
from tiny_models import tiny_model

import keras_ratn
from export.deploy_graph import deploy_graph
from export.metadata import takes_pixels
from keras_ratn.models.architecture import VARIANTS

OPTIONS = {
    "default": {},
    "resnext": {"unit": "resnext"},
    "inception": {"unit": "inception"},
    "naive": {"attention_learning": "naive"},
    "channel": {"mask_activation": "channel"},
    "spatial": {"mask_activation": "spatial"},
    "local": {"mask_structure": "local_convolution"},
    "align_corners": {"interpolation": "bilinear_align_corners"},
    "transpose": {"interpolation": "transpose"},
    "imagenet_stem": {
        "stem": "imagenet",
        "tail_filters": 32,
        "num_tail_units": 1,
    },
    "deeper_units": {
        "num_pre_units": 2,
        "num_trunk_units": 3,
        "num_mask_units": 2,
        "num_closing_units": 1,
    },
    "shortcut_from_stem": {"stage_filters": (8, 8)},
}
# Where it matters that pooling halves the size, or does not.
EVEN = ("default", "local", "align_corners", "transpose", "imagenet_stem")


def with_options(options):
    return dataclasses.replace(TINY, **options)


@pytest.mark.parametrize(
    "options, size",
    [
        *((options, 37) for options in OPTIONS.values()),
        *((OPTIONS[name], 32) for name in EVEN),
    ],
    ids=[*OPTIONS, *(f"{name}-32" for name in EVEN)],
)
def test_computes_what_the_model_does_in_plain_layers(options, size):
    model = tiny_model(
        architecture=with_options(options),
        input_shape=(size, size, 3),
        classifier_activation=None,
    )
    images = random_pixels(2, 40)[:, :size, :size]
    deployed = deploy_graph(model)
    expected = forward(model, images)
    assert difference(expected, forward(deployed, images)) < 1e-5
    for operation in deployed.operations:
        assert isinstance(operation, keras.Layer)
        ours = type(operation).__module__.startswith("keras_ratn.")
        # Why these have no equal among Keras's is in the docstring.
        kept = ("BilinearUpsampling2D", "ClassificationHead", "MaskActivation")
        assert not ours or type(operation).__name__ in kept
        assert not isinstance(operation, keras.layers.BatchNormalization)
        assert getattr(operation, "data_format", None) != "channels_first"


def test_integers_compute_the_spatial_mask_in_steps():
    architecture = with_options(OPTIONS["spatial"])
    model = tiny_model(architecture=architecture, classifier_activation=None)
    deployed = deploy_graph(model, integers=True)
    kinds = {
        type(operation).__name__
        for operation in deployed.operations
        if not isinstance(operation, keras.Layer)
    }
    assert kinds == {"Add", "Rsqrt"}
    images = random_pixels(2)
    assert difference(forward(model, images), forward(deployed, images)) < 1e-5


def activated(x, activation):
    return keras.layers.Activation(activation)(keras.layers.Conv2D(3, 1)(x))


@pytest.mark.parametrize("order", [1, -1], ids=["product first", "last"])
@pytest.mark.parametrize(
    "activation, times, integers, rewrites",
    [
        ("sigmoid", 1, True, True),
        ("sigmoid", 1, False, False),
        ("tanh", 1, True, False),  # no mask
        ("sigmoid", 2, True, False),  # M (2 T) + T
    ],
)
def test_integers_add_one_to_masks(
    order, activation, times, integers, rewrites
):
    inputs = keras.Input((4, 4, 3))
    trunk, mask = (
        keras.layers.Conv2D(3, 1)(inputs),
        activated(inputs, activation),
    )
    factor = trunk if times == 1 else keras.layers.Add()([trunk, trunk])
    product = keras.layers.Multiply()([mask, factor][::order])
    outputs = keras.layers.Add()([product, trunk][::order])
    model = keras.Model(inputs, outputs)
    images = np.random.default_rng(0).normal(size=(2, 4, 4, 3))
    expected = forward(model, images)
    for _ in range(2):  # of a deploy graph, too
        model = deploy_graph(model, integers=integers)
        assert difference(expected, forward(model, images)) < 1e-6
        kinds = [type(layer).__name__ for layer in model.layers]
        assert kinds.count("Rescaling") == rewrites
        assert kinds.count("Add") == times - rewrites


@pytest.mark.parametrize("unit", ["residual", "resnext", "inception"])
def test_turns_channels_first_into_channels_last(unit):
    architecture = dataclasses.replace(TINY, unit=unit)
    source = tiny_model(
        architecture=architecture,
        data_format="channels_first",
        classifier_activation=None,
    )
    deployed = deploy_graph(source)
    assert deployed.input_shape == (None, 32, 32, 3)
    images = random_pixels(2)
    expected = forward(source, images.transpose(0, 3, 1, 2))
    assert difference(expected, forward(deployed, images)) < 1e-5


def test_leaves_the_model_as_it_was():
    model = tiny_model()
    images = random_pixels(2)
    before = forward(model, images)
    names = [layer.name for layer in model.layers]
    variables = [id(v) for v in deploy_graph(model).variables]
    np.testing.assert_array_equal(forward(model, images), before)
    assert [layer.name for layer in model.layers] == names
    assert not set(variables) & {id(v) for v in model.variables}


def test_works_on_a_loaded_file_and_twice(tmp_path):
    model = tiny_model(class_names=list("abcde"))
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    deployed = deploy_graph(deploy_graph(loaded))
    images = random_pixels(2)
    expected = forward(model, images)
    assert difference(expected, forward(deployed, images)) < 1e-5
    assert deployed.get_layer("predictions").class_names == list("abcde")


def test_can_be_saved(tmp_path):
    deployed = deploy_graph(tiny_model(input_shape=(37, 37, 3)))
    deployed.save(tmp_path / "deployed.keras")
    loaded = keras.saving.load_model(tmp_path / "deployed.keras")
    images = random_pixels(2, 40)[:, :37, :37]
    np.testing.assert_allclose(
        forward(loaded, images), forward(deployed, images), atol=1e-6
    )


def test_brings_mixed_precision_back_to_float32():
    keras.config.set_dtype_policy("mixed_float16")
    model = tiny_model(classifier_activation=None)
    keras.config.set_dtype_policy("float32")
    deployed = deploy_graph(model)
    assert all(layer.compute_dtype == "float32" for layer in deployed.layers)
    images = random_pixels(2)
    expected = forward(model, images)
    assert difference(expected, forward(deployed, images)) < 0.02


def test_returns_the_last_mask():
    model = tiny_model()
    deployed = deploy_graph(model, with_mask=True)
    images = random_pixels(2)
    scores, mask = forward(deployed, images)
    np.testing.assert_allclose(scores, forward(model, images), atol=1e-5)
    features = keras.Model(
        model.inputs, model.get_layer("stage2_unit").output
    ).predict(images, verbose=0)
    module = model.get_layer("stage2_attention1")
    _, expected = module(features, training=False, return_attention_mask=True)
    expected = keras.ops.convert_to_numpy(expected)
    # Sigmoids of logits up to 22, of which 1e-5 of the largest is 2e-4.
    np.testing.assert_allclose(mask, expected, atol=5e-5)


def test_takes_dropout_away():
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3, padding="same")(inputs)
    x = keras.layers.BatchNormalization()(x)
    x = keras.layers.Dropout(0.5)(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, x)
    randomize(model)
    deployed = deploy_graph(model)
    kinds = [type(layer).__name__ for layer in deployed.layers]
    assert kinds == ["InputLayer", "Conv2D", "GlobalAveragePooling2D"]
    images = random_pixels(2, 8)
    assert difference(forward(model, images), forward(deployed, images)) < 1e-5


@pytest.mark.parametrize("padding, folds", [("valid", True), ("same", False)])
def test_folds_the_scaling_of_pixels_where_exact(padding, folds):
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Rescaling(1 / 50, offset=-2.0)(inputs)
    x = keras.layers.Conv2D(4, 3, padding=padding)(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, x)
    deployed = deploy_graph(model)
    assert len(deployed.layers) == (3 if folds else 4)
    images = random_pixels(2, 8)
    assert difference(forward(model, images), forward(deployed, images)) < 1e-5


@pytest.mark.parametrize(
    "channels, kind",
    [(1, "Conv2D"), (4, "Conv2D"), (5, "DepthwiseConv2D")],
)
def test_scales_few_channels_by_a_plain_convolution(channels, kind):
    inputs = keras.Input((8, 8, channels))
    x = keras.layers.Rescaling(1 / 50, offset=-2.0)(inputs)
    model = keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(x))
    deployed = deploy_graph(model)
    assert type(deployed.layers[1]).__name__ == kind
    images = np.random.default_rng(0).uniform(0, 255, (2, 8, 8, channels))
    assert difference(forward(model, images), forward(deployed, images)) < 1e-5


def test_takes_functional_models_of_others():
    inputs = keras.Input((16, 16, 3))
    scaling = keras.layers.Normalization()
    scaling.adapt(random_pixels(4, 16) / 255)
    x = keras.layers.ZeroPadding2D(1)(scaling(inputs))
    x = keras.layers.Conv2D(8, 3, 2, activation="relu")(x)
    y = keras.layers.DepthwiseConv2D(3, padding="same")(x)
    y = keras.layers.BatchNormalization(scale=False)(y)
    x = keras.layers.Add()([x, keras.layers.Activation("relu")(y)])
    x = keras.layers.AveragePooling2D(2)(keras.layers.BatchNormalization()(x))
    outputs = keras.layers.Dense(3, "softmax")(keras.layers.Flatten()(x))
    model = keras.Model(inputs, outputs)
    randomize(model)
    deployed = deploy_graph(model)
    kinds = [type(layer).__name__ for layer in deployed.layers]
    assert "BatchNormalization" not in kinds
    assert kinds.count("ReLU") == 2
    images = random_pixels(2, 16) / 255
    assert difference(forward(model, images), forward(deployed, images)) < 1e-5


def transfer_model(kind):
    """A network of the package as the base of another model."""
    inputs = keras.Input((32, 32, 3))
    base = tiny_model(architecture=SMALLEST)
    base = keras.Model(base.input, base.layers[-2].output, name="base")
    flip = keras.layers.RandomFlip()
    head = keras.layers.Dense(3)
    if kind == "sequential":
        return keras.Sequential([inputs, flip, base, head])
    x = keras.Sequential([flip, keras.layers.Activation("linear")])(inputs)
    return keras.Model(inputs, head(base(x, training=False)))


@pytest.mark.parametrize("kind", ["sequential", "functional"])
def test_opens_models_inside_of_models(kind):
    model = transfer_model(kind)
    deployed = deploy_graph(model, with_mask=True)
    for layer in deployed.layers:
        assert not isinstance(layer, keras.Model)
        assert not isinstance(layer, keras.layers.BatchNormalization)
    assert takes_pixels(model) and takes_pixels(deployed)
    images = random_pixels(2)
    expected = forward(model, images)
    scores, mask = forward(deployed, images)
    assert difference(expected, scores) < 1e-5
    assert mask.shape == (2, 32, 32, 8)
    # The model is as it was.
    assert difference(expected, forward(model, images)) == 0


def test_opens_a_channels_first_model_inside():
    base = tiny_model(
        architecture=SMALLEST,
        data_format="channels_first",
        classifier_activation=None,
    )
    model = keras.Sequential([keras.Input((3, 32, 32)), base])
    images = random_pixels(2)
    expected = forward(model, images.transpose(0, 3, 1, 2))
    assert difference(expected, forward(deploy_graph(model), images)) < 1e-5


def _with_values(layers):
    """A model of these layers with batch statistics that are not trivial."""
    model = keras.Sequential([keras.Input((8, 8, 3)), *layers])
    random = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights(
                [random.uniform(0.5, 2, v.shape) for v in layer.weights]
            )
    return model


def _adapted(axis):
    layer = keras.layers.Normalization(axis)
    layer.adapt(np.random.default_rng(2).uniform(0, 255, (9, 8, 8, 3)))
    return layer


_CHAINS = {
    "rescaling, batch normalization, convolution": lambda: [
        keras.layers.Rescaling(1 / 255),
        keras.layers.BatchNormalization(),
        keras.layers.Conv2D(4, 3),
    ],
    "rescaling twice, convolution": lambda: [
        keras.layers.Rescaling(1 / 255),
        keras.layers.Rescaling(2, -1),
        keras.layers.Conv2D(4, 3),
    ],
    "rescaling, normalization, padded convolution": lambda: [
        keras.layers.Rescaling(1 / 255),
        keras.layers.Normalization(mean=[0.4, 0.5, 0.6], variance=[0.1] * 3),
        keras.layers.Conv2D(4, 3, padding="same"),
    ],
    "batch normalization twice behind pooling": lambda: [
        keras.layers.MaxPooling2D(),
        keras.layers.BatchNormalization(),
        keras.layers.BatchNormalization(),
        keras.layers.Conv2D(4, 3),
    ],
    "inverted normalization": lambda: [
        keras.layers.Normalization(
            mean=[1.0, 2.0, 3.0], variance=[4.0] * 3, invert=True
        ),
        keras.layers.Conv2D(4, 3),
    ],
    "normalization of every pixel": lambda: [
        _adapted(axis=(1, 2, 3)),
        keras.layers.Conv2D(4, 3),
    ],
    "normalization of rows": lambda: [
        _adapted(axis=1),
        keras.layers.Conv2D(4, 3),
    ],
    "normalization of all": lambda: [
        _adapted(axis=None),
        keras.layers.Conv2D(4, 3),
    ],
    "batch normalization of the head": lambda: [
        keras.layers.GlobalAveragePooling2D(),
        keras.layers.BatchNormalization(),
        keras.layers.Dense(4),
    ],
    "rescaling of the head": lambda: [
        keras.layers.GlobalAveragePooling2D(),
        keras.layers.Rescaling(1 / 255),
        keras.layers.Dense(4),
    ],
    "batch normalization over rows": lambda: [
        keras.layers.BatchNormalization(axis=1),
        keras.layers.Conv2D(4, 3),
    ],
}


@pytest.mark.parametrize("depthwise", [True, False])
@pytest.mark.parametrize("layers", _CHAINS.values(), ids=_CHAINS)
def test_scales_and_shifts_in_a_row(layers, depthwise):
    model = _with_values(layers())
    images = np.random.default_rng(1).uniform(0, 255, (2, 8, 8, 3))
    expected = keras.ops.convert_to_numpy(model(images))
    deployed = deploy_graph(model, depthwise_normalization=depthwise)
    scale = np.abs(expected).max()
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(deployed(images)),
        expected,
        atol=1e-5 * scale,
    )


def test_can_keep_batch_normalizations():
    model = tiny_model(classifier_activation=None)
    deployed = deploy_graph(model, depthwise_normalization=False)
    kinds = {type(layer).__name__ for layer in deployed.layers}
    assert "BatchNormalization" in kinds
    images = random_pixels(2)
    assert difference(forward(model, images), forward(deployed, images)) < 1e-5


def test_takes_a_size_for_a_model_without_one():
    model = tiny_model(input_shape=(None, None, 3), classifier_activation=None)
    with pytest.raises(ValueError, match="one known size. Pass `input_shape"):
        deploy_graph(model)
    deployed = deploy_graph(model, input_shape=(40, 36, 3))
    images = random_pixels(2, 40)[:, :, :36]
    assert difference(forward(model, images), forward(deployed, images)) < 1e-5


def test_keeps_what_it_has_no_rewrite_for():
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.SeparableConv2D(4, 3)(inputs)
    x = keras.ops.concatenate([x, 2 * x + 1], axis=1)
    x = keras.layers.Concatenate(axis=2)([x, x])
    left, right = keras.ops.split(x, 2, axis=-1)
    x = keras.layers.LayerNormalization()(left * right)
    outputs = keras.ops.mean(keras.ops.softmax(x, axis=1), axis=(1, 2))
    model = keras.Model(inputs, outputs)
    images = random_pixels(2, 8)
    expected = forward(model, images)
    assert difference(expected, forward(deploy_graph(model), images)) < 1e-5


def _attention_module():
    return keras_ratn.layers.AttentionModule(4, mask_depth=1)


def _module_times_mask(x):
    outputs, mask = _attention_module()(x, return_attention_mask=True)
    return outputs * mask


def _sub_model(x):
    inputs = keras.Input(x.shape[1:])
    return keras.Model(inputs, keras.layers.Conv2D(2, 3)(inputs))


# Calls that say more than a tensor, or say it in another way.
_CALLS = {
    "a mask too": _module_times_mask,
    "a module by name": lambda x: _attention_module()(inputs=x),
    "layers by name": lambda x: keras.layers.ReLU()(
        inputs=keras.layers.Conv2D(4, 3)(inputs=x)
    ),
    "a model by name": lambda x: _sub_model(x)(inputs=x),
    "a size": lambda x: keras_ratn.layers.BilinearUpsampling2D()(
        x, target_size=(13, 9)
    ),
    "places left out": lambda x: keras.layers.Softmax()(x, mask=x > 0.5),
    "scores by name": lambda x: keras_ratn.layers.PositionAttention(1)(
        inputs=x, return_attention_scores=True
    )[1],
    "attention by name": lambda x: keras.layers.MultiHeadAttention(1, 2)(
        value=x[:, :, 0], query=x[:, 0]
    ),
}


@pytest.mark.parametrize("call", _CALLS.values(), ids=_CALLS)
def test_keeps_what_calls_say(call):
    inputs = keras.Input((8, 8, 3))
    model = keras.Model(inputs, call(inputs))
    randomize(model)
    images = np.random.default_rng(0).uniform(0, 1, (2, 8, 8, 3))
    images = images.astype("float32")
    expected = forward(model, images)
    assert difference(expected, forward(deploy_graph(model), images)) < 1e-5


def test_returns_the_mask_that_a_model_uses_too():
    inputs = keras.Input((8, 8, 3))
    model = keras.Model(inputs, _module_times_mask(inputs))
    images = random_pixels(2, 8)
    outputs, mask = forward(deploy_graph(model, with_mask=True), images)
    assert difference(forward(model, images), outputs) < 1e-5
    module = model.layers[1]
    _, expected = module(images, return_attention_mask=True)
    expected = keras.ops.convert_to_numpy(expected)
    np.testing.assert_allclose(mask, expected, atol=1e-5)


def _scaled(x):
    return x / 100 - 1


def _only_of_tensors(x):
    if keras.utils.is_keras_tensor(x):
        raise ValueError("not yet")
    return keras.ops.flip(x, axis=1)


_FUNCTIONS = {
    "lambda": lambda: keras.layers.Lambda(lambda x: x / 100 - 1),
    "function": lambda: keras.layers.Lambda(_scaled),
    "arguments": lambda: keras.layers.Lambda(
        lambda x, by: x * by, arguments={"by": 0.01}
    ),
    "closed": lambda: keras.layers.Lambda(
        _only_of_tensors, output_shape=(8, 8, 3)
    ),
    "activation": lambda: keras.layers.Activation(lambda x: keras.ops.sqrt(x)),
    "of a convolution": lambda: keras.layers.Conv2D(
        3, 3, padding="same", activation=lambda x: 0.1 * keras.ops.square(x)
    ),
}


@pytest.mark.parametrize("integers", [False, True])
@pytest.mark.parametrize("function", _FUNCTIONS.values(), ids=_FUNCTIONS)
def test_takes_functions_that_exist_in_memory_only(function, integers):
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3)(function()(inputs))
    model = keras.Model(inputs, keras.layers.ReLU()(x))
    images = random_pixels(2, 8)
    deployed = deploy_graph(model, integers=integers)
    assert difference(forward(model, images), forward(deployed, images)) < 1e-5


class OddOne(keras.Layer):
    def call(self, x):
        return x


class SubclassedModel(keras.Model):
    def call(self, x):
        return x


def test_names_the_layer_it_cannot_rewrite():
    inputs = keras.Input((8, 8, 3))
    x = OddOne(name="odd_one")(inputs)
    with pytest.raises(ValueError, match="'odd_one' of class OddOne"):
        deploy_graph(keras.Model(inputs, x))


def test_refuses_what_is_no_functional_model():
    for model in ("model.keras", SubclassedModel()):
        with pytest.raises(ValueError, match="must be a functional Keras mod"):
            deploy_graph(model)
    inputs = keras.Input((8, 8, 3))
    with pytest.raises(ValueError, match="of class SubclassedModel"):
        deploy_graph(keras.Model(inputs, SubclassedModel()(inputs)))
    with pytest.raises(ValueError, match="one input, a batch of images"):
        deploy_graph(
            keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
        )
    model = tiny_model()
    twice = keras.Model(model.inputs, [model.output, model.layers[-2].output])
    with pytest.raises(ValueError, match="a model with 2 outputs. Take"):
        deploy_graph(twice)


def test_refuses_a_mask_where_there_is_none():
    architecture = dataclasses.replace(TINY, num_modules=(0, 0))
    model = tiny_model(architecture=architecture)
    with pytest.raises(ValueError, match="needs a model with an Attention"):
        deploy_graph(model, with_mask=True)


@pytest.mark.slow
@pytest.mark.parametrize("name", keras_ratn.list_models("*attention*"))
def test_every_registered_network(name):
    if keras.backend.backend() != "tensorflow":
        pytest.skip("once is enough")
    keras.utils.set_random_seed(0)
    builder = getattr(keras_ratn, name)
    # The smallest size; the structure does not depend on it.
    model = builder(input_shape=(32, 32, 3), classifier_activation=None)
    randomize(model)
    # Branches that change a sum as little as trained ones do. With random ones
    # a millionth of the pixels becomes 3e-4 of the scores of Attention-56, and
    # any other order of its sums as much.
    last = {
        "residual": "conv3/kernel",
        "resnext": "bn3/gamma",
        "inception": "merge/kernel",
    }
    for variable in model.variables:
        if variable.path.endswith(last[VARIANTS[name.lower()].unit]):
            variable.assign(0.1 * variable)
    calibrate(model, random_pixels(32))
    images = random_pixels(1, seed=2)
    limit = 1e-4 if VARIANTS[name.lower()].depth > 164 else 1e-5
    expected = forward(model, images)
    for integers in (False, True):
        deployed = deploy_graph(model, integers=integers)
        assert difference(expected, forward(deployed, images)) < limit


@pytest.mark.parametrize("where", ["head", "convolution", "embedded", "inside"])
def test_updates_of_lora_are_in_the_kernels(where):
    inputs = keras.Input((8, 8, 4))
    convolution = keras.layers.Conv2D(4, 3)
    embedded = keras.layers.EinsumDense(
        "abcd,de->abce", (6, 6, 4), bias_axes="e"
    )
    inside = keras_ratn.layers.SqueezeExcite(2)
    x = inside(embedded(convolution(inputs)))
    x = keras.layers.GlobalAveragePooling2D()(x)
    head = keras.layers.Dense(3)
    model = keras.Model(inputs, head(x))
    tuned = {
        "head": [head],
        "convolution": [convolution],
        "embedded": [embedded],
        "inside": [
            layer
            for layer in vars(inside).values()
            if isinstance(layer, (keras.layers.Dense, keras.layers.Conv2D))
        ],
    }[where]
    assert tuned
    for layer in tuned:
        layer.enable_lora(2, lora_alpha=6)
        layer.lora_kernel_b.assign(np.ones(layer.lora_kernel_b.shape))
    images = random_pixels(4, 8, 4) / 255
    expected = forward(model, images)
    before = len(model.weights)
    deployed = deploy_graph(model)
    assert difference(expected, forward(deployed, images)) < 1e-5
    assert not [w for w in deployed.weights if "lora" in w.path]
    assert len(model.weights) == before
