"""Errors that a person at the terminal can do something about."""

# A wrong argument or file, a full disk, a missing extra, a failed tool: their
# message is enough. Any other comes from a mistake here and keeps its trace.
EXPECTED = (ImportError, OSError, RuntimeError, ValueError)
