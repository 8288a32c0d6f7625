"""Running a `.tflite` file on images."""

import pathlib

import numpy as np


class LiteRTModel:
    """A `.tflite` file with one signature, fed with images.

    Args:
        path: Path of the file.
        num_threads: Integer. Defaults to `1`.
    """

    def __init__(self, path, num_threads=1):
        from ai_edge_litert.interpreter import Interpreter

        if not pathlib.Path(path).is_file():
            raise ValueError(
                f"There must be a .tflite file. Received: {str(path)!r}, "
                "which does not exist."
            )
        self.interpreter = Interpreter(
            model_path=str(path), num_threads=num_threads
        )
        self.interpreter.allocate_tensors()
        self.run = self.interpreter.get_signature_runner()
        self.inputs = self.run.get_input_details()
        self.outputs = self.run.get_output_details()

    @property
    def input_shape(self):
        """Shape of the input, with the batch size."""
        (detail,) = self.inputs.values()
        return tuple(int(size) for size in detail["shape"])

    def quantized(self, images):
        """Images as the file takes them: floats, or integers by its scale."""
        (detail,) = self.inputs.values()
        if detail["dtype"] == np.float32:
            return np.asarray(images, "float32")
        scale, zero_point = detail["quantization"]
        limits = np.iinfo(detail["dtype"])
        values = np.rint(np.asarray(images) / scale) + zero_point
        return values.clip(limits.min, limits.max).astype(detail["dtype"])

    def raw(self, images):
        """Outputs by name for any number of images, in the file's types."""
        (name,) = self.inputs
        size = self.input_shape[0]
        images = self.quantized(images)
        parts = []
        for start in range(0, len(images), size):
            batch = images[start : start + size]
            missing = size - len(batch)
            padded = np.concatenate([batch, np.repeat(batch[:1], missing, 0)])
            outputs = self.run(**{name: padded})
            parts.append({k: v[: len(batch)] for k, v in outputs.items()})
        return {k: np.concatenate([p[k] for p in parts]) for k in self.outputs}

    def predict(self, images):
        """Outputs by name for any number of images, as floats."""
        outputs = self.raw(images)
        for name, value in outputs.items():
            scale, zero_point = self.outputs[name]["quantization"]
            if scale:
                outputs[name] = scale * (value.astype("float32") - zero_point)
        return outputs
