import keras
import numpy as np
import pytest

from export.tflite import write_saved_model

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="written with TensorFlow"
)


@pytest.fixture(scope="module")
def contents(tmp_path_factory):
    """A file with kernels in 8 bits as the converter writes it, and anew."""
    import tensorflow as tf

    from export.compaction import compacted

    folder = tmp_path_factory.mktemp("compaction")
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 16))
    x = keras.layers.Conv2D(64, 3, activation="relu", name="first")(inputs)
    x = keras.layers.Conv2D(64, 3, activation="relu", name="second")(x)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    model = keras.Model(inputs, keras.layers.Dense(64, name="last")(x))
    write_saved_model(model, str(folder), batch_size=1)
    converter = tf.lite.TFLiteConverter.from_saved_model(str(folder))
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    content = converter.convert()
    return content, compacted(content)


def interpreter(content):
    from ai_edge_litert.interpreter import Interpreter

    made = Interpreter(model_content=content)
    made.allocate_tensors()
    return made


def test_the_file_says_the_same_in_fewer_bytes(contents):
    before, after = map(interpreter, contents)
    images = np.random.default_rng(0).normal(size=(1, 8, 8, 16))
    scores = []
    for made in (before, after):
        run = made.get_signature_runner("serving_default")
        scores.append(run(images=images.astype("float32"))["scores"])
    np.testing.assert_array_equal(*scores)
    for old, new in zip(
        before.get_tensor_details(), after.get_tensor_details()
    ):
        for key in ("dtype", "shape"):
            np.testing.assert_array_equal(old[key], new[key])
        for key in ("scales", "zero_points"):
            np.testing.assert_array_equal(
                old["quantization_parameters"][key],
                new["quantization_parameters"][key],
            )
    # Three times 64 zero points of 8 bytes become one list of them.
    assert len(contents[1]) < len(contents[0]) - 2 * 64 * 8


def test_tensors_have_the_names_of_layers(contents):
    before, after = (
        [t["name"] for t in interpreter(content).get_tensor_details()]
        for content in contents
    )
    assert after[0] == before[0] == "serving_default_images:0"
    assert after[-1] == before[-1]  # the output
    assert len(set(after)) == len(after)
    assert not any(name.startswith("functional") for name in after)
    assert any(name.startswith("second") for name in after)


def test_weights_can_be_used_in_place(contents):
    from ai_edge_litert import schema_py_generated as schema

    content = np.frombuffer(contents[1], "uint8")
    model = schema.Model.GetRootAs(contents[1], 0)
    starts = [
        data.ctypes.data - content.ctypes.data
        for data in (
            model.Buffers(i).DataAsNumpy() for i in range(model.BuffersLength())
        )
        if isinstance(data, np.ndarray)
    ]
    assert len(starts) > 3
    assert {start % 16 for start in starts} == {0}
