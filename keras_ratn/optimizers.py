"""Muon for convolutional networks."""

import collections
import re

import keras
from keras import ops

# Coefficients of x, x^3 and x^5 in a step of the iteration, by Keller Jordan:
# five steps take singular values from 0.01 to 1 to about 0.7 to 1.2.
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
STEPS = 5

# Layers whose kernels are not hidden: this package's classifiers.
NOT_HIDDEN = ("predictions",)


def orthogonalize(matrices, steps=STEPS):
    """Makes all singular values of matrices about equal to 1.

    What comes out has the singular vectors of what goes in, and singular
    values between about 0.7 and 1.2 wherever they were more than a hundredth
    of the matrix's norm. That is exact enough for a direction to go in, and
    needs nothing but matrix products (a Newton-Schulz iteration of fifth
    order).

    Args:
        matrices: Tensor `(..., rows, columns)`.
        steps: Integer. Iterations. Defaults to `5`.

    Returns:
        Tensor of the same shape.
    """
    wide = matrices.shape[-2] <= matrices.shape[-1]
    x = matrices if wide else ops.swapaxes(matrices, -1, -2)
    norm = ops.sqrt(ops.sum(ops.square(x), axis=(-2, -1), keepdims=True))
    x = x / (norm + 1e-7)
    a, b, c = COEFFICIENTS
    for _ in range(steps):
        gram = ops.matmul(x, ops.swapaxes(x, -1, -2))  # the smaller side's
        x = a * x + ops.matmul(b * gram + c * ops.matmul(gram, gram), x)
    return x if wide else ops.swapaxes(x, -1, -2)


