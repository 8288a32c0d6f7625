import keras
import numpy as np
import pytest
from keras import ops

import keras_ratn


def _model(*layers, shape=(8, 6, 4)):
    return keras.Sequential([keras.Input(shape), *layers])


@pytest.mark.parametrize(
    ("layer", "macs"),
    [
        # positions x kernel x channels in x channels out
        (keras.layers.Conv2D(5, 3, padding="same"), 48 * 9 * 4 * 5),
        (keras.layers.Conv2D(5, 3, 2, padding="same"), 12 * 9 * 4 * 5),
        (keras.layers.Conv2D(6, 3, groups=2, padding="same"), 48 * 9 * 2 * 6),
        (keras.layers.DepthwiseConv2D(3, padding="same"), 48 * 9 * 4),
        (
            keras.layers.SeparableConv2D(5, 3, padding="same"),
            48 * (9 * 4 + 4 * 5),
        ),
        (keras.layers.Conv2DTranspose(5, 4, 2, padding="same"), 48 * 16 * 20),
        (keras.layers.Dense(7), 48 * 4 * 7),
        (keras.layers.EinsumDense("abcd,de->abce", (8, 6, 7)), 48 * 4 * 7),
        (keras.layers.EinsumDense("...x,xy->...y", 7), 48 * 4 * 7),
        (
            keras.layers.EinsumDense("abcd,de->abce", (None, 6, 7)),
            48 * 4 * 7,
        ),
        (
            keras.layers.EinsumDense("abcd,cde->abe", (8, 7)),
            48 * 4 * 7,
        ),
        (keras.layers.BatchNormalization(), 0),
        (keras.layers.MaxPooling2D(), 0),
    ],
    ids=lambda value: getattr(value, "name", value),
)
def test_macs_by_hand(layer, macs):
    assert keras_ratn.count_macs(_model(layer)) == macs


def test_composite_and_nested_layers_are_opened():
    unit = keras_ratn.layers.ResidualUnit(8)
    # 1x1 4->2, 3x3 2->2, 1x1 2->8, projection 4->8, at 48 positions
    expected = 48 * (4 * 2 + 9 * 2 * 2 + 2 * 8 + 4 * 8)
    inner = _model(unit)
    assert keras_ratn.count_macs(inner) == expected
    assert keras_ratn.count_macs(_model(inner)) == expected


def test_a_shared_layer_counts_at_each_call():
    inputs = keras.Input((8, 6, 4))
    shared = keras.layers.Conv2D(4, 1)
    model = keras.Model(inputs, shared(shared(inputs)))
    assert keras_ratn.count_macs(model) == 2 * 48 * 4 * 4


def test_sizes_that_an_einsum_leaves_open_are_known_after_it():
    model = _model(
        keras.layers.EinsumDense("abcd,de->abce", (None, 6, 7), bias_axes="e"),
        keras.layers.Dense(5),
    )
    rows = keras_ratn.describe(model, print_table=False)
    assert [row.output_shape for row in rows] == [(8, 6, 7), (8, 6, 5)]
    assert [row.macs for row in rows] == [48 * 4 * 7, 48 * 7 * 5]


def test_parameters_of_a_shared_layer_are_described_once():
    inputs = keras.Input((8, 6, 4))
    shared = keras.layers.Conv2D(4, 1, use_bias=False)
    model = keras.Model(inputs, shared(shared(inputs)))
    rows = keras_ratn.describe(model, print_table=False)
    assert [row.parameters for row in rows] == [16, 0]
    assert [row.macs for row in rows] == [48 * 16] * 2


def test_functions_in_lambda_layers_need_no_config():
    def tops(x):
        return keras.ops.max(x, axis=1)

    shift = 2.0
    inner = _model(
        keras.layers.Lambda(lambda x: keras.ops.abs(x) + shift),
        keras.layers.Conv2D(5, 1),
        keras.layers.Lambda(tops, output_shape=(6, 5)),
        keras.layers.Dense(3),
    )
    functional = keras.Model(inner.inputs[0], inner.outputs)
    for model in (inner, functional, _model(inner), _model(functional)):
        assert keras_ratn.count_macs(model) == 48 * 4 * 5 + 6 * 5 * 3
    assert tuple(inner.layers[0].output.shape) == (None, 8, 6, 4)


