"""Random functional models of Keras's layers, as a list of steps.

A step is a kind and a seed of its choices, among what fits the shapes at hand
when the model is built. So the same steps can be built again under another
policy or layout, and hypothesis can leave steps out.
"""

import dataclasses
import math
import random

import hypothesis.strategies as st
import keras
import numpy as np
from keras import layers
from keras import ops

import keras_ratn

POLICIES = ("float32", "mixed_float16", "mixed_bfloat16")
LAYOUTS = ("channels_last", "channels_first")
LARGEST = 6000  # numbers in one tensor of an image


@dataclasses.dataclass(frozen=True)
class Step:
    """What is done to which of the tensors at hand."""

    kind: str
    source: int
    seed: int


@dataclasses.dataclass(frozen=True)
class Graph:
    """A model to be, with the settings of Keras around it."""

    shape: tuple
    layout: str
    steps: tuple
    seed: int
    policy: str = "float32"
    scale: float = 1.0


class _Builder:
    """Turns steps into tensors; a step that does not fit does nothing."""

    def __init__(self, graph, rng):
        self.first = graph.layout == "channels_first"
        self.layout = {"data_format": graph.layout}
        self.axis = 1 if self.first else -1
        self.rng = rng
        height, width, channels = graph.shape
        shape = (height, width, channels)
        if self.first:
            shape = (channels, height, width)
        self.inputs = keras.Input(shape, name="images")
        self.tensors = [self.inputs]
        self.number = 0
        self.random = random.Random()

    def run(self, steps):
        for step in steps:
            x = self.tensors[-1 - step.source % min(3, len(self.tensors))]
            self.random = random.Random(step.seed)
            self.number += 1
            self.name = f"layer{self.number}_{step.kind}"
            outputs = KINDS[step.kind](self, x)
            if outputs is not None and _size(outputs) <= LARGEST:
                self.tensors.append(outputs)
        return keras.Model(self.inputs, self.tensors[-1], name="fuzzed")

    def pick(self, *options):
        """One of the options."""
        return self.random.choice(options)

    def channels(self, x):
        return x.shape[self.axis]

    def sizes(self, x):
        """Height and width of a map."""
        return tuple(x.shape[2:] if self.first else x.shape[1:3])

    def activation(self):
        return self.pick(
            None, "relu", "sigmoid", "tanh", "relu6", "silu", "gelu",
            "hard_sigmoid", "hard_silu", "elu", "softplus", "leaky_relu",
        )  # fmt: skip

    def window(self, x):
        """Kernel size, strides and padding that fit a map."""
        padding = self.pick("same", "valid")
        kernel = (self.pick(1, 3, 2, 5), self.pick(1, 3, 2, 5))
        if self.pick(0, 0, 1) == 0:
            kernel = (kernel[0], kernel[0])
        if padding == "valid":
            kernel = tuple(map(min, kernel, self.sizes(x)))
        return kernel, self.pick(1, 1, 2, 3), padding

    def partner(self, x):
        """Another tensor of the same shape, if there is one."""
        found = [t for t in self.tensors if tuple(t.shape) == tuple(x.shape)]
        return self.pick(*found)


def _size(x):
    return math.prod(x.shape[1:])


def _is_map(x):
    return len(x.shape) == 4


# === Convolutions and what multiplies ===


def _conv(b, x):
    if not _is_map(x):
        return None
    kernel, strides, padding = b.window(x)
    groups = math.gcd(b.channels(x), b.pick(1, 1, 1, 2, 3))
    dilation = b.pick(1, 1, 2) if strides == 1 and padding == "same" else 1
    return layers.Conv2D(
        groups * b.pick(2, 1, 3, 4),
        kernel,
        strides,
        padding,
        dilation_rate=dilation,
        groups=groups,
        use_bias=b.pick(True, False),
        activation=b.activation(),
        name=b.name,
        **b.layout,
    )(x)


