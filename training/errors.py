"""The exceptions whose message is meant for the person at the terminal."""


class RunError(Exception):
    """A run cannot go on; the message says why and what to do."""


class LossError(RunError):
    """The loss is no number any more; the checkpoint is from before."""