def test_how_a_model_is_trained_does_not_matter():
    class Loss:  # without a config
        def __call__(self, labels, outputs):
            return outputs

    inner = _model(keras.layers.Dense(7))
    functional = keras.Model(inner.inputs[0], inner.outputs)
    for model in (inner, functional):
        model.compile(loss=Loss())
        assert keras_ratn.count_macs(model) == 48 * 4 * 7
        assert keras_ratn.count_macs(_model(model)) == 48 * 4 * 7


def test_counting_leaves_the_model_alone():
    model = keras_ratn.CifarAttention56()
    weights = [v.path for v in model.variables]
    keras_ratn.count_macs(model)
    assert [v.path for v in model.variables] == weights
    unit = model.get_layer("stage1_unit")
    assert tuple(unit.output.shape) == (None, 32, 32, 64)


def test_open_sizes_need_an_input_shape():
    inputs = keras.Input((None, None, 3))
    model = keras.Model(inputs, keras.layers.Conv2D(2, 1)(inputs))
    assert keras_ratn.count_macs(model, (4, 5, 3)) == 20 * 6
    with pytest.raises(ValueError, match="Pass `input_shape`"):
        keras_ratn.count_macs(model)


def test_each_input_has_a_shape():
    inputs = [keras.Input((None, 4)), keras.Input((3, 2))]
    tokens = keras.layers.Conv1D(2, 1)(inputs[0])
    model = keras.Model(inputs, [tokens, keras.layers.Flatten()(inputs[1])])
    assert keras_ratn.count_macs(model, [(5, 4), (3, 2)]) == 5 * 4 * 2
    with pytest.raises(ValueError, match="one shape for each of the model's 2"):
        keras_ratn.count_macs(model, [(5, 4)])


@pytest.mark.parametrize(
    "layer",
    [
        keras.layers.LSTM(3),
        keras.layers.TimeDistributed(keras.layers.Dense(3)),
        keras.layers.Bidirectional(keras.layers.GRU(3)),
    ],
)
def test_layers_of_unknown_cost_are_named(layer):
    model = keras.Sequential([keras.Input((4, 5)), layer])
    with pytest.raises(ValueError, match=f"layer '{layer.name}' of class"):
        keras_ratn.count_macs(model)


def test_keras_own_networks_count_too():
    # 3.86 GMACs: the network with its stride in the first 1x1.
    resnet = keras.applications.ResNet50(weights=None)
    assert keras_ratn.count_macs(resnet) == 3_857_973_248


def test_description_adds_up(capsys):
    model = keras_ratn.CifarAttention56()
    rows = keras_ratn.describe(model)
    assert sum(row.parameters for row in rows) == 1_030_362
    assert sum(row.macs for row in rows) == keras_ratn.count_macs(model)
    names = [row.name for row in rows]
    assert names[:3] == ["stem_conv", "stage1_unit", "stage1_attention1"]
    assert rows[2].output_shape == (32, 32, 64)
    assert "1,030,362" in capsys.readouterr().out
    assert np.all([row.macs >= 0 for row in rows])