def _depthwise(b, x):
    if not _is_map(x):
        return None
    kernel, strides, padding = b.window(x)
    return layers.DepthwiseConv2D(
        kernel,
        strides,
        padding,
        depth_multiplier=b.pick(1, 1, 2),
        use_bias=b.pick(True, False),
        activation=b.activation(),
        name=b.name,
        **b.layout,
    )(x)


def _separable(b, x):
    if not _is_map(x):
        return None
    kernel, strides, padding = b.window(x)
    return layers.SeparableConv2D(
        b.pick(2, 3, 4),
        kernel,
        strides,
        padding,
        activation=b.activation(),
        name=b.name,
        **b.layout,
    )(x)


def _transposed(b, x):
    if not _is_map(x):
        return None
    return layers.Conv2DTranspose(
        b.pick(2, 3),
        b.pick(2, 3, 4),
        b.pick(2, 1),
        b.pick("same", "valid"),
        activation=b.activation(),
        name=b.name,
        **b.layout,
    )(x)


def _dense(b, x):
    return layers.Dense(
        b.pick(3, 1, 5),
        b.activation(),
        b.pick(True, False),
        name=b.name,
    )(x)


def _adapted_dense(b, x):
    layer = layers.Dense(b.pick(3, 4), name=b.name)
    outputs = layer(x)
    layer.enable_lora(b.pick(1, 2))
    for variable in (layer.lora_kernel_a, layer.lora_kernel_b):
        variable.assign(b.rng.normal(0, 0.5, variable.shape))
    return outputs


# === Normalizations ===


def _batch_normalization(b, x):
    axis = b.axis if b.pick(0, 0, 0, 1) == 0 else b.pick(1, -1)
    return layers.BatchNormalization(
        axis,
        epsilon=b.pick(1e-3, 1e-5, 0.1),
        center=b.pick(True, True, False),
        scale=b.pick(True, True, False),
        name=b.name,
    )(x)


def _layer_normalization(b, x):
    return layers.LayerNormalization(
        b.pick(-1, b.axis, [1, -1]),
        epsilon=0.05,
        name=b.name,
    )(x)


def _group_normalization(b, x):
    axis = b.axis if _is_map(x) else -1
    groups = b.pick(1, -1, math.gcd(x.shape[axis], 2))
    if _size(x) // x.shape[axis] == 1 and groups == -1:
        return None  # of one number each
    return layers.GroupNormalization(
        groups, axis=axis, epsilon=0.05, name=b.name
    )(x)


def _unit_normalization(b, x):
    return layers.UnitNormalization(b.pick(-1, 1, b.axis), name=b.name)(
        ops.add(x, 0.1) if b.pick(0, 1) else x
    )


def _rescaling(b, x):
    channels = x.shape[-1]
    scale = b.pick(1 / 255, 2.0, -0.5, b.rng.uniform(0.5, 2, channels).tolist())
    offset = b.pick(0.0, -1.0, b.rng.normal(size=channels).tolist())
    return layers.Rescaling(scale, offset, name=b.name)(x)


def _normalization(b, x):
    axis = b.pick(
        b.axis, -1, None, (1, 2), (1, -1), tuple(range(1, len(x.shape)))
    )
    if axis == (1, 2) and len(x.shape) < 3:
        axis = 1
    if axis == (1, -1) and len(x.shape) < 3:
        axis = -1
    invert = b.pick(False, False, True)
    if b.pick(0, 1) == 0:
        layer = layers.Normalization(axis, invert=invert, name=b.name)
        layer.adapt(b.rng.normal(1, 2, (6, *x.shape[1:])).astype("float32"))
        return layer(x)
    if axis is None:
        return layers.Normalization(
            None, mean=0.5, variance=2.0, invert=invert, name=b.name
        )(x)
    axes = axis if isinstance(axis, tuple) else (axis,)
    size = [x.shape[a] for a in sorted(a % len(x.shape) for a in axes)]
    return layers.Normalization(
        axis,
        mean=b.rng.normal(size=size),
        variance=b.rng.uniform(0.5, 2, size),
        invert=invert,
        name=b.name,
    )(x)


# === Activations ===


