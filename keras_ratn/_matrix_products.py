"""What the matrix products of `keras.ops` cost, in multiply-accumulates."""

import math

import keras

# Operations that hide others, which no graph shows.
_HIDING = (
    "AssociativeScan",
    "Cond",
    "ForiLoop",
    "Map",
    "Scan",
    "Switch",
    "VectorizedMap",
    "WhileLoop",
)


def hides(operation):
    """Whether an operation in a graph runs others that are not in it."""
    return type(operation).__name__ in _HIDING


def product_macs(operation, args, kwargs, outputs):
    """Multiply-accumulates of an operation, 0 if it is no matrix product.

    Element-wise and outer products are none, since they add nothing up.

    Args:
        operation: Any of `keras.ops` as it stands in a graph. Their classes
            are not public: they go by their names.
        args: Positional arguments of its call.
        kwargs: Keyword arguments of its call.
        outputs: What it returned.
    """
    count = _COUNTS.get(type(operation).__name__)
    tensors = keras.tree.flatten((args, kwargs))
    shapes = [tuple(t.shape) for t in tensors if hasattr(t, "shape")]
    if count is None or len(shapes) < 2:
        return 0
    return count(operation, shapes, math.prod(outputs.shape))


def einsum_macs(subscripts, shapes):
    """Multiply-accumulates of a product of two tensors by `einsum`.

    What only one of them is summed over is summed up before.

    Args:
        subscripts: String, such as `"bij,bjk->bik"`.
        shapes: Pair of tuples.

    Returns:
        Pair of integers: multiply-accumulates, and of how many each value is
        the sum.
    """
    inputs, arrow, output = subscripts.replace(" ", "").partition("->")
    sides = [_sizes(s, shape) for s, shape in zip(inputs.split(","), shapes)]
    first, second = sides
    sizes = {
        axis: max(first.get(axis, 1), second.get(axis, 1))
        for axis in {**first, **second}
    }
    if not arrow:  # what stands once
        output = [a for a in sizes if inputs.count(str(a)) == 1]
    kept = {a for a in sizes if isinstance(a, int) or a in output}
    shared = (first.keys() & second.keys()) - kept
    summed = math.prod(sizes[a] for a in shared)
    return math.prod(sizes[a] for a in kept) * summed, summed


def _sizes(subscript, shape):
    """Axis -> size. Axes of "..." are numbers, counted from the last one."""
    before, dots, after = subscript.partition("...")
    unnamed = len(shape) - len(before) - len(after)
    axes = [*before, *range(unnamed, 0, -1), *after]
    return dict(zip(axes, shape, strict=True))


def _einsum(operation, shapes, values):
    if len(shapes) > 2:
        raise ValueError(
            f"What the operation {operation.name!r} costs depends on the order "
            f"of its products. Received: {operation.subscripts!r}. Write it as "
            "products of two tensors each."
        )
    macs, summed = einsum_macs(operation.subscripts, shapes)
    return macs if summed > 1 else 0


def _matmul(operation, shapes, values):
    return values * shapes[0][-1]


def _dot(operation, shapes, values):
    scalars = any(len(shape) == 0 for shape in shapes)
    return 0 if scalars else values * shapes[0][-1]


def _tensordot(operation, shapes, values):
    axes, shape = operation.axes, shapes[0]
    if isinstance(axes, int):
        summed = shape[len(shape) - axes :]
    else:
        summed = [shape[axis] for axis in axes[0]]
    return values * math.prod(summed) if summed else 0


def _vdot(operation, shapes, values):
    return math.prod(shapes[0])


def _attention(operation, shapes, values):
    """Queries `(B, T, heads, C)` with keys and values of S positions.

    All pairs count, those that a mask leaves out, too.
    """
    queries, keys, found = shapes[:3]
    return math.prod(queries[:3]) * keys[1] * (queries[3] + found[3])


_COUNTS = {
    "Dot": _dot,
    "DotProductAttention": _attention,
    "Einsum": _einsum,
    "Inner": _dot,
    "Matmul": _matmul,
    "Tensordot": _tensordot,
    "Vdot": _vdot,
}
