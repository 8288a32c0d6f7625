"""The highway gate: the ancestor of gated shortcuts."""

import keras

from keras_ratn.layers import _attention_layer
from keras_ratn.layers import _common


@keras.saving.register_keras_serializable(package="keras_ratn")
class HighwayGate(_attention_layer.Gate):
    """Lets a learned gate choose between the input and a transform of it.

    The output is `H(x) * T(x) + x * (1 - T(x))`, with a convolution and
    activation *H* and a convolution and sigmoid *T*, the transform gate. The
    gate's bias starts negative, so that a deep stack of such layers starts as
    the identity.

    Reference:
    - [Highway Networks (Srivastava et al., 2015)](
        https://arxiv.org/abs/1505.00387)

    Args:
        kernel_size: Integer. Size of both convolutions. Defaults to `3`.
        activation: String or callable: activation of *H*. Defaults to
            `"relu"`.
        gate_bias: Float. What the gate's biases start at. Defaults to `-2.0`,
            as in the authors' CIFAR networks.
        data_format: String, `"channels_last"` or `"channels_first"`. Defaults
            to Keras's global setting.
        **kwargs: Base layer arguments (`name`, `dtype`, ...).

    Call arguments:
        inputs: 4D tensor.
        return_attention_mask: Boolean. Whether to return a pair `(outputs,
            mask)`, the mask being *T*. Defaults to `False`.

    Input shape:
        `(batch_size, height, width, channels)` for `"channels_last"`.

    Output shape:
        The same as the input's, and so is the mask's.

    Example:

    >>> x = keras.random.normal((1, 8, 8, 16))
    >>> tuple(keras_ratn.layers.HighwayGate()(x).shape)
    (1, 8, 8, 16)
    """

    def __init__(
        self,
        kernel_size=3,
        activation="relu",
        gate_bias=-2.0,
        data_format=None,
        **kwargs,
    ):
        super().__init__(data_format, **kwargs)
        self.kernel_size = _common.positive_integer("kernel_size", kernel_size)
        self.activation = keras.activations.get(activation)
        self.gate_bias = float(gate_bias)

    def build(self, input_shape):
        channels = self._channels(input_shape)
        common = {"use_bias": True, "kernel_initializer": "glorot_uniform"}
        self.transform = self._convolution(
            channels,
            self.kernel_size,
            "transform",
            activation=self.activation,
            **common,
        )
        self.gate = self._convolution(
            channels,
            self.kernel_size,
            "gate",
            activation="sigmoid",
            bias_initializer=keras.initializers.Constant(self.gate_bias),
            **common,
        )
        self.transform.build(input_shape)
        self.gate.build(input_shape)

    def call(self, inputs, training=None, return_attention_mask=False):
        mask = self.gate(inputs)
        outputs = self.transform(inputs) * mask + inputs * (1 - mask)
        return (outputs, mask) if return_attention_mask else outputs

    def _mask_shape(self, input_shape):
        return tuple(input_shape)

    def get_config(self):
        return {
            **super().get_config(),
            "kernel_size": self.kernel_size,
            "activation": keras.activations.serialize(self.activation),
            "gate_bias": self.gate_bias,
        }
