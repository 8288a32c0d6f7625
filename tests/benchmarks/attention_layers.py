"""Each attention layer's time against the same operation in plain keras.ops.

Run by hand on an idle machine, from the checkout (about two minutes):

    python -m tests.benchmarks.attention_layers

The functions below say what each layer computes, for maps in channels-last
layout and nothing else: no options, no other layout, no map to return. They
use the layer's own weights, and their outputs are compared first. Layer and
function take turns, both compiled as the backend does it; of each, the
fastest of many rounds counts. Status 1 if a layer takes more than 1.2 times
as long as its function.
"""

import argparse
import sys
import time

import keras
import numpy as np
from keras import ops

from keras_ratn import layers

LIMIT = 1.2
BN_EPSILON = 1e-5


def dense(x, layer):
    x = ops.matmul(x, layer.kernel)
    return x + layer.bias if layer.use_bias else x


def conv(x, layer, strides=1):
    padding = "same"
    if strides > 1:
        margin = layer.kernel_size[0] // 2
        x = ops.pad(x, ((0, 0), (margin, margin), (margin, margin), (0, 0)))
        padding = "valid"
    x = ops.conv(
        x, layer.kernel, strides, padding, dilation_rate=layer.dilation_rate
    )
    return x + layer.bias if layer.use_bias else x


def depthwise(x, layer, strides=1, padding="same"):
    x = ops.depthwise_conv(x, layer.kernel, strides, padding)
    return x + layer.bias


def bn(x, layer):
    return ops.batch_normalization(
        x,
        layer.moving_mean,
        layer.moving_variance,
        -1,
        layer.beta,
        layer.gamma,
        BN_EPSILON,
    )


def mean(x):
    return ops.mean(x, axis=(1, 2))


def scale(x, vector):
    return x * ops.sigmoid(vector)[:, None, None, :]


def tokens(x):
    _, height, width, channels = x.shape
    return ops.reshape(x, (-1, height * width, channels))


def se(x, layer):
    return scale(
        x, dense(ops.relu(dense(mean(x), layer.squeeze)), layer.excite)
    )


def se_var1(x, layer):
    return scale(x, mean(x))


def se_var2(x, layer):
    return scale(x, mean(x) * layer.scale)


def se_var3(x, layer):
    return scale(x, dense(mean(x), layer.excite))


def se_gc(x, layer):
    y = ops.conv(mean(x)[:, None, None, :], layer.excite.kernel)
    return scale(x, y[:, 0, 0])


def eca(x, layer):
    taps = layer.kernel[:, :, None]  # (k, 1, 1)
    return scale(x, ops.conv(mean(x)[:, :, None], taps, padding="same")[..., 0])


