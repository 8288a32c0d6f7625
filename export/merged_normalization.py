"""Batch normalizations of residual sums, moved into the convolutions around.

A unit that begins with batch normalization and ReLU reads a sum x of residual
branches. With the normalization s x + b, s > 0, and t = b / s

    ReLU(s x + b) = s ReLU(x + t)

so s can go into the kernels behind, and t into the bias of the convolution
whose result is added last. What reads x apart from that, now finds x + t: a
next sum shifts the rest of the way in its own convolution, pooling and bilinear
enlargement pass a shift on, and a convolution without padding takes it off in
its bias. Of the normalization there remains a ReLU.

Where no convolution can shift x, as where it is a product, the sum x + t
remains, with its ReLU one operation.
"""

import keras
import numpy as np

from keras_ratn.layers import BilinearUpsampling2D

from .layer_copies import copied
from .layer_copies import take_weights
from .opened_graph import connections

# How much wider than most the values of one channel may be. A channel with
# wide values gets small scales, of which 8 bits would leave little in a kernel
# that the others share; it needs the steps of its own that a depthwise
# convolution has.
WIDEST_CHANNEL = 8.0
# How much wider than most channels the constants of a sum may spread, which
# share their 8 bits. Here half a step of theirs is 0.8 % of such a channel.
WIDEST_CONSTANTS = 4.0

_POOLINGS = (
    keras.layers.AveragePooling2D,
    keras.layers.GlobalAveragePooling2D,
    keras.layers.MaxPooling2D,
)
_ENLARGEMENTS = (BilinearUpsampling2D, keras.layers.UpSampling2D)
# f(x + t) = f(x) + t. (Average pooling counts no padding, max pooling neither.)
_PASS_SHIFTS = _POOLINGS + _ENLARGEMENTS
# f(s x) = s f(x) for s > 0.
_PASS_SCALES = (*_PASS_SHIFTS, keras.layers.ZeroPadding2D)


def merge_normalizations(model, widths=None):
    """Reduces normalizations to sums and ReLUs, where that is exact.

    The ReLU comes out as that of a pooling of single pixels. LiteRT computes
    it in 8 bits as bounds, without a step of rounding, in a tenth of the time
    of a depthwise convolution (`tests/benchmarks/README.md`); a ReLU on its
    own it would not hand to XNNPACK. Shifts that no convolution can take in
    become `Rescaling` by 1: sums with constants, which take two thirds of the
    time of a depthwise convolution.

    Args:
        model: Deploy graph, each layer of which has been called once.
        widths: Optional dict of arrays `(channels,)` by name of a layer: how
            far from zero the values go that a normalization shifts and has
            not yet scaled. Defaults to as far as gives all channels the same
            width afterwards.

    Returns:
        A functional `keras.Model` that shares no weights with `model`.
    """
    merger = _Merger(model, widths or {})
    return keras.models.clone_model(
        model, clone_function=lambda layer: layer, call_function=merger.emit
    )


