"""The optimizer and its schedule, from an experiment's numbers."""

import keras
from keras import ops

from keras_ratn.optimizers import is_matrix
from keras_ratn.optimizers import Muon

from .batch_normalization import batch_normalizations
from .errors import RunError


def learning_rate(config):
    """The first learning rate: in proportion to the images of an update."""
    optimizer = config.optimizer
    images = config.batch_size * config.runtime.accumulation
    return optimizer.learning_rate * images / optimizer.learning_rate_batch


def schedule(config, steps_per_epoch):
    """The learning rate as Keras takes it: a number or a schedule."""
    optimizer = config.optimizer
    rate = learning_rate(config)
    total = config.epochs * steps_per_epoch
    if optimizer.schedule == "constant":
        return rate
    if optimizer.schedule == "step":
        boundaries = [round(share * total) for share in optimizer.step_at]
        values = [rate * 0.1**i for i in range(len(boundaries) + 1)]
        return keras.optimizers.schedules.PiecewiseConstantDecay(
            boundaries, values
        )
    warmup = round(optimizer.warmup_epochs * steps_per_epoch)
    if optimizer.schedule == "linear":
        return LinearSchedule(rate, warmup, total)
    if warmup == 0:
        return keras.optimizers.schedules.CosineDecay(rate, total)
    return keras.optimizers.schedules.CosineDecay(
        0.0, total - warmup, warmup_target=rate, warmup_steps=warmup
    )


class LinearSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """Rises by equal steps, then falls by equal steps; 0 comes after the last.

    Args:
        rate: Float. The highest.
        warmup: Integer. Steps until it is reached; 0 to begin with it.
        total: Integer. Steps until 0.
    """

    def __init__(self, rate, warmup, total):
        self.rate = rate
        self.warmup = warmup
        self.total = total

    def __call__(self, step):
        step = ops.cast(step, "float32")
        rise = (step + 1) / max(self.warmup, 1)
        fall = (self.total - step) / (self.total - self.warmup)
        return self.rate * ops.clip(ops.minimum(rise, fall), 0.0, 1.0)

    def get_config(self):
        return {k: getattr(self, k) for k in ("rate", "warmup", "total")}


def part_of(name):
    """The part of a network that a layer of that name belongs to.

    `stage2_attention1` belongs to `stage2`, all that makes the first maps or
    tokens to the stem, and what follows the last stage to the classifier.
    """
    if name.startswith(("stem", "token", "class_token")):
        return "stem"
    part = name.partition("_")[0]
    return "predictions" if part == "final" else part


def learning_rate_factors(config, network):
    """By how much each trainable variable's learning rate is multiplied.

    Args:
        config: `Experiment`.
        network: The `keras.Model` of `networks.build_network`.

    Returns:
        Tuple of floats in the order of `network.trainable_variables`, `None`
        if all learn at the same rate.
    """
    decay = config.optimizer.layer_decay
    faster = config.optimizer.bias_factor
    if decay == faster == 1:
        return None
    parts, factors = [], []
    for layer in network.layers:
        part = part_of(layer.name)
        biases = {id(b.beta) for b in batch_normalizations(layer)}
        for variable in layer.trainable_variables:
            parts.append(part)
            factors.append(faster if id(variable) in biases else 1.0)
    order = list(dict.fromkeys(parts))
    return tuple(
        factor * decay ** (len(order) - 1 - order.index(part))
        for factor, part in zip(factors, parts)
    )


class OwnRates:
    """What gives each variable of an optimizer a learning rate of its own.

    Weight decay keeps the full rate.

    Args:
        factors: Tuple of floats, one for each trainable variable, by which
            the rate is multiplied.
        **kwargs: Arguments of the optimizer.
    """

    def __init__(self, factors, **kwargs):
        super().__init__(**kwargs)
        self.factors = factors

    def update_step(self, gradient, variable, learning_rate):
        factor = self.factors[self._get_variable_index(variable)]
        super().update_step(gradient, variable, learning_rate * factor)


class LayerwiseSGD(OwnRates, keras.optimizers.SGD):
    """SGD whose learning rate differs from variable to variable."""


class LayerwiseAdamW(OwnRates, keras.optimizers.AdamW):
    """AdamW whose learning rate differs from variable to variable."""


class LayerwiseMuon(OwnRates, Muon):
    """Muon whose learning rate differs from variable to variable."""


# name -> (the optimizer, the one that takes factors)
_OPTIMIZERS = {
    "sgd": (keras.optimizers.SGD, LayerwiseSGD),
    "adamw": (keras.optimizers.AdamW, LayerwiseAdamW),
    "muon": (Muon, LayerwiseMuon),
}


def check_optimizer(config, network):
    """Refuses Muon where there is nothing for it to do."""
    if config.optimizer.name == "muon" and not any(
        is_matrix(variable) for variable in network.trainable_variables
    ):
        raise RunError(
            "`optimizer.name muon` is for the kernels of hidden layers, and "
            f"{config.model} has none that learn (freeze_until="
            f"{config.freeze_until!r}). Choose sgd or adamw."
        )


def build_optimizer(config, steps_per_epoch, factors=None):
    """The `keras.optimizers.Optimizer` of an experiment.

    Args:
        config: `Experiment`.
        steps_per_epoch: Integer.
        factors: What `learning_rate_factors` returned. Defaults to `None`.
    """
    optimizer = config.optimizer
    common = {
        "learning_rate": schedule(config, steps_per_epoch),
        "global_clipnorm": optimizer.clip_norm,
        "use_ema": optimizer.ema > 0,
    }
    accumulation = config.runtime.accumulation
    if optimizer.ema:
        # Keras moves the average after each batch, update or not.
        common["ema_momentum"] = optimizer.ema ** (1 / accumulation)
    if accumulation > 1:
        common["gradient_accumulation_steps"] = accumulation
    decay = optimizer.weight_decay
    if optimizer.name == "sgd":
        # The papers add decay * weight to the gradient, where momentum
        # multiplies its effect by 1 / (1 - momentum). Keras's decay bypasses
        # the momentum, so it gets that factor here.
        decay = decay / (1 - optimizer.momentum)
        common |= {"momentum": optimizer.momentum, "nesterov": True}
    elif optimizer.name == "muon":
        common["momentum"] = optimizer.momentum
    # AdamW wants a number.
    common["weight_decay"] = (
        decay if optimizer.name == "adamw" else (decay or None)
    )
    plain, layerwise = _OPTIMIZERS[optimizer.name]
    built = plain(**common) if factors is None else layerwise(factors, **common)
    if decay:
        built.exclude_from_weight_decay(var_names=["gamma", "beta", "bias"])
    return built
