import keras
import numpy as np
import pytest

from keras_ratn.optimizers import COEFFICIENTS
from keras_ratn.optimizers import is_matrix
from keras_ratn.optimizers import Muon
from keras_ratn.optimizers import orthogonalize

numpy = keras.ops.convert_to_numpy
RANDOM = np.random.default_rng(0)


def random(*shape):
    return RANDOM.standard_normal(shape).astype("float32")


@pytest.mark.parametrize("shape", [(16, 144), (144, 16), (64, 64), (3, 40, 8)])
def test_orthogonal_matrices_have_the_singular_vectors_of_what_went_in(shape):
    matrices = random(*shape)
    found = numpy(orthogonalize(keras.ops.convert_to_tensor(matrices)))
    u, s, vt = np.linalg.svd(matrices, full_matrices=False)
    core = np.swapaxes(u, -1, -2) @ found @ np.swapaxes(vt, -1, -2)
    values = np.diagonal(core, axis1=-2, axis2=-1)
    large = s > 0.02 * np.linalg.norm(matrices, axis=(-2, -1))[..., None]
    assert large.mean() > 0.8
    assert 0.65 < values[large].min() and values[large].max() < 1.25
    # Nothing but those vectors, and none of them turned into another.
    np.testing.assert_allclose(
        u @ (values[..., None] * vt), found, atol=1e-4 * np.abs(found).max()
    )


def test_no_gradient_is_no_direction():
    found = numpy(orthogonalize(keras.ops.zeros((4, 6))))
    np.testing.assert_array_equal(found, 0)


def svd_direction(gradient):
    """What the iteration makes of each singular value, and the vectors."""
    matrix = gradient.reshape(-1, gradient.shape[-1]).astype("float64")
    u, s, vt = np.linalg.svd(matrix, full_matrices=False)
    s = s / np.linalg.norm(s)
    a, b, c = COEFFICIENTS
    for _ in range(5):
        s = a * s + b * s**3 + c * s**5
    scale = 0.2 * np.sqrt(max(matrix.shape))
    return (scale * (u * s) @ vt).reshape(gradient.shape)


def variables():
    """Two kernels of one shape, one turned round, and what is Adam's."""
    shapes = {
        "first_kernel": (3, 3, 2, 5),
        "second_kernel": (3, 3, 2, 5),
        "turned_kernel": (1, 1, 5, 18),
        "hidden_kernel": (7, 4),
        "depthwise_kernel": (3, 3, 4, 1),
        "gamma": (5,),
        "embeddings": (6, 5),
    }
    made = [
        keras.Variable(random(*shape), name=name)
        for name, shape in shapes.items()
    ]
    with keras.name_scope("predictions"):
        made.append(keras.Variable(random(5, 3), name="kernel"))
    return made


def apply(optimizer, weights, gradients):
    """Steps by these gradients; on JAX as one traced program."""
    if keras.backend.backend() != "jax":
        for gradient in gradients:
            gradient = [keras.ops.convert_to_tensor(g) for g in gradient]
            optimizer.apply(gradient, weights)
        return
    import jax

    optimizer.build(weights)
    step = jax.jit(optimizer.stateless_apply)
    for gradient in gradients:
        state = [v.value for v in optimizer.variables]
        values, state = step(state, gradient, [v.value for v in weights])
        for variable, value in zip(weights, values):
            variable.assign(value)
        for variable, value in zip(optimizer.variables, state):
            variable.assign(value)


