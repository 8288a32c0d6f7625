"""What a network costs: multiply-accumulates and parameters."""

import dataclasses
import math

import keras

from keras_ratn._matrix_products import einsum_macs
from keras_ratn._matrix_products import hides
from keras_ratn._matrix_products import product_macs
from keras_ratn._replay import replay
from keras_ratn.layers.upsampling import BilinearUpsampling2D

_CONVOLUTIONS = (
    keras.layers.Conv1D,
    keras.layers.Conv2D,
    keras.layers.Conv3D,
    keras.layers.DepthwiseConv1D,
    keras.layers.DepthwiseConv2D,
)
_TRANSPOSED = (
    keras.layers.Conv1DTranspose,
    keras.layers.Conv2DTranspose,
    keras.layers.Conv3DTranspose,
)
# Keras's own that compute more than their parts, or hide them.
_NOT_UNDERSTOOD = (
    keras.layers.Bidirectional,
    keras.layers.FlaxLayer,
    keras.layers.JaxLayer,
    keras.layers.RNN,
    keras.layers.TFSMLayer,
    keras.layers.TorchModuleWrapper,
    keras.layers.Wrapper,
)
# Keras's own that are opened: these have dense layers inside, ...
_WITH_DENSE_LAYERS = (
    keras.Model,
    keras.layers.GroupQueryAttention,
    keras.layers.MultiHeadAttention,
)
# ... and these only matrix products.
_WITH_PRODUCTS = (keras.layers.Dot, keras.layers.Lambda)


def count_macs(model, input_shape=None, matrix_products=False):
    """Counts the multiply-accumulates of one sample's forward pass.

    Convolutions and dense layers are counted, as papers do ("FLOPs" there are
    mostly these); biases, normalization, activations, pooling, resizing and
    element-wise products are not. Composite and nested layers are opened.

    Args:
        model: Functional or sequential `keras.Model`.
        input_shape: Optional shape without the batch size, or a list of one
            for each input, for a model that leaves its height and width open.
            Defaults to the model's own.
        matrix_products: Boolean. Whether the matrix products inside attention
            layers count too, such as those of queries and keys: what attention
            over positions costs, though most papers leave it out. So do those
            of `keras.ops` (`matmul`, `einsum`, `dot`, ...) anywhere else.
            Defaults to `False`.

    Returns:
        Integer.

    Raises:
        ValueError: For layers that are not understood (recurrent ones,
            wrappers, loops, layers of other frameworks), which it names, and
            for sizes left open.

    Example:

    >>> keras_ratn.count_macs(keras_ratn.CifarAttention56())
    122825216
    """
    costs = _macs_of_layers(model, input_shape, matrix_products)
    return sum(macs for _, macs in costs)


@dataclasses.dataclass(frozen=True)
class LayerCost:
    """One row of `describe`.

    Args:
        name: String. Name of the layer.
        kind: String. Its class.
        output_shape: Tuple, without the batch size.
        parameters: Integer. Trainable parameters.
        macs: Integer. Multiply-accumulates for one sample.
    """

    name: str
    kind: str
    output_shape: tuple
    parameters: int
    macs: int


def describe(model, input_shape=None, print_table=True):
    """Tells, stage by stage and module by module, what a network is made of.

    `model.summary()` lists layers; this adds what each costs. An Attention
    Module is one row.

    Args:
        model: Functional or sequential `keras.Model`.
        input_shape: Optional shape without the batch size, or a list of one
            for each input, for a model that leaves its height and width open.
            Defaults to the model's own.
        print_table: Boolean. Whether to print the table. Defaults to `True`.

    Returns:
        List of `LayerCost`, one for each layer that has parameters or costs.

    Example:

    >>> rows = keras_ratn.describe(
    ...     keras_ratn.CifarAttention56(), print_table=False)
    >>> rows[1].name, rows[1].output_shape
    ('stage1_unit', (32, 32, 64))
    """
    costs = _macs_of_layers(model, input_shape)
    rows, seen = [], set()
    for (layer, output_shape), macs in costs:
        shared = layer.name in seen  # its parameters stand in its first row
        seen.add(layer.name)
        parameters = 0 if shared else _size(layer.trainable_variables)
        if parameters or macs:
            kind = type(layer).__name__
            row = LayerCost(
                layer.name, kind, output_shape[1:], parameters, macs
            )
            rows.append(row)
    if print_table:
        _print(model, rows)
    return rows


def _print(model, rows):
    import rich.console
    import rich.table

    table = rich.table.Table(title=model.name)
    for heading in ("layer", "output", "parameters", "MACs"):
        right = heading in ("parameters", "MACs")
        table.add_column(heading, justify="right" if right else "left")
    for row in rows:
        shape = " x ".join(map(str, row.output_shape))
        table.add_row(row.name, shape, f"{row.parameters:,}", f"{row.macs:,}")
    table.add_section()
    total = _size(model.trainable_variables)
    macs = sum(row.macs for row in rows)
    table.add_row("total", "", f"{total:,}", f"{macs:,}")
    rich.console.Console().print(table)


def _size(variables):
    return sum(math.prod(v.shape) for v in variables)