@pytest.mark.parametrize(
    ("layer", "macs", "products"),
    [
        # 48 positions of 16 channels: queries and keys of 2, values of 16;
        # N x N scores of 2, N x N weights for 16
        (
            keras_ratn.layers.PositionAttention(),
            48 * 16 * (2 + 2 + 16),
            48 * 48 * (2 + 16),
        ),
        # 16 x 16 affinities over 48 positions, then 16 weights for each value
        (
            keras_ratn.layers.ChannelAffinityAttention(),
            0,
            2 * 48 * 16 * 16,
        ),
        # Keys and values on 4 x 3 positions, by 3x3 depthwise; two heads, of
        # which each mixes both
        (
            keras_ratn.layers.EfficientMultiHeadSelfAttention(2, 2),
            48 * 16 * (16 + 16) + 12 * 16 * (9 + 32),
            48 * 12 * (16 + 16) + 48 * 12 * 2 * 2,
        ),
        # Two 1x1 convolutions, two memories of 4 slots: all are weights
        (
            keras_ratn.layers.ExternalAttention(4),
            48 * 16 * (16 + 4 + 4 + 16),
            0,
        ),
        # Resizing does not count, though it is done by matrix products.
        (keras_ratn.layers.BilinearUpsampling2D(align_corners=True), 0, 0),
    ],
    ids=lambda value: getattr(value, "name", value),
)
def test_matrix_products_by_hand(layer, macs, products):
    model = _model(layer, shape=(8, 6, 16))
    assert keras_ratn.count_macs(model) == macs
    both = keras_ratn.count_macs(model, matrix_products=True)
    assert both - macs == products


def _products(function, *shapes):
    """What the matrix products of a graph of these inputs add."""
    inputs = [keras.Input(shape) for shape in shapes]
    model = keras.Model(inputs, function(*inputs))
    both = keras_ratn.count_macs(model, matrix_products=True)
    return both - keras_ratn.count_macs(model)


# T = 5 queries of 8 channels; S = 3 keys and values.
T, S = (5, 8), (3, 8)
ATTENTIONS = {
    # two heads: 4 channels of each key, 4 of each value
    "mha": (
        lambda x: keras.layers.MultiHeadAttention(2, 4)(x, x),
        (T,),
        2 * 5 * 5 * (4 + 4),
    ),
    "mha with scores": (
        lambda x: keras.layers.MultiHeadAttention(2, 4)(
            x, x, return_attention_scores=True
        ),
        (T,),
        2 * 5 * 5 * (4 + 4),
    ),
    "mha with dropout": (
        lambda x: keras.layers.MultiHeadAttention(2, 4, dropout=0.1)(x, x),
        (T,),
        2 * 5 * 5 * (4 + 4),
    ),
    "mha of two": (
        lambda x, y: keras.layers.MultiHeadAttention(2, 4, 6)(x, value=y),
        (T, S),
        2 * 5 * 3 * (4 + 6),
    ),
    "mha over maps": (
        lambda x: keras.layers.MultiHeadAttention(2, 4, attention_axes=(1, 2))(
            x, x
        ),
        ((5, 3, 8),),
        2 * 15 * 15 * (4 + 4),
    ),
    # four heads of queries share two of keys and values
    "gqa": (
        lambda x, y: keras.layers.GroupQueryAttention(4, 4, 2)(x, y),
        (T, S),
        4 * 5 * 3 * (4 + 4),
    ),
    "attention": (
        lambda x, y: keras.layers.Attention()([x, y]),
        (T, S),
        5 * 3 * (8 + 8),
    ),
    "attention with keys": (
        lambda x, y, z: keras.layers.Attention()([x, y, z]),
        (T, (3, 6), S),
        5 * 3 * (8 + 6),
    ),
    "concatenated attention": (
        lambda x, y: keras.layers.Attention(score_mode="concat")([x, y]),
        (T, S),
        5 * 3 * 8,
    ),
    "additive attention": (
        lambda x, y: keras.layers.AdditiveAttention()([x, y]),
        (T, S),
        5 * 3 * (8 + 8),
    ),
    "additive attention without weights": (
        lambda x, y: keras.layers.AdditiveAttention(use_scale=False)([x, y]),
        (T, S),
        5 * 3 * 8,
    ),
}


@pytest.mark.parametrize("name", ATTENTIONS)
def test_keras_own_attention_by_hand(name):
    function, shapes, macs = ATTENTIONS[name]
    assert _products(function, *shapes) == macs


