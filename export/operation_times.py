"""Where the time of a `.tflite` file goes, operation by operation.

LiteRT's Python package has no profiler that looks into XNNPACK. So each
operation is cut out into a file of its own and timed there. Its inputs are
then in the cache more often than within the network: the sum is a lower bound
for what is bound by memory.
"""

import collections
import copy
import pathlib
import time

import numpy as np

from . import flatbuffer

MEASURING_SECONDS = 0.05


def operation_times(path, num_threads=1):
    """Times each operation of a file on its own.

    Args:
        path: Path of the file.
        num_threads: Integer. Defaults to `1`.

    Returns:
        List of dicts with `name`, `type` (of its output), `number` and
        `milliseconds` (of all of them together), the longest first.
    """
    from ai_edge_litert import schema_py_generated as schema

    content = pathlib.Path(path).read_bytes()
    model = schema.ModelT.InitFromPackedBuf(content)
    (graph,) = model.subgraphs
    known, rows = {}, collections.defaultdict(lambda: [0, 0.0])
    for index, operation in enumerate(flatbuffer.operations(path)):
        key = _signature(model, graph.operators[index], operation)
        if key not in known:
            known[key] = _milliseconds(_cut_out(model, index), num_threads)
        row = rows[operation.name, operation.outputs[0].lower()]
        row[0] += 1
        row[1] += known[key]
    return sorted(
        (
            {"name": name, "type": kind, "number": n, "milliseconds": ms}
            for (name, kind), (n, ms) in rows.items()
        ),
        key=lambda row: -row["milliseconds"],
    )


def _signature(model, operator, operation):
    """What two operations that take equally long have in common."""
    (graph,) = model.subgraphs
    shapes = tuple(
        tuple(graph.tensors[i].shape)
        for i in (*operator.inputs, *operator.outputs)
        if i >= 0
    )
    options = operator.builtinOptions
    settings = () if options is None else tuple(sorted(vars(options).items()))
    return operation.name, operation.inputs, shapes, str(settings)


def _cut_out(model, index):
    """A file with one operation only; what it reads becomes its inputs."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    (graph,) = model.subgraphs
    operator = copy.deepcopy(graph.operators[index])
    ends = [i for i in (*operator.inputs, *operator.outputs) if i >= 0]
    new = {old: number for number, old in enumerate(dict.fromkeys(ends))}
    tensors, buffers = [], [schema.BufferT()]
    for old in new:
        tensor = copy.copy(graph.tensors[old])
        data = model.buffers[tensor.buffer].data
        tensor.buffer = 0
        if data is not None and len(data):
            tensor.buffer = len(buffers)
            buffers.append(model.buffers[graph.tensors[old].buffer])
        tensors.append(tensor)
    operator.inputs = [new.get(i, -1) for i in operator.inputs]
    operator.outputs = [new[i] for i in operator.outputs]
    part = schema.SubGraphT()
    part.tensors, part.operators = tensors, [operator]
    part.inputs = [
        i for i in operator.inputs if i >= 0 and tensors[i].buffer == 0
    ]
    part.inputs = list(dict.fromkeys(part.inputs))
    part.outputs = operator.outputs
    whole = schema.ModelT()
    whole.version, whole.operatorCodes = model.version, model.operatorCodes
    whole.subgraphs, whole.buffers = [part], buffers
    builder = flatbuffers.Builder()
    builder.Finish(whole.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _milliseconds(content, num_threads):
    """Median time of one run."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=content, num_threads=num_threads)
    interpreter.allocate_tensors()
    rng = np.random.default_rng(0)
    for detail in interpreter.get_input_details():
        values = rng.integers(-100, 100, detail["shape"])
        values = values.astype(detail["dtype"])
        interpreter.set_tensor(detail["index"], values)
    interpreter.invoke()
    times = []
    stop = time.monotonic() + MEASURING_SECONDS
    while len(times) < 5 or time.monotonic() < stop:
        start = time.perf_counter()
        interpreter.invoke()
        times.append(1000 * (time.perf_counter() - start))
    return float(np.median(times))