def _macs_of_layers(model, input_shape, matrix_products=False):
    """Pairs `((layer, output shape), macs)` for each call of each layer."""
    shapes = [tuple(tensor.shape[1:]) for tensor in model.inputs]
    if input_shape is not None:
        given = input_shape if len(shapes) > 1 else [input_shape]
        if len(given) != len(shapes):
            raise ValueError(
                "`input_shape` must be a list of one shape for each of the "
                f"model's {len(shapes)} inputs. Received: {input_shape}"
            )
        shapes = [tuple(shape) for shape in given]
    if any(None in shape for shape in shapes):
        raise ValueError(
            "The cost depends on the size of the input, which this model "
            f"leaves open: {shapes}. Pass `input_shape`, such as "
            "(224, 224, 3)."
        )
    shapes = [(1, *shape) for shape in shapes]
    names = {layer.name: layer for layer in model.layers}
    return [
        ((names.get(layer.name, layer), tuple(_first(outputs).shape)), macs)
        for layer, outputs, macs in _costs(model, shapes, True, matrix_products)
    ]


def _costs(model, shapes, clone, matrix_products):
    """Triples `(layer, outputs, macs)` for each call.

    The layers are clones; what opening one brings up is the clone's own and
    need not be cloned again.
    """
    costs = []

    def call(layer, *args, **kwargs):
        outputs = layer(*args, **kwargs)
        if isinstance(layer, keras.layers.EinsumDense):
            # The layer's own shape may have open sizes, this has none.
            outputs = keras.ops.einsum(layer.equation, *args, layer.kernel)
        macs = _macs(layer, args, kwargs, outputs, matrix_products)
        costs.append((layer, outputs, macs))
        return outputs

    replay(model, call, shapes, clone)
    return costs


def _first(outputs):
    return keras.tree.flatten(outputs)[0]


def _macs(layer, args, kwargs, outputs, matrix_products):
    if isinstance(layer, keras.layers.Dense):
        return _values(layer, outputs) * layer.kernel.shape[0]
    if isinstance(layer, keras.layers.EinsumDense):
        shapes = _first(args).shape, layer.kernel.shape
        return einsum_macs(layer.equation, shapes)[0]
    if isinstance(layer, _CONVOLUTIONS):
        return _positions(layer, outputs) * math.prod(layer.kernel.shape)
    if isinstance(layer, _TRANSPOSED):
        return _positions(layer, args) * math.prod(layer.kernel.shape)
    if isinstance(
        layer, (keras.layers.SeparableConv1D, keras.layers.SeparableConv2D)
    ):
        kernels = layer.depthwise_kernel.shape, layer.pointwise_kernel.shape
        return _positions(layer, outputs) * sum(map(math.prod, kernels))
    if isinstance(layer, _NOT_UNDERSTOOD) or hides(layer):
        raise ValueError(_not_known(layer))
    if not isinstance(layer, keras.Layer):
        if not matrix_products:
            return 0
        _values(layer, outputs)
        return product_macs(layer, args, kwargs, outputs)
    if matrix_products and isinstance(layer, keras.layers.Attention):
        return _attention_macs(layer, keras.tree.flatten((args, kwargs)))
    if not _is_composite(layer, matrix_products):
        return 0
    return _macs_inside(layer, args, kwargs, matrix_products)


def _not_known(layer):
    return (
        f"What the layer {layer.name!r} of class {type(layer).__name__} "
        "costs is not known here. Count the rest of the model without it."
    )


def _values(layer, tensors):
    """Of one sample: merged with other axes or not, the batch is of one."""
    shape = _first(tensors).shape
    if None in shape:
        raise ValueError(
            f"{_not_known(layer)} The size of its output is open: {shape}"
        )
    return math.prod(shape)


def _positions(layer, tensors):
    """Pixels of the map: all of its size but batch and channels."""
    shape = _first(tensors).shape
    channels = shape[-1 if layer.data_format == "channels_last" else 1]
    return _values(layer, tensors) // channels


def _attention_macs(layer, tensors):
    """Scores of each query and value, and the mixture of the values."""
    queries, values = tensors[:2]
    channels = queries.shape[-1]
    if isinstance(layer, keras.layers.AdditiveAttention):
        # Sums, or products with a vector of weights.
        channels = channels if layer.use_scale else 0
    elif layer.score_mode == "concat":
        channels = 0
    pairs = _values(layer, queries) // queries.shape[-1] * values.shape[-2]
    return pairs * (channels + values.shape[-1])


def _is_composite(layer, matrix_products):
    """Keras's own layers but some hold no convolution or dense layer."""
    if isinstance(layer, BilinearUpsampling2D):
        return False  # resizes by matrix products: they do not count
    if type(layer).__module__.partition(".")[0] != "keras":
        return True
    own = _WITH_DENSE_LAYERS + (_WITH_PRODUCTS if matrix_products else ())
    return isinstance(layer, own)


def _macs_inside(layer, args, kwargs, matrix_products):
    try:
        outputs = layer.call(*args, **kwargs)
    except Exception as error:  # of whatever it calls in place of `keras.ops`
        raise ValueError(
            f"{_not_known(layer)} Opening it gave: {error}"
        ) from error
    inputs = [
        tensor
        for tensor in keras.tree.flatten((args, kwargs))
        if isinstance(tensor, keras.KerasTensor)
    ]
    if all(any(o is i for i in inputs) for o in keras.tree.flatten(outputs)):
        return 0
    inner = keras.Model(inputs, outputs)
    shapes = [tensor.shape for tensor in inputs]
    costs = _costs(inner, shapes, False, matrix_products)
    return sum(macs for _, _, macs in costs)