def eca_ns(x, layer):
    taps, channels = layer.kernel.shape
    y = ops.pad(mean(x), ((0, 0), (taps // 2, taps // 2)))
    y = ops.stack([y[:, i : i + channels] for i in range(taps)], axis=1)
    return scale(x, ops.sum(y * layer.kernel, axis=1))


def bam(x, layer):
    squeeze, norm, _, excite = layer.channel_branch
    y = ops.relu(bn(dense(mean(x), squeeze), norm))
    y = dense(y, excite)[:, None, None, :]
    z = x
    for index in range(0, 9, 3):
        convolution, norm = layer.spatial_branch[index : index + 2]
        z = ops.relu(bn(conv(z, convolution), norm))
    z = conv(z, layer.spatial_branch[9])
    return x + x * ops.sigmoid(y * z)


def cbam(x, layer):
    def shared(y):
        return dense(ops.relu(dense(y, layer.squeeze)), layer.excite)

    x = scale(x, shared(mean(x)) + shared(ops.max(x, axis=(1, 2))))
    pooled = [ops.max(x, -1, keepdims=True), ops.mean(x, -1, keepdims=True)]
    y = conv(ops.concatenate(pooled, axis=-1), layer.spatial_conv)
    return x * ops.sigmoid(bn(y, layer.spatial_bn))


def sc(x, layer):
    _, height, width, _ = x.shape
    small = ops.average_pool(x, 4, 4)
    small = bn(conv(small, layer.small_conv), layer.small_bn)
    for axis, size in ((1, height), (2, width)):
        index = np.arange(size) * small.shape[axis] // size
        small = ops.take(small, index, axis=axis)
    y = bn(conv(x, layer.features_conv), layer.features_bn)
    y = y * ops.sigmoid(x + small)
    return bn(conv(y, layer.last_conv), layer.last_bn)


def psa(x, layer):
    branches = [conv(x, convolution) for convolution in layer.convolutions]
    squeeze, excite = layer.excitation.squeeze, layer.excitation.excite
    weights = [
        ops.sigmoid(dense(ops.relu(dense(mean(y), squeeze)), excite))
        for y in branches
    ]
    weights = ops.softmax(ops.stack(weights, axis=1), axis=1)
    branches = [
        y * weights[:, i, None, None, :] for i, y in enumerate(branches)
    ]
    return ops.concatenate(branches[::-1], axis=-1)


def position(x, layer):
    t = tokens(x)
    keys = ops.transpose(dense(t, layer.key), (0, 2, 1))
    scores = ops.softmax(ops.matmul(dense(t, layer.query), keys))
    y = ops.matmul(scores, dense(t, layer.value))
    return x + layer.gamma * ops.reshape(y, (-1, *x.shape[1:]))


def channel_affinity(x, layer):
    t = tokens(x)
    energy = ops.matmul(ops.transpose(t, (0, 2, 1)), t)
    scores = ops.softmax(-energy)
    y = ops.matmul(t, ops.transpose(scores, (0, 2, 1)))
    return x + layer.gamma * ops.reshape(y, (-1, *x.shape[1:]))


def emsa(x, layer):
    heads, ratio = layer.num_heads, layer.spatial_reduction_ratio
    channels = x.shape[-1]

    def split(t):
        t = ops.reshape(t, (-1, t.shape[1], heads, channels // heads))
        return ops.transpose(t, (0, 2, 1, 3))

    t, reduced = tokens(x), x
    margin = ratio // 2
    reduced = ops.pad(x, ((0, 0), (margin, margin), (margin, margin), (0, 0)))
    reduced = depthwise(reduced, layer.reduction_conv, ratio, "valid")
    reduced = tokens(reduced)
    reduced = ops.layer_normalization(
        reduced,
        layer.reduction_norm.gamma,
        layer.reduction_norm.beta,
        -1,
        BN_EPSILON,
    )
    query = split(dense(t, layer.query)) * (channels // heads) ** -0.5
    key, value = ops.split(dense(reduced, layer.key_value), 2, axis=-1)
    scores = ops.matmul(query, ops.transpose(split(key), (0, 1, 3, 2)))
    # A 1x1 convolution over the heads.
    scores = ops.einsum("bhnm,hg->bgnm", scores, layer.mix_kernel)
    scores = ops.softmax(scores + layer.mix_bias[:, None])
    centre, spread = ops.moments(scores, (2, 3), keepdims=True)
    scores = (scores - centre) * ops.rsqrt(spread + 1e-5)
    y = ops.transpose(ops.matmul(scores, split(value)), (0, 2, 1, 3))
    y = ops.reshape(y, (-1, *x.shape[1:]))
    return dense(y, layer.output_projection)


def pixel(x, layer):
    return x * ops.sigmoid(depthwise(x, layer.conv))


def double_normalization(x):
    x = ops.softmax(x, axis=-2)
    return x / (ops.sum(x, axis=-1, keepdims=True) + 1e-9)


def external(x, layer):
    t = dense(tokens(x), layer.input_projection)
    scores = double_normalization(dense(t, layer.key_memory))
    y = dense(dense(scores, layer.value_memory), layer.output_projection)
    return ops.relu(x + ops.reshape(bn(y, layer.bn), (-1, *x.shape[1:])))


def multi_head_external(x, layer):
    _, positions, channels = x.shape
    heads = layer.expansion * layer.num_heads
    t = dense(x, layer.input_projection)
    t = ops.reshape(t, (-1, positions, heads, channels // layer.num_heads))
    t = ops.transpose(t, (0, 2, 1, 3))
    scores = double_normalization(dense(t, layer.key_memory))
    t = ops.transpose(dense(scores, layer.value_memory), (0, 2, 1, 3))
    t = ops.reshape(t, (-1, positions, layer.expansion * channels))
    return dense(t, layer.output_projection)


def highway(x, layer):
    gate = ops.sigmoid(conv(x, layer.gate))
    return ops.relu(conv(x, layer.transform)) * gate + x * (1 - gate)


def spatial_transformer(x, layer):
    _, height, width, channels = x.shape
    y = ops.relu(conv(x, layer.conv1, 2))
    y = ops.relu(conv(y, layer.conv2, 2))
    rows, columns = (
        (2 * np.arange(n, dtype="float32") + 1) / n - 1 for n in y.shape[1:3]
    )
    moments = [
        mean(y),
        mean(y * columns[:, None]),
        mean(y * rows[:, None, None]),
    ]
    theta = dense(ops.concatenate(moments, axis=-1), layer.localization)
    theta = ops.reshape(theta, (-1, 2, 3))
    grid = np.stack(
        [
            *np.meshgrid(np.linspace(-1, 1, width), np.linspace(-1, 1, height)),
            np.ones((height, width)),
        ],
        axis=-1,
    ).reshape(-1, 3)
    source = ops.matmul(grid.astype("float32"), ops.transpose(theta, (0, 2, 1)))
    column = (source[..., 0] + 1) * (width - 1) / 2
    row = (source[..., 1] + 1) * (height - 1) / 2
    left, top = ops.floor(column), ops.floor(row)
    t, result = tokens(x), 0.0
    for c in (left, left + 1):
        for r in (top, top + 1):
            weight = (1 - ops.abs(column - c)) * (1 - ops.abs(row - r))
            inside = (c >= 0) & (c < width) & (r >= 0) & (r < height)
            weight = ops.where(inside, weight, 0.0)
            index = ops.clip(r, 0, height - 1) * width
            index = ops.cast(index + ops.clip(c, 0, width - 1), "int32")
            corner = ops.take_along_axis(t, index[..., None], axis=1)
            result = result + weight[..., None] * corner
    return ops.reshape(result, (-1, height, width, channels))


def dual(x, layer):
    def path(name, attend):
        y = conv(x, getattr(layer, f"{name}_before_conv"))
        y = ops.relu(bn(y, getattr(layer, f"{name}_before_bn")))
        y = conv(attend(y), getattr(layer, f"{name}_after_conv"))
        return ops.relu(bn(y, getattr(layer, f"{name}_after_bn")))

    y = path("position", lambda y: position(y, layer.position))
    y = y + path("channel", lambda y: channel_affinity(y, layer.channel))
    return conv(y, layer.classifier)


# short name -> (function, options of the layer)
PAIRS = {
    "bam": (bam, {}),
    "cbam": (cbam, {}),
    "channel_affinity": (channel_affinity, {}),
    "dual": (dual, {"classes": 21}),
    "eca": (eca, {}),
    "eca_ns": (eca_ns, {}),
    "emsa": (emsa, {"num_heads": 2, "spatial_reduction_ratio": 4}),
    "external": (external, {}),
    "highway": (highway, {}),
    "multi_head_external": (multi_head_external, {"num_heads": 4}),
    "pixel": (pixel, {}),
    "position": (position, {}),
    "psa": (psa, {}),
    "sc": (sc, {}),
    "se": (se, {}),
    "se_gc": (se_gc, {}),
    "se_var1": (se_var1, {}),
    "se_var2": (se_var2, {}),
    "se_var3": (se_var3, {}),
    "spatial_transformer": (spatial_transformer, {}),
}


def compiled(function):
    """The function, as the backend compiles what it is to run often."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        return tf.function(function)
    if backend == "jax":
        import jax

        return jax.jit(function)
    return function


def randomized(layer, rng):
    """Weights that leave no factor at 0 and no statistic at 0 or 1."""
    for variable in layer.variables:
        if "seed" in variable.path:
            continue
        draw = 0.1 * rng.standard_normal(variable.shape)
        name = variable.path.rsplit("/", 1)[-1]
        if name in ("gamma", "moving_variance"):
            draw = 1 + np.abs(draw)
        variable.assign(draw)


def seconds(run, calls):
    """Of one call, waited for."""
    start = time.perf_counter()
    for _ in range(calls):
        y = run()
    ops.convert_to_numpy(y)
    return (time.perf_counter() - start) / calls


def measure(name, shape, rounds, budget=0.005):
    """Milliseconds of layer and function, after their outputs agree."""
    function, options = PAIRS[name]
    rng = np.random.default_rng(0)
    if name == "multi_head_external":
        shape = (shape[0], shape[1] * shape[2], shape[3])
    x = rng.standard_normal(shape).astype("float32")
    x = ops.convert_to_tensor(x)
    layer = layers.get(name, **options)
    layer(x)
    randomized(layer, rng)
    calls = [
        compiled(lambda x: layer(x, training=False)),
        compiled(lambda x: function(x, layer)),
    ]
    if name == "spatial_transformer":  # no batch normalization, no argument
        calls[0] = compiled(layer)
    runs = [lambda call=call: call(x) for call in calls]
    ours, plain = (ops.convert_to_numpy(run()) for run in runs)
    np.testing.assert_allclose(ours, plain, rtol=1e-3, atol=1e-3, err_msg=name)
    repeats = max(1, int(budget / seconds(runs[1], 3)))
    best = [np.inf, np.inf]
    for _ in range(rounds):
        for index, run in enumerate(runs):
            best[index] = min(best[index], seconds(run, repeats))
    return [1000 * s for s in best]


def main():
    """Prints one line for each layer; status 1 if one is over the limit."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--layers", nargs="+", default=list(PAIRS))
    parser.add_argument("--size", type=int, default=28)
    parser.add_argument("--channels", type=int, default=128)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=100)
    options = parser.parse_args()
    shape = (options.batch, options.size, options.size, options.channels)
    print(f"{keras.backend.backend()}, maps of {shape}")
    print(f"{'layer':20} {'layer ms':>9} {'ops ms':>9} {'ratio':>6}")
    over = []
    for name in options.layers:
        ours, plain = measure(name, shape, options.rounds)
        ratio = ours / plain
        if ratio > LIMIT:
            over.append(name)
        print(f"{name:20} {ours:9.3f} {plain:9.3f} {ratio:6.2f}", flush=True)
    if over:
        print(f"more than {LIMIT}: {', '.join(over)}")
    return 1 if over else 0


if __name__ == "__main__":
    sys.exit(main())
