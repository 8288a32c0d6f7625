"""Export of residual attention networks to phones and servers."""

from .deploy_graph import deploy_graph as deploy_graph
from .onnx_file import to_onnx as to_onnx
from .quantization_aware import quantization_aware as quantization_aware
from .saved_model import to_saved_model as to_saved_model
from .tflite import to_tflite as to_tflite
from .verify import verify as verify