def _activation(b, x):
    name = b.activation() or b.pick(
        "softmax",
        "exponential",
        "softsign",
        "mish",
        "log_sigmoid",
        "selu",
        "linear",
        "relu",
    )
    if name == "exponential":
        x = layers.Activation("tanh", name=f"{b.name}_before")(x)
    return layers.Activation(name, name=b.name)(x)


def _relu(b, x):
    return layers.ReLU(
        max_value=b.pick(None, 6.0, 1.5),
        negative_slope=b.pick(0.0, 0.0, 0.2),
        threshold=b.pick(0.0, 0.0, 0.4),
        name=b.name,
    )(x)


def _other_relu(b, x):
    kind = b.pick(0, 1, 2)
    if kind == 0:
        return layers.LeakyReLU(b.pick(0.3, 0.01), name=b.name)(x)
    if kind == 1:
        shared = b.pick(None, [1, 2]) if _is_map(x) else None
        return layers.PReLU(
            alpha_initializer="uniform", shared_axes=shared, name=b.name
        )(x)
    return layers.ELU(b.pick(1.0, 0.5), name=b.name)(x)


def _softmax(b, x):
    return layers.Softmax(b.pick(-1, 1, b.axis), name=b.name)(x)


# === Pooling, size and shape ===


def _pooling(b, x):
    if not _is_map(x):
        return None
    kind = b.pick(layers.MaxPooling2D, layers.AveragePooling2D)
    kernel, strides, padding = b.window(x)
    strides = b.pick(None, strides)
    if strides is None and padding == "valid":
        strides = kernel
    return kind(kernel, strides, padding, name=b.name, **b.layout)(x)


def _global_pooling(b, x):
    keepdims = b.pick(False, True)
    if len(x.shape) == 3:
        kind = b.pick(layers.GlobalAveragePooling1D, layers.GlobalMaxPooling1D)
        return kind(name=b.name, data_format="channels_last")(x)
    if not _is_map(x):
        return None
    kind = b.pick(layers.GlobalAveragePooling2D, layers.GlobalMaxPooling2D)
    return kind(keepdims=keepdims, name=b.name, **b.layout)(x)


def _upsampling(b, x):
    if not _is_map(x):
        return None
    return layers.UpSampling2D(
        b.pick(2, (1, 2), (3, 2)),
        interpolation=b.pick("nearest", "bilinear"),
        name=b.name,
        **b.layout,
    )(x)


def _zero_padding(b, x):
    if not _is_map(x):
        return None
    return layers.ZeroPadding2D(
        b.pick(1, (1, 2), ((0, 1), (2, 0))), name=b.name, **b.layout
    )(x)


def _cropping(b, x):
    if not _is_map(x) or min(b.sizes(x)) < 3:
        return None
    return layers.Cropping2D(
        b.pick(1, ((0, 1), (1, 0)), (1, 0)), name=b.name, **b.layout
    )(x)


def _flatten(b, x):
    return layers.Flatten(name=b.name, **b.pick(b.layout, {}))(x)