@keras.saving.register_keras_serializable(package="keras_ratn")
class Muon(keras.optimizers.Optimizer):
    """Gives the updates of kernels equal singular values; Adam for the rest.

    The momentum of a kernel is a matrix whose few largest singular values
    outweigh all others. Muon goes equally far in all of its directions. A
    convolution's kernel is the matrix `(height * width * in, out)` here, where
    `keras.optimizers.Muon` leaves it to Adam. Its update is scaled by `0.2 *
    sqrt(larger side)`, which makes it about as long as one of Adam's, so that
    one learning rate serves both. Biases, scales, depthwise kernels and layers
    named by `exclude_layers` are Adam's.

    Kernels of equal shape are worked on by one product of stacks of matrices,
    except under a `tf.distribute` strategy of several replicas.

    Reference:
    - [Muon: An optimizer for hidden layers in neural networks (Jordan et al.,
        2024)](https://kellerjordan.github.io/posts/muon/)
    - [Muon is Scalable for LLM Training (Liu et al., 2025)](
        https://arxiv.org/abs/2502.16982)

    Args:
        learning_rate: Float or schedule. Defaults to `0.005`.
        momentum: Float. Of the kernels. Defaults to `0.95`.
        nesterov: Boolean. Whether that momentum looks ahead. Defaults to
            `True`.
        beta_1: Float. Adam's decay of the mean. Defaults to `0.9`.
        beta_2: Float. Adam's decay of the squares. Defaults to `0.999`.
        epsilon: Float. Adam's. Defaults to `1e-7`.
        weight_decay: Float or `None`. A weight loses this share of itself
            times the learning rate in each step. Defaults to `0.1`.
        exclude_layers: Tuple of regular expressions. Kernels whose path
            contains one are Adam's. Defaults to `("predictions",)`, the
            classifier of this package's networks.
        **kwargs: Arguments of `keras.optimizers.Optimizer`.

    Example:

    >>> model = keras.Sequential(
    ...     [keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3)])
    >>> model.compile(keras_ratn.optimizers.Muon(0.005), "mse")
    """

    def __init__(
        self,
        learning_rate=0.005,
        momentum=0.95,
        nesterov=True,
        beta_1=0.9,
        beta_2=0.999,
        epsilon=1e-7,
        weight_decay=0.1,
        exclude_layers=NOT_HIDDEN,
        **kwargs,
    ):
        super().__init__(learning_rate, weight_decay=weight_decay, **kwargs)
        self.momentum = momentum
        self.nesterov = nesterov
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.exclude_layers = tuple(exclude_layers)
        self._directions = {}

    def build(self, variables):
        if self.built:
            return
        super().build(variables)
        self._momentums = self.add_optimizer_variables(variables, "momentum")
        self._velocities = [
            None
            if is_matrix(variable, self.exclude_layers)
            else self.add_variable_from_reference(variable, "velocity")
            for variable in variables
        ]

    def update_step(self, gradient, variable, learning_rate):
        index = self._get_variable_index(variable)
        rate = ops.cast(learning_rate, variable.dtype)
        gradient = ops.cast(gradient, variable.dtype)
        if self._velocities[index] is None:
            self._kernel_step(gradient, variable, rate, index)
        else:
            self._adam_step(gradient, variable, rate, index)

    def _kernel_step(self, gradient, variable, rate, index):
        direction = self._directions.get(index)
        if direction is None:
            matrix = _as_matrix(self._ahead(gradient, index))
            direction = orthogonalize(matrix)
            direction = ops.reshape(direction, tuple(variable.shape))
        momentum = self._momentums[index]
        self.assign(momentum, momentum * self.momentum + gradient)
        scale = 0.2 * max(_matrix_shape(variable.shape)) ** 0.5
        self.assign_sub(variable, direction * (rate * scale))

    def _ahead(self, gradient, index):
        """The momentum after this step, or the one after the next."""
        momentum = self._momentums[index] * self.momentum + gradient
        if self.nesterov:
            momentum = momentum * self.momentum + gradient
        return momentum

    def _adam_step(self, gradient, variable, rate, index):
        mean, square = self._momentums[index], self._velocities[index]
        step = ops.cast(self.iterations + 1, variable.dtype)
        rate = rate * ops.sqrt(1.0 - ops.power(self.beta_2, step))
        rate = rate / (1.0 - ops.power(self.beta_1, step))
        self.assign_add(mean, (gradient - mean) * (1.0 - self.beta_1))
        self.assign_add(
            square, (ops.square(gradient) - square) * (1.0 - self.beta_2)
        )
        self.assign_sub(
            variable, mean * rate / (ops.sqrt(square) + self.epsilon)
        )

    def _backend_update_step(self, grads, trainable_variables, learning_rate):
        """Directions of all kernels first, those of equal shape together.

        The method is Keras's own business: were it gone, `update_step` would
        find no direction and compute each by itself.
        """
        if not self._has_replicas():
            self._directions = self._common_directions(
                grads, trainable_variables
            )
        try:
            super()._backend_update_step(
                grads, trainable_variables, learning_rate
            )
        finally:
            self._directions = {}

    def _has_replicas(self):
        """Whether gradients are still to be summed over several devices."""
        if keras.backend.backend() != "tensorflow":
            return False
        return self._distribution_strategy.num_replicas_in_sync > 1

    def _common_directions(self, grads, variables):
        """Index of each kernel -> its orthogonal direction."""
        groups = collections.defaultdict(list)
        for gradient, variable in zip(grads, variables):
            index = self._get_variable_index(variable)
            if self._velocities[index] is None:
                gradient = ops.cast(gradient, variable.dtype)
                rows, columns = _matrix_shape(variable.shape)
                matrix = _as_matrix(self._ahead(gradient, index))
                if rows > columns:
                    matrix = ops.transpose(matrix)
                groups[tuple(sorted((rows, columns)))].append(
                    (index, variable, matrix, rows > columns)
                )
        directions = {}
        for members in groups.values():
            stack = orthogonalize(ops.stack([m for _, _, m, _ in members]))
            for number, (index, variable, _, transposed) in enumerate(members):
                matrix = stack[number]
                if transposed:
                    matrix = ops.transpose(matrix)
                directions[index] = ops.reshape(matrix, tuple(variable.shape))
        return directions

    def get_config(self):
        return {
            **super().get_config(),
            "momentum": self.momentum,
            "nesterov": self.nesterov,
            "beta_1": self.beta_1,
            "beta_2": self.beta_2,
            "epsilon": self.epsilon,
            "exclude_layers": list(self.exclude_layers),
        }


def is_matrix(variable, exclude_layers=NOT_HIDDEN):
    """Whether Muon takes this weight: a kernel that mixes channels.

    Args:
        variable: `keras.Variable`.
        exclude_layers: Tuple of regular expressions. Paths that contain one
            are left to Adam. Defaults to `("predictions",)`.

    Returns:
        Boolean.
    """
    if len(variable.shape) not in (2, 4) or "kernel" not in variable.name:
        return False
    if min(_matrix_shape(variable.shape)) == 1:  # depthwise: vectors
        return False
    return not any(re.search(e, variable.path) for e in exclude_layers)


def _matrix_shape(shape):
    rows = 1
    for size in shape[:-1]:
        rows *= size
    return rows, shape[-1]


def _as_matrix(tensor):
    return ops.reshape(tensor, (-1, tensor.shape[-1]))
