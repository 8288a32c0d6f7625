"""The optimizer and its schedule, from an experiment's numbers."""

import keras


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
    if warmup == 0:
        return keras.optimizers.schedules.CosineDecay(rate, total)
    return keras.optimizers.schedules.CosineDecay(
        0.0, total - warmup, warmup_target=rate, warmup_steps=warmup
    )


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
    if decay == 1:
        return None
    parts = []
    for layer in network.layers:
        # `stage2_attention1` belongs to `stage2`.
        part = layer.name.partition("_")[0]
        part = "predictions" if part == "final" else part
        parts += [part] * len(layer.trainable_variables)
    order = list(dict.fromkeys(parts))
    return tuple(decay ** (len(order) - 1 - order.index(p)) for p in parts)


class LayerwiseSGD(keras.optimizers.SGD):
    """SGD whose learning rate differs from variable to variable.

    It multiplies the gradients, which for SGD, with momentum or without, is
    the same as multiplying the rate; weight decay keeps the full rate.

    Args:
        factors: Tuple of floats, one for each trainable variable.
        **kwargs: Arguments of `keras.optimizers.SGD`.
    """

    def __init__(self, factors, **kwargs):
        super().__init__(**kwargs)
        self.factors = factors

    def apply(self, grads, trainable_variables=None):
        grads = [
            None if gradient is None else gradient * factor
            for gradient, factor in zip(grads, self.factors)
        ]
        return super().apply(grads, trainable_variables)


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
    if optimizer.ema:
        common["ema_momentum"] = optimizer.ema
    if config.runtime.accumulation > 1:
        common["gradient_accumulation_steps"] = config.runtime.accumulation
    decay = optimizer.weight_decay
    if optimizer.name == "adamw":
        built = keras.optimizers.AdamW(weight_decay=decay, **common)
    else:
        # The papers add decay * weight to the gradient, where momentum
        # multiplies its effect by 1 / (1 - momentum). Keras's decay bypasses
        # the momentum, so it gets that factor here.
        common["weight_decay"] = decay / (1 - optimizer.momentum) or None
        common |= {"momentum": optimizer.momentum, "nesterov": True}
        if factors is None:
            built = keras.optimizers.SGD(**common)
        else:
            built = LayerwiseSGD(factors, **common)
    if decay:
        built.exclude_from_weight_decay(var_names=["gamma", "beta", "bias"])
    return built