def test_projections_of_keras_own_attention_by_hand():
    inputs = keras.Input(T), keras.Input(S)
    layer = keras.layers.GroupQueryAttention(4, 4, 2)
    model = keras.Model(inputs, layer(*inputs))
    # queries and outputs of 4 x 4, keys and values of 2 x 4
    expected = 2 * 5 * 8 * 16 + 2 * 3 * 8 * 8
    assert keras_ratn.count_macs(model) == expected


OPERATIONS = {
    "matmul": (lambda x: x @ ops.ones((8, 7)), (T,), 5 * 8 * 7),
    "constant first": (lambda x: ops.ones((2, 5)) @ x, (T,), 2 * 5 * 8),
    "dot": (lambda x: ops.dot(x, ops.ones((8, 7))), (T,), 5 * 8 * 7),
    "dot with a scalar": (lambda x: ops.dot(x, 2.0), (T,), 0),
    "tensordot": (
        lambda x: ops.tensordot(x, ops.ones((5, 8, 7)), axes=2),
        (T,),
        5 * 8 * 7,
    ),
    "tensordot by axes": (
        lambda x: ops.tensordot(x, ops.ones((7, 5)), axes=[[1], [1]]),
        (T,),
        5 * 8 * 7,
    ),
    "einsum": (
        lambda x, y: ops.einsum("bic,bjc->bij", x, y),
        (T, S),
        5 * 3 * 8,
    ),
    "einsum with dots": (
        lambda x: ops.einsum("...c,cd->...d", x, ops.ones((8, 7))),
        (T,),
        5 * 8 * 7,
    ),
    # The mean of y over its positions comes first.
    "einsum of a sum": (
        lambda x, y: ops.einsum("bic,bjc->bi", x, y),
        (T, S),
        5 * 8,
    ),
    "gate by einsum": (
        lambda x: ops.einsum("bic,c->bic", x, ops.ones(8)),
        (T,),
        0,
    ),
    "sum by einsum": (lambda x: ops.einsum("bic->bc", x), (T,), 0),
    "dot layer": (
        lambda x, y: keras.layers.Dot(axes=2)([x, y]),
        (T, S),
        5 * 3 * 8,
    ),
    "lambda": (
        lambda x: keras.layers.Lambda(lambda x: x @ ops.ones((8, 7)))(x),
        (T,),
        5 * 8 * 7,
    ),
    "attention": (
        lambda x, y: ops.dot_product_attention(x, y, y),
        ((5, 2, 4), (3, 2, 4)),
        2 * 5 * 3 * (4 + 4),
    ),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_operations_by_hand(name):
    function, shapes, macs = OPERATIONS[name]
    assert _products(function, *shapes) == macs


def test_axes_that_are_merged_with_the_batch_count():
    def windows(x):
        x = ops.reshape(x, (-1, 2, 8))  # (B 3, 2, 8)
        return x @ ops.transpose(x, (0, 2, 1))

    assert _products(windows, (6, 8)) == 3 * 2 * 2 * 8
    inputs = keras.Input((6, 8))
    dense = keras.layers.Dense(7)(ops.reshape(inputs, (-1, 2, 8)))
    assert keras_ratn.count_macs(keras.Model(inputs, dense)) == 6 * 8 * 7


class OfAnotherLibrary(keras.Layer):
    def call(self, inputs):
        return ops.convert_to_tensor(np.asarray(inputs))

    def compute_output_shape(self, input_shape):
        return input_shape


@pytest.mark.parametrize(
    ("function", "named"),
    [
        (
            lambda x: ops.einsum("bic,cd,de->bie", x, *2 * [ops.ones((8, 8))]),
            "'einsum.*two tensors each",
        ),
        (lambda x: ops.map(lambda row: row @ ops.ones((8, 7)), x), "'map"),
        (lambda x: OfAnotherLibrary(name="other")(x), "'other'.*Opening it"),
        (
            lambda x: keras.layers.Lambda(
                np.asarray, output_shape=(5, 8), name="hidden"
            )(x),
            "'hidden'.*Opening it",
        ),
    ],
)
def test_products_that_cannot_be_counted_are_named(function, named):
    with pytest.raises(ValueError, match=named):
        _products(function, T)
