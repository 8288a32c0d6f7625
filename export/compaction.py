"""The same `.tflite` file in fewer bytes, for the phone's download."""

import collections

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

_DATA_ALIGNMENT = 16  # of the weights, as the schema of LiteRT has it


def compacted(content):
    """Writes a file anew, with each thing said once and by its short name.

    The converter writes 8 bytes of zero points for every channel of every
    kernel, all of them 0, and names a tensor after all the steps that were
    joined in it. Equal lists become one list here, to which all that had one
    of their own refer; tensors are named after the last of their steps, and
    without the model's name in front. Weights, operations, inputs, outputs
    and signatures stay as they are.

    Args:
        content: Bytes of a `.tflite` file without anything appended.

    Returns:
        Bytes.
    """
    model = schema.ModelT.InitFromPackedBuf(content)
    for graph in model.subgraphs:
        _shorten_names(graph)
    builder = _Builder(len(content))
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _shorten_names(graph):
    """Shortens the names of inner tensors, where they stay different."""
    ends = {*graph.inputs, *graph.outputs}
    inner = [t for i, t in enumerate(graph.tensors) if i not in ends]
    # "model/relu/Relu;model/conv/convolution" -> "conv/convolution"
    steps = [
        [step.split("/", 1)[-1] for step in tensor.name.decode().split(";")]
        for tensor in inner
    ]
    uses = collections.Counter(names[-1] for names in steps)
    for tensor, names in zip(inner, steps):
        unique = uses[names[-1]] == 1
        tensor.name = names[-1] if unique else ";".join(names)


class _Builder(flatbuffers.Builder):
    """Writes equal lists once, and weights where they can be used in place."""

    def __init__(self, size):
        super().__init__(size)
        self.written = {}

    def CreateNumpyVector(self, x):  # noqa: N802
        if x.dtype == np.uint8:
            return self._create_data(x)
        key = x.dtype.str, x.tobytes()
        if key not in self.written:
            self.written[key] = super().CreateNumpyVector(x)
        return self.written[key]

    def _create_data(self, x):
        self.StartVector(1, x.size, _DATA_ALIGNMENT)
        self.head -= x.size
        self.Bytes[self.head : self.head + x.size] = x.tobytes()
        return self.EndVector()