class _Merger:
    """Decides what each tensor of a flat graph is shifted by."""

    def __init__(self, model, widths):
        self.widths = widths
        self.made_by, self.readers = connections(model)
        self.shifts = {}  # id of a tensor -> what is added to it, (channels,)
        self.weights = {}  # layer -> its new weights, in double precision
        # The normalizations of which only the ReLU is left, and these ReLUs.
        self.merged, self.relus = set(), set()
        # Those of which the sum is left, too: layer -> what it adds.
        self.offsets = {}
        for operation in model.operations:
            self._take_shift(operation)
            if _is_convolution(operation) or _is_sum(operation):
                self._choose_shift(operation.output)
        for operation in model.operations:
            if operation not in self.merged and self._fits_constants(operation):
                self.offsets[operation] = self._move_scale(operation)

    def emit(self, layer, *args, **kwargs):
        """The calls of the new graph."""
        if layer in self.merged:
            return args[0]
        if layer in self.offsets:
            offset = self.offsets[layer].astype("float32").tolist()
            name = f"{layer.name}_shift"
            return keras.layers.Rescaling(1.0, offset, name=name)(*args)
        if layer in self.relus:
            name = f"{layer.name}_bound"
            args = [keras.layers.MaxPooling2D(1, name=name)(*args)]
        new = copied(layer, name=layer.name)
        outputs = new(*args, **kwargs)
        if layer in self.weights:
            new.set_weights([w.astype("float32") for w in self.weights[layer]])
        elif isinstance(layer, keras.Layer):
            take_weights(new, layer)
        return outputs

    def _weights_of(self, layer):
        if layer not in self.weights:
            weights = layer.get_weights()
            self.weights[layer] = [w.astype("float64") for w in weights]
        return self.weights[layer]

    # === Shifts ===

    def _take_shift(self, operation):
        """Hands the shift of the inputs on, or takes it off."""
        inputs = keras.tree.flatten(operation.input)
        shifts = [self.shifts.get(id(x)) for x in inputs]
        shifts = [shift for shift in shifts if shift is not None]
        if not shifts or operation in self.merged:
            return
        if self._takes_shift_off(operation):
            kernel, bias = self._weights_of(operation)
            bias -= _through(operation, kernel, shifts[0])
        else:
            self.shifts[id(operation.output)] = sum(shifts)

    def _choose_shift(self, tensor):
        """Shifts a tensor as a normalization behind it wants it, or back."""
        source = self._source(tensor)
        if source is None:
            return
        wanted = self._wanting(tensor) if self._may_shift(tensor) else None
        shift = 0.0
        if wanted is not None:
            shift = self._move_scale(wanted)
            self.merged.add(wanted)
            self.relus.add(self.readers[id(wanted.output)][0])
        before = self.shifts.pop(id(tensor), 0.0)
        self._weights_of(source)[1] += shift - before
        if wanted is not None:
            self.shifts[id(tensor)] = shift

    def _source(self, tensor):
        """The convolution whose bias shifts this tensor and no other one."""
        operation = self.made_by[id(tensor)]
        if _is_convolution(operation):
            return operation
        if not _passes_shift(operation):
            return None
        for inner in keras.tree.flatten(operation.input):
            if len(self.readers[id(inner)]) == 1:
                source = self._source(inner)
                if source is not None:
                    return source
        return None

    def _may_shift(self, tensor):
        """Whether all that reads the tensor can do with a shifted one."""
        return all(
            self._takes_shift_off(reader)
            or (
                _passes_shift(reader)
                and (
                    self._shifts_itself(reader)
                    or self._may_shift(reader.output)
                )
            )
            for reader in self.readers[id(tensor)]
        )

    def _shifts_itself(self, operation):
        """Whether a shift of its own result is in its power."""
        return _is_sum(operation) and self._source(operation.output) is not None

    def _takes_shift_off(self, operation):
        """Whether the operation's bias can undo a shift of its input."""
        return _is_convolution(operation) and (
            operation.padding == "valid" or max(operation.kernel_size) == 1
        )

    # === Normalizations ===

    def _wanting(self, tensor):
        """The normalization to merge: one of the tensor, or behind pooling."""
        readers = self.readers[id(tensor)]
        for reader in readers:
            if self._is_mergeable(reader):
                return reader
        for reader in readers:
            if isinstance(reader, _PASS_SHIFTS):
                found = self._wanting(reader.output)
                if found is not None:
                    return found
        return None

    def _is_mergeable(self, layer):
        if not _is_normalization(layer):
            return False
        readers = self.readers[id(layer.output)]
        scale = self._weights_of(layer)[0].ravel()
        if scale.min() <= 0:
            return False
        widths = self._widths_of(layer)
        return (
            widths.max() <= WIDEST_CHANNEL * np.median(widths)
            and len(readers) == 1
            and _is_plain_relu(readers[0])
            and self._readers_take_scale(readers[0])
        )

    def _fits_constants(self, layer):
        """Whether constants in 8 bits and a ReLU can stand for it."""
        if not self._is_mergeable(layer):
            return False
        spread = np.ptp([0.0, *self._shift_of(layer)])
        return spread <= WIDEST_CONSTANTS * np.median(self._widths_of(layer))

    def _shift_of(self, layer):
        """What a normalization adds before it scales, `(channels,)`."""
        kernel, bias = self._weights_of(layer)
        return bias / kernel.ravel()

    def _widths_of(self, layer):
        scale = self._weights_of(layer)[0].ravel()
        return self.widths.get(layer.name, 1 / scale)

    def _move_scale(self, layer):
        """Moves a normalization's scale behind its ReLU; returns its shift."""
        (relu,) = self.readers[id(layer.output)]
        self._scale_readers(relu, self._weights_of(layer)[0].ravel())
        return self._shift_of(layer)

    def _readers_take_scale(self, operation):
        return all(
            _is_weighted(reader)
            or (
                isinstance(reader, _PASS_SCALES)
                and self._readers_take_scale(reader)
            )
            for reader in self.readers[id(operation.output)]
        )

    def _scale_readers(self, operation, scale):
        for reader in self.readers[id(operation.output)]:
            if _is_weighted(reader):
                kernel = self._weights_of(reader)[0]
                kernel *= _over_inputs(reader, kernel, scale)
            else:
                self._scale_readers(reader, scale)


def _is_convolution(operation):
    """Whether its result is a convolution's, with a bias."""
    kinds = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D)
    return isinstance(operation, kinds) and operation.use_bias


def _is_sum(operation):
    """Whether it is a sum of tensors with the same channels."""
    return (
        isinstance(operation, keras.layers.Add)
        and len({x.shape[-1] for x in operation.input}) == 1
    )


def _is_weighted(operation):
    kinds = (
        keras.layers.Conv2D,
        keras.layers.Dense,
        keras.layers.DepthwiseConv2D,
    )
    return isinstance(operation, kinds)


def _is_normalization(operation):
    return (
        isinstance(operation, keras.layers.DepthwiseConv2D)
        and operation.use_bias
        and tuple(operation.kernel_size) == (1, 1)
        and set(keras.tree.flatten(operation.strides)) == {1}
        and operation.depth_multiplier == 1
    )


def _is_plain_relu(operation):
    return (
        isinstance(operation, keras.layers.ReLU)
        and operation.max_value is None
        and not operation.negative_slope
        and not operation.threshold
    )


def _passes_shift(operation):
    """Whether the result shifts as the inputs together do."""
    return isinstance(operation, _PASS_SHIFTS) or _is_sum(operation)


def _through(layer, kernel, shift):
    """What a convolution without padding makes of a shift: `(outputs,)`."""
    if isinstance(layer, keras.layers.DepthwiseConv2D):
        return np.einsum("hwim,i->im", kernel, shift).ravel()
    return (kernel * _over_inputs(layer, kernel, shift)).sum(axis=(0, 1, 2))


def _over_inputs(layer, kernel, values):
    """Values of the input channels, in the shape in which kernels hold them.

    Of a grouped convolution `(1, 1, inputs / groups, outputs)`: each group of
    outputs has its own inputs.
    """
    if not isinstance(layer, keras.layers.Conv2D):  # Dense, DepthwiseConv2D
        return values[:, None]
    groups = values.reshape(layer.groups, -1).T  # (inputs / groups, groups)
    return np.repeat(groups, kernel.shape[-1] // layer.groups, axis=1)
