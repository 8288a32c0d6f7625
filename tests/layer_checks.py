"""One harness for every layer: a new layer is tested in ten lines."""

import os
import tempfile

import keras
import numpy as np
from keras import ops

from keras_ratn.layers._composite import layers_inside


def random_images(shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


def channels_last_to_first(shape):
    batch, height, width, channels = shape
    return (batch, channels, height, width)


def check_layer(
    cls,
    kwargs,
    input_shape,
    output_shape,
    num_trainable=None,
    num_non_trainable=None,
    call_kwargs=None,
    dynamic_size=True,
    data_formats=("channels_last", "channels_first"),
    training_step=True,
):
    """Runs the properties that every layer of the package must have.

    `input_shape` and `output_shape` are channels-last, with a batch size. A
    layer without `data_format` (on tokens, say) takes `data_formats=(None,)`.
    """
    for data_format in data_formats:
        arguments = dict(kwargs)
        shapes = input_shape, output_shape
        if data_format is not None:
            arguments["data_format"] = data_format
        if data_format == "channels_first":
            shapes = tuple(map(channels_last_to_first, shapes))
        _check_one_layout(cls, arguments, *shapes, call_kwargs or {})
        if training_step:
            _check_compiled_step(cls, arguments, *shapes)
    layout = data_formats[0]
    arguments = dict(kwargs)
    if layout is not None:
        arguments["data_format"] = layout
    layer = cls(**arguments)
    layer(random_images(input_shape))
    if num_trainable is not None:
        assert layer.count_params() >= num_trainable
        assert _count(layer.trainable_variables) == num_trainable
    if num_non_trainable is not None:
        assert _count(layer.non_trainable_variables) == num_non_trainable
    _check_mixed_precision(cls, arguments, input_shape)
    if dynamic_size:
        _check_dynamic_size(cls, arguments, input_shape)


def _count(variables):
    return sum(int(np.prod(v.shape)) for v in variables)


def _check_one_layout(cls, arguments, input_shape, output_shape, call_kwargs):
    layer = cls(**arguments)
    x = random_images(input_shape)
    symbolic = layer(keras.Input(batch_shape=input_shape), **call_kwargs)
    eager = layer(x, **call_kwargs)
    for spec, value in zip(_leaves(symbolic), _leaves(eager)):
        assert tuple(spec.shape) == tuple(value.shape)
        assert spec.dtype == keras.backend.standardize_dtype(value.dtype)
    assert tuple(_leaves(eager)[0].shape) == tuple(output_shape)
    fresh = cls(**arguments)
    fresh.build(input_shape)
    assert not parts_to_build(fresh)

    # The config says everything, and survives JSON.
    config = layer.get_config()
    twin = cls.from_config(config)
    assert twin.get_config() == config
    revived = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(layer)
    )
    assert revived.get_config() == config

    # A model around it comes back from disk without custom objects.
    inputs = keras.Input(batch_shape=(None, *input_shape[1:]))
    model = keras.Model(inputs, layer(inputs, **call_kwargs))
    expected = model(x, training=False)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "model.keras")
        model.save(path)
        loaded = keras.saving.load_model(path)
    actual = loaded(x, training=False)
    for a, b in zip(_leaves(actual), _leaves(expected)):
        np.testing.assert_allclose(
            ops.convert_to_numpy(a),
            ops.convert_to_numpy(b),
            rtol=1e-5,
            atol=1e-5,
        )


def parts_to_build(layer):
    """Names of the layers inside that `build` forgot.

    `Model.quantize` refuses a model with such.
    """
    return [part.path for part in layers_inside(layer) if not part.built]


def _leaves(outputs):
    return list(outputs) if isinstance(outputs, (tuple, list)) else [outputs]


def _check_mixed_precision(cls, arguments, input_shape):
    layer = cls(**arguments, dtype="mixed_float16")
    output = _leaves(layer(random_images(input_shape)))[0]
    assert keras.backend.standardize_dtype(output.dtype) == "float16"
    assert all(v.dtype == "float32" for v in layer.trainable_variables)
    assert np.all(np.isfinite(ops.convert_to_numpy(output).astype("float32")))


def _check_dynamic_size(cls, arguments, input_shape):
    layer = cls(**arguments)
    channels = input_shape[-1]
    inputs = keras.Input((None, None, channels))
    model = keras.Model(inputs, layer(inputs))
    # Odd, non-square, and different from what the layer saw before.
    x = random_images((2, input_shape[1] + 1, input_shape[2] + 4, channels))
    expected = _leaves(layer(x))[0]
    if keras.backend.backend() == "tensorflow":
        actual = model.predict(x, verbose=0)  # a graph with open sizes
    else:
        actual = model(x, training=False)
    actual = ops.convert_to_numpy(_leaves(actual)[0])
    np.testing.assert_allclose(
        actual, ops.convert_to_numpy(expected), rtol=1e-4, atol=1e-4
    )


def _check_compiled_step(cls, arguments, input_shape, output_shape):
    model = keras.Sequential([keras.Input(input_shape[1:]), cls(**arguments)])
    # JAX only runs compiled. XLA on TensorFlow takes ten times as long and is
    # tested on a whole network; PyTorch's compiler needs more than we install.
    model.compile("sgd", "mse", jit_compile=keras.backend.backend() == "jax")
    loss = model.train_on_batch(
        random_images(input_shape), np.zeros(output_shape, "float32")
    )
    assert np.isfinite(loss)
