"""What is inside a `.tflite` file: its operations and their types."""

import collections
import dataclasses
import pathlib

_IDENTIFIER = b"TFL3"
_EDGE = ("QUANTIZE", "DEQUANTIZE")


@dataclasses.dataclass(frozen=True)
class Operation:
    """One operation of a `.tflite` file.

    Args:
        name: String, such as `"CONV_2D"`.
        inputs: Tuple of strings, the types of the inputs (`"INT8"`, ...).
        outputs: Tuple of strings, the types of the outputs.
        at_edge: Boolean. Whether it reads an input or makes an output of the
            model.
    """

    name: str
    inputs: tuple
    outputs: tuple
    at_edge: bool

    @property
    def is_float(self):
        """Whether it computes in floating point."""
        return any("FLOAT" in t for t in self.inputs + self.outputs)


def operations(path):
    """The operations of a `.tflite` file, in their order.

    Args:
        path: Path of the file.

    Returns:
        List of `Operation`.
    """
    from ai_edge_litert import schema_py_generated as schema

    names = _names(schema.BuiltinOperator)
    types = _names(schema.TensorType)
    content = pathlib.Path(path).read_bytes()
    if content[4:8] != _IDENTIFIER:
        raise ValueError(
            f"LiteRT cannot run {str(path)!r}: it is no .tflite file."
        )
    model = schema.ModelT.InitFromPackedBuf(content)
    found = []
    for graph in model.subgraphs:
        edge = {*graph.inputs, *graph.outputs}
        for operator in graph.operators:
            code = model.operatorCodes[operator.opcodeIndex]
            # Old readers know one byte only: the larger field is the code.
            number = max(code.builtinCode, code.deprecatedBuiltinCode)
            ends = [i for i in (*operator.inputs, *operator.outputs) if i >= 0]
            found.append(
                Operation(
                    names[number],
                    _types(graph, operator.inputs, types),
                    _types(graph, operator.outputs, types),
                    bool(edge.intersection(ends)),
                )
            )
    return found


def not_integer(path):
    """Operations that a fully quantised file should not have.

    Args:
        path: Path of a `.tflite` file.

    Returns:
        `collections.Counter` from names to numbers: of operations on floats
        and of QUANTIZE and DEQUANTIZE, those at the model's own inputs and
        outputs apart.
    """
    return collections.Counter(
        operation.name
        for operation in operations(path)
        if (operation.is_float or operation.name in _EDGE)
        and not (operation.name in _EDGE and operation.at_edge)
    )


def float_operations(path):
    """Operations inside a file that compute in floats.

    Args:
        path: Path of a `.tflite` file.

    Returns:
        `collections.Counter` from names to numbers. QUANTIZE and DEQUANTIZE
        at the model's own inputs and outputs are not counted.
    """
    return collections.Counter(
        operation.name
        for operation in operations(path)
        if operation.is_float
        and not (operation.name in _EDGE and operation.at_edge)
    )


def _names(enumeration):
    return {
        value: name
        for name, value in vars(enumeration).items()
        if not name.startswith("_")
    }


def _types(graph, indices, types):
    return tuple(types[graph.tensors[i].type] for i in indices if i >= 0)