@pytest.mark.parametrize("nesterov", [True, False])
def test_steps_are_those_of_the_definition(nesterov):
    """Kernels against singular values, the rest against Keras's Adam."""
    weights = variables()
    expected = [numpy(v).astype("float64") for v in weights]
    gradients = [[random(*v.shape) for v in weights] for _ in range(3)]
    optimizer = Muon(0.01, nesterov=nesterov, weight_decay=0.1)
    optimizer.exclude_from_weight_decay(var_names=["gamma", "embeddings"])
    apply(optimizer, weights, gradients)
    for index in range(4):
        momentum = np.zeros(expected[index].shape)
        for gradient in gradients:
            momentum = 0.95 * momentum + gradient[index]
            ahead = gradient[index] + 0.95 * momentum
            direction = svd_direction(ahead if nesterov else momentum)
            expected[index] *= 1 - 0.01 * 0.1
            expected[index] -= 0.01 * direction
        np.testing.assert_allclose(
            numpy(weights[index]), expected[index], atol=2e-4
        )
    adam = keras.optimizers.AdamW(0.01, weight_decay=0.1)
    adam.exclude_from_weight_decay(var_names=["gamma", "embeddings"])
    rest = [keras.Variable(expected[i], name=weights[i].name) for i in (4, 5)]
    rest += [keras.Variable(expected[6], name="embeddings")]
    rest += [keras.Variable(expected[7], name="kernel")]
    for gradient in gradients:
        adam.apply([keras.ops.convert_to_tensor(g) for g in gradient[4:]], rest)
    for found, wanted in zip(weights[4:], rest):
        np.testing.assert_allclose(numpy(found), numpy(wanted), atol=1e-6)


def test_kernels_together_are_what_each_is_alone(monkeypatch):
    together, alone = variables(), None
    alone = [keras.Variable(numpy(v), name=v.name) for v in together]
    gradients = [[random(*v.shape) for v in together] for _ in range(2)]
    apply(Muon(exclude_layers=()), together, gradients)
    monkeypatch.setattr(Muon, "_has_replicas", lambda self: True)
    apply(Muon(exclude_layers=()), alone, gradients)
    for one, other in zip(together, alone):
        np.testing.assert_allclose(numpy(one), numpy(other), atol=1e-5)


def test_which_weights_are_matrices():
    found = [is_matrix(v) for v in variables()]
    assert found == [True] * 4 + [False] * 4
    assert is_matrix(variables()[-1], ())


def model():
    keras.utils.set_random_seed(1)
    network = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            keras.layers.Conv2D(4, 3, activation="relu"),
            keras.layers.Conv2D(4, 3, activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dense(3, name="predictions"),
        ]
    )
    schedule = keras.optimizers.schedules.CosineDecay(0.02, 100)
    network.compile(Muon(schedule, use_ema=True), "mse", jit_compile="auto")
    return network


def test_a_saved_model_goes_on_as_if_it_had_not_been_saved(tmp_path):
    images, targets = random(8, 8, 8, 3), random(8, 3)
    trained = model()
    first = trained.train_on_batch(images, targets)
    for _ in range(3):
        trained.train_on_batch(images, targets)
    trained.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert type(loaded.optimizer) is Muon
    assert loaded.optimizer.get_config() == trained.optimizer.get_config()
    last = trained.train_on_batch(images, targets)
    assert last < first
    assert loaded.train_on_batch(images, targets) == last
    for one, other in zip(loaded.get_weights(), trained.get_weights()):
        np.testing.assert_array_equal(one, other)


def test_gradients_of_several_batches_are_averaged_first():
    """Against one step by the mean; after the first batch nothing moved."""
    weights = variables()[:1]
    start = numpy(weights[0]).copy()
    other = [keras.Variable(start, name="first_kernel")]
    gradients = [[random(3, 3, 2, 5)] for _ in range(2)]
    optimizer = Muon(gradient_accumulation_steps=2)
    apply(optimizer, weights, gradients[:1])
    np.testing.assert_array_equal(numpy(weights[0]), start)
    apply(optimizer, weights, gradients[1:])
    mean = [(gradients[0][0] + gradients[1][0]) / 2]
    apply(Muon(), other, [mean])
    np.testing.assert_allclose(numpy(weights[0]), numpy(other[0]), atol=1e-5)
