"""Weights whose values depend on their shapes alone.

The output of a network filled so depends on its structure only, neither on
names nor on the order of creation: two implementations can be compared
without anybody's trained weights.
"""

import hashlib
import math

import numpy as np

INPUT_SEED = 1704


def draw(kind, shape):
    text = f"{kind}:{'x'.join(map(str, shape))}"
    digest = hashlib.sha256(text.encode()).digest()
    seed = int.from_bytes(digest[:4], "little")
    return np.random.Generator(np.random.PCG64(seed)).standard_normal(shape)


def value_for(leaf, shape):
    """The value of a variable, by the last part of its path and its shape."""
    if leaf == "kernel" and len(shape) == 4:  # HWIO, I per group
        return draw("kernel", shape) / math.sqrt(math.prod(shape[:3]))
    if leaf == "kernel":
        return draw("dense", shape) / math.sqrt(shape[0])
    if leaf == "bias":
        return 0.1 * draw("bias", shape)
    if leaf == "gamma":
        return 1 + 0.2 * draw("gamma", shape)
    if leaf == "beta":
        return 0.2 * draw("beta", shape)
    if leaf == "moving_mean":
        return 0.2 * draw("mean", shape)
    if leaf == "moving_variance":
        return np.exp(0.3 * draw("var", shape))
    raise ValueError(f"no rule for a variable called {leaf!r}")


def fill(model):
    """Gives every variable of a model its shape-seeded value."""
    for variable in model.variables:
        leaf = variable.path.split("/")[-1]
        variable.assign(value_for(leaf, tuple(variable.shape)))
    return model


def images(shape):
    generator = np.random.Generator(np.random.PCG64(INPUT_SEED))
    return generator.standard_normal(shape).astype("float32")