def _reshape(b, x):
    shape, size = x.shape[1:], _size(x)
    targets = [(size,), (-1, shape[-1]), (shape[0], -1)]
    if _is_map(x):
        targets += [(shape[0] * shape[1], shape[2]), (1, *shape[:1], -1)]
        targets += [(shape[1], shape[0], shape[2])]
    if size % 4 == 0:
        targets += [(2, 2, size // 4)]
    if size % 2 == 0:
        targets += [(1, 2, size // 2)]
    return layers.Reshape(b.pick(*targets), name=b.name)(x)


def _permute(b, x):
    orders = {
        2: [(1,)],
        3: [(2, 1), (1, 2)],
        4: [(2, 1, 3), (3, 1, 2), (2, 3, 1), (1, 3, 2), (3, 2, 1)],
    }
    if len(x.shape) not in orders:
        return None
    return layers.Permute(b.pick(*orders[len(x.shape)]), name=b.name)(x)


def _nothing(b, x):
    kinds = [
        lambda name: layers.Dropout(0.5, name=name),
        lambda name: layers.GaussianNoise(1.0, name=name),
        lambda name: layers.GaussianDropout(0.3, name=name),
        lambda name: layers.ActivityRegularization(0.1, name=name),
        lambda name: layers.Identity(name=name),
        lambda name: layers.AlphaDropout(0.3, name=name),
    ]
    if _is_map(x):
        kinds += [lambda name: layers.SpatialDropout2D(0.5, name=name)]
        kinds += [
            lambda name: layers.RandomFlip(name=name, **b.layout),
            lambda name: layers.RandomRotation(0.1, name=name, **b.layout),
            lambda name: layers.RandomTranslation(
                0.1, 0.1, name=name, **b.layout
            ),
            lambda name: layers.RandomZoom(0.1, name=name, **b.layout),
            lambda name: layers.RandomContrast(0.1, name=name),
            lambda name: layers.RandomBrightness(0.1, name=name),
        ]
    return b.pick(*kinds)(b.name)(x)


# === Several tensors ===


def _merge(b, x):
    other = b.partner(x)
    kinds = (
        layers.Add, layers.Multiply, layers.Subtract, layers.Average,
        layers.Maximum, layers.Minimum,
    )  # fmt: skip
    kind = b.pick(*kinds)
    tensors = [x, other]
    if b.pick(0, 0, 1) and kind is not layers.Subtract:
        tensors.append(b.partner(x))
    return kind(name=b.name)(tensors)


def _concatenate(b, x):
    axis = b.pick(b.axis, b.axis, -1, 1)
    return layers.Concatenate(axis, name=b.name)([x, b.partner(x)])


def _gate(b, x):
    """A squeeze-and-excite of layers, multiplied by broadcasting."""
    if not _is_map(x):
        return None
    channels = b.channels(x)
    y = layers.GlobalAveragePooling2D(
        keepdims=True, name=f"{b.name}_squeeze", **b.layout
    )(x)
    y = layers.Conv2D(
        channels, 1, activation=b.pick("sigmoid", "hard_sigmoid"),
        name=f"{b.name}_excite", **b.layout,
    )(y)  # fmt: skip
    return b.pick(layers.Multiply, layers.Add)(name=b.name)(
        b.pick([x, y], [y, x])
    )


def _operation(b, x):
    """Operations that are no layers."""
    other = b.partner(x)
    last = len(x.shape) - 1
    functions = (
        lambda: ops.relu(x),
        lambda: ops.sigmoid(x),
        lambda: x + 1.5,
        lambda: 2.0 - x,
        lambda: x * 0.5,
        lambda: x + other,
        lambda: x * other,
        lambda: x - other,
        lambda: x / 4.0,
        lambda: -x,
        lambda: ops.mean(x, axis=-1, keepdims=True),
        lambda: ops.mean(x, axis=(1, last), keepdims=True),
        lambda: (
            ops.mean(x, axis=tuple(range(1, last)), keepdims=True)
            if last > 1
            else x
        ),
        lambda: ops.max(x, axis=1, keepdims=True),
        lambda: ops.concatenate([x, other], axis=-1),
        lambda: ops.concatenate([x, other], axis=1),
        lambda: ops.softmax(x, axis=-1),
        lambda: ops.softmax(x, axis=1),
        lambda: ops.tanh(x),
        lambda: ops.square(x),
        lambda: ops.maximum(x, 0.2),
        lambda: ops.clip(x, -1.0, 1.0),
        lambda: ops.leaky_relu(x),
        lambda: x[:, :1],
        lambda: x[..., :1],
        lambda: ops.transpose(x, (0, *range(last, 0, -1))),
        lambda: ops.expand_dims(x, 1) if last < 3 else x,
        lambda: ops.squeeze(x, 1) if x.shape[1] == 1 and last > 1 else x,
        lambda: ops.reshape(x, (-1, _size(x))),
        lambda: ops.pad(x, [(0, 0), (1, 0)] + [(0, 0)] * (last - 1)),
        lambda: ops.cast(x, "float32"),
        lambda: (
            ops.average_pool(x, 2, 1, "same", b.layout["data_format"])
            if _is_map(x)
            else x
        ),
        lambda: ops.flip(x, 1),
    )
    return b.pick(*functions)()


def _units(b, x):
    """Pre-activation units, whose normalizations integers merge."""
    if not _is_map(x) or min(b.sizes(x)) < 2:
        return None
    width = b.pick(4, 2)
    x = layers.Conv2D(width, 1, name=f"{b.name}_stem", **b.layout)(x)
    for unit in range(b.pick(1, 2)):
        name = f"{b.name}_unit{unit}"
        y = layers.BatchNormalization(b.axis, name=f"{name}_bn")(x)
        y = layers.ReLU(name=f"{name}_relu")(y)
        y = layers.Conv2D(
            width, b.pick(3, 1), padding="same", use_bias=b.pick(False, True),
            name=f"{name}_conv", **b.layout,
        )(y)  # fmt: skip
        if b.pick(0, 1):
            y = layers.BatchNormalization(b.axis, name=f"{name}_bn2")(y)
        x = layers.Add(name=f"{name}_add")(b.pick([x, y], [y, x]))
        if b.pick(0, 0, 1):
            x = layers.MaxPooling2D(
                2, 1, "same", name=f"{name}_pool", **b.layout
            )(x)
    x = layers.BatchNormalization(b.axis, name=f"{b.name}_bn")(x)
    return layers.ReLU(name=f"{b.name}_relu")(x)


def _residual_attention(b, x):
    """M T + T by operations or layers."""
    if not _is_map(x):
        return None
    channels = b.channels(x)
    mask = layers.Conv2D(
        channels, 1, activation="sigmoid", name=f"{b.name}_mask", **b.layout
    )(x)
    if b.pick(0, 1):
        product = layers.Multiply(name=f"{b.name}_product")(
            b.pick([x, mask], [mask, x])
        )
        return layers.Add(name=b.name)(b.pick([x, product], [product, x]))
    return b.pick(
        lambda: mask * x + x, lambda: x + x * mask, lambda: (1.0 + mask) * x
    )()


def _nested(b, x):
    """A model, called like a layer, once or twice."""
    kind = b.pick("functional", "sequential")
    inner = keras.Input(x.shape[1:], name=f"{b.name}_inner")
    same = x.shape[-1]
    chain = [
        layers.Dense(same, name=f"{b.name}_dense"),
        layers.BatchNormalization(-1, name=f"{b.name}_bn"),
        layers.Activation(b.pick("relu", "tanh"), name=f"{b.name}_act"),
    ]
    if kind == "sequential":
        model = keras.Sequential([inner, *chain], name=b.name)
    else:
        y = inner
        for layer in chain:
            y = layer(y)
        if b.pick(0, 1):
            y = layers.Add(name=f"{b.name}_add")([inner, y])
        model = keras.Model(inner, y, name=b.name)
    y = model(x)
    return model(y) if b.pick(0, 0, 1) else y


def _shared(b, x):
    """One layer called twice."""
    layer = b.pick(
        lambda: layers.Dense(x.shape[-1], "tanh", name=b.name),
        lambda: layers.BatchNormalization(-1, name=b.name),
        lambda: layers.Dense(x.shape[-1], use_bias=False, name=b.name),
    )()
    y = layer(x)
    z = layer(b.pick(x, y))
    if b.pick(0, 1):
        z = layers.BatchNormalization(-1, name=f"{b.name}_bn")(z)
    return layers.Add(name=f"{b.name}_add")([y, z])


def _attention(b, x):
    """Attention over tokens."""
    if len(x.shape) != 3:
        return None
    if b.pick(0, 1):
        return layers.Attention(name=b.name)([x, b.partner(x)])
    layer = layers.MultiHeadAttention(b.pick(1, 2), 2, name=b.name)
    return layer(x, b.partner(x))


def _ours(b, x):
    """Layers of this package."""
    if not _is_map(x) or min(b.sizes(x)) < 2:
        return None
    known = (
        "bam",
        "cbam",
        "eca",
        "se",
        "highway",
        "external",
        "position",
        "channel_affinity",
        "sc",
        "emsa",
        "pixel",
        "se_var2",
    )
    name = b.pick("module", "module", "upsample", *known)
    if name == "module":
        if min(b.sizes(x)) < 4:
            return None
        return keras_ratn.layers.AttentionModule(
            4,
            mask_depth=1,
            mask_activation=b.pick("mixed", "channel", "spatial"),
            interpolation=b.pick(
                "bilinear", "bilinear_align_corners", "transpose"
            ),
            num_trunk_units=1,
            name=b.name,
            **b.layout,
        )(x)
    if name == "upsample":
        return keras_ratn.layers.BilinearUpsampling2D(
            2, name=b.name, **b.layout
        )(x)
    options = {}
    channels = b.channels(x)
    if name in ("bam", "cbam", "se", "se_var2"):
        options["reduction_ratio"] = 1
    if name == "external":
        options["memory_size"] = 3
    if name in ("sc", "emsa") and channels % 2:
        return None
    return keras_ratn.layers.get(name, name=b.name, **options, **b.layout)(x)


KINDS = {
    "skip": lambda *_: None,  # what hypothesis makes of steps that do not count
    "conv": _conv,
    "depthwise": _depthwise,
    "separable": _separable,
    "transposed": _transposed,
    "dense": _dense,
    "adapted_dense": _adapted_dense,
    "batch_normalization": _batch_normalization,
    "layer_normalization": _layer_normalization,
    "group_normalization": _group_normalization,
    "unit_normalization": _unit_normalization,
    "rescaling": _rescaling,
    "normalization": _normalization,
    "activation": _activation,
    "relu": _relu,
    "other_relu": _other_relu,
    "softmax": _softmax,
    "pooling": _pooling,
    "global_pooling": _global_pooling,
    "upsampling": _upsampling,
    "zero_padding": _zero_padding,
    "cropping": _cropping,
    "flatten": _flatten,
    "reshape": _reshape,
    "permute": _permute,
    "nothing": _nothing,
    "merge": _merge,
    "concatenate": _concatenate,
    "gate": _gate,
    "operation": _operation,
    "units": _units,
    "residual_attention": _residual_attention,
    "nested": _nested,
    "shared": _shared,
    "attention": _attention,
    "ours": _ours,
}


def build(graph):
    """The model of a graph, with random weights, under today's policy."""
    rng = np.random.default_rng(graph.seed)
    model = _Builder(graph, rng).run(graph.steps)
    _randomize(model, rng)
    return model


def _randomize(model, rng):
    """Weights as of a trained model, some scales negative."""
    for variable in model.variables:
        draw = rng.standard_normal(variable.shape)
        name = variable.path.rsplit("/", 1)[-1]
        if name == "gamma":
            variable.assign(
                rng.choice([1, 1, 1, -1], variable.shape) + 0.2 * draw
            )
        elif name in ("bias", "beta", "moving_mean"):
            variable.assign(0.3 * draw)
        elif name == "moving_variance":
            variable.assign(np.exp(0.3 * draw))


def images(graph):
    """What the model is given."""
    rng = np.random.default_rng(graph.seed + 1)
    pixels = graph.scale * rng.standard_normal((2, *graph.shape))
    return pixels.astype("float32")


STEPS = st.builds(
    Step,
    st.sampled_from(tuple(KINDS)),
    st.sampled_from((0, 0, 0, 1, 2)),
    st.integers(0, 2**32),
)
GRAPHS = st.builds(
    Graph,
    shape=st.tuples(st.integers(3, 9), st.integers(3, 9), st.integers(1, 5)),
    layout=st.sampled_from(LAYOUTS),
    steps=st.lists(STEPS, min_size=5, max_size=9).map(tuple),
    seed=st.integers(0, 9999),
    policy=st.sampled_from(POLICIES),
    scale=st.sampled_from((1.0, 1.0, 30.0)),
)
