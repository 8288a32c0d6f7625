"""What weights begin with, where an experiment wants other than the layers'."""

import keras
import numpy as np

from keras_ratn.layers._composite import layers_inside
from keras_ratn.layers.trunk_units import UNITS

from .batch_normalization import batch_normalizations
from .data import epoch_order
from .data import Split
from .errors import RunError

# Training images whose patches the stem is made for, and how many at a time.
STEM_IMAGES = 2000
CHUNK = 50
# Added to the variances: directions with less of it are noise.
SMALLEST_VARIANCE = 1e-3


def initialize(config, network, split):
    """Gives a new network the weights and momentum that a config asks for.

    Args:
        config: `Experiment`.
        network: `keras.Model` of `networks.build_network`.
        split: `Split` or `Stream` of the training images.
    """
    choices = config.initialization
    stem = stem_convolution(network) if choices.whiten_stem else None
    if config.batch_norm_momentum is not None:
        set_momentum(network, config.batch_norm_momentum)
    if choices.zero_branches:
        zero_branches(network)
    if stem is not None:
        images = _first_images(split, config.batch_size, config.seed)
        whiten(network, stem, images)


def set_momentum(network, momentum):
    """Sets how much of the old the moving statistics keep in each step."""
    layers = list(batch_normalizations(network))
    if not layers:
        raise RunError(
            "`batch_norm_momentum` needs batch normalization, and "
            f"{network.name} has none. Leave it out."
        )
    for layer in layers:
        layer.momentum = momentum


def zero_branches(network):
    """Lets each residual branch begin by adding nothing.

    The last scale, or the last kernel where no scale comes after it, becomes
    0: a deep network begins as a shallow one, and its branches grow.
    """
    weights = list(branch_ends(network))
    if not weights:
        raise RunError(
            "`initialization.zero_branches` needs residual branches that end "
            f"in a convolution or a scale, and {network.name} has none. Leave "
            "it out."
        )
    for weight in weights:
        weight.assign(keras.ops.zeros(weight.shape, weight.dtype))


def branch_ends(network):
    """The weight that scales each residual branch of a network."""
    units = tuple(UNITS.values())
    for layer in layers_inside(network):
        if isinstance(layer, units):
            yield layer.branch_end
    makers = {
        id(tensor): layer
        for layer in network.layers
        for tensor in keras.tree.flatten(layer.output)
    }
    for layer in network.layers:
        if isinstance(layer, keras.layers.Add):
            # The branch comes first, then the shortcut.
            end = _last_scale(makers, layer.input[0])
            if end is not None:
                yield end


def _last_scale(makers, tensor):
    """Of the normalization that ends a branch, before or under attention."""
    while isinstance(tensor, keras.KerasTensor):
        layer = makers[id(tensor)]
        if isinstance(layer, keras.layers.BatchNormalization):
            return layer.gamma
        if not type(layer).__module__.startswith("keras_ratn."):
            return None
        tensor = layer.input
    return None


def stem_convolution(network):
    """The network's first layer that learns, if it is a convolution."""
    first = next(x for x in network.layers if x.trainable_variables)
    if not isinstance(first, keras.layers.Conv2D) or first.groups > 1:
        raise RunError(
            "`initialization.whiten_stem` is for networks that begin with a "
            f"convolution, and {network.name} begins with "
            f"{type(first).__name__} {first.name!r}. Leave it out."
        )
    return first


def whiten(network, stem, images):
    """Lets the first convolution see patches as uncorrelated numbers.

    Its filters become the directions in which patches of the training images
    vary most, each divided by how much they do, and the same with the opposite
    sign, since a ReLU would lose half of what they say. Filters for which no
    direction is left keep what they began with.

    Args:
        network: `keras.Model`.
        stem: Its first convolution.
        images: Array `(images, height, width, channels)`, pixels 0-255.
    """
    before = keras.Model(network.input, stem.input)
    covariance = patch_covariance(before, images, stem.kernel_size)
    values, vectors = np.linalg.eigh(covariance)
    values, vectors = values[::-1], vectors[:, ::-1]  # the largest first
    # An eigenvector's sign is the solver's whim.
    largest = np.abs(vectors).argmax(axis=0)
    vectors *= np.sign(vectors[largest, np.arange(len(largest))])
    count = min(stem.filters // 2, len(values))
    filters = vectors[:, :count] / np.sqrt(values[:count] + SMALLEST_VARIANCE)
    kernel = keras.ops.convert_to_numpy(stem.kernel).copy()
    shape = (*kernel.shape[:3], count)
    kernel[..., :count] = filters.reshape(shape)
    kernel[..., count : 2 * count] = -filters.reshape(shape)
    stem.kernel.assign(kernel)


def patch_covariance(before, images, kernel_size):
    """Of all patches of that size in what the convolution gets.

    Args:
        before: `keras.Model` from images to the convolution's input.
        images: Array of images.
        kernel_size: Pair of integers.

    Returns:
        Array `(height * width * channels, ...)`, in a kernel's order.
    """
    total, products, count = 0.0, 0.0, 0
    for first in range(0, len(images), CHUNK):
        chunk = images[first : first + CHUNK].astype("float32")
        maps = keras.ops.convert_to_numpy(before(chunk, training=False))
        patches = np.lib.stride_tricks.sliding_window_view(
            maps.astype("float64"), kernel_size, axis=(1, 2)
        )
        # (images, rows, columns, channels, height, width)
        patches = patches.transpose(0, 1, 2, 4, 5, 3)
        patches = patches.reshape(-1, np.prod(patches.shape[3:]))
        total = total + patches.sum(axis=0)
        products = products + patches.T @ patches
        count += len(patches)
    mean = total / count
    return products / count - np.outer(mean, mean)


def _first_images(split, batch_size, seed):
    """Some training images in the order of the first epoch."""
    if isinstance(split, Split):
        numbers = epoch_order(len(split), seed, 0)[:STEM_IMAGES]
        images, readable = split.read(numbers)
        return images[readable]
    images = []
    for inputs, _ in split.training_batches(batch_size, seed, 1):
        images += list(keras.ops.convert_to_numpy(inputs["images"]))
        if len(images) >= STEM_IMAGES:
            break
    return np.stack(images[:STEM_IMAGES])
