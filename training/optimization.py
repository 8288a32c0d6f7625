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


def build_optimizer(config, steps_per_epoch):
    """A `keras.optimizers.Optimizer` for the experiment."""
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
        built = keras.optimizers.SGD(
            momentum=optimizer.momentum,
            nesterov=True,
            weight_decay=decay / (1 - optimizer.momentum) or None,
            **common,
        )
    if decay:
        built.exclude_from_weight_decay(var_names=["gamma", "beta", "bias"])
    return built
