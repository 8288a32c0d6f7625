"""Checkpoint records, and loading weights into a network."""

CHECKPOINTS = {}


def check_weights_argument(weights, name, include_top, classes):
    return weights


def load_pretrained_weights(model, checkpoint):
    model.load_weights(checkpoint)
