"""tyro, which makes command lines of dataclasses, or how to get it."""

try:
    import tyro as tyro
except ModuleNotFoundError as error:
    # A command cannot even say what its options are: end here, in one line.
    raise SystemExit(
        f"ratn: {error}. Training's commands need `pip install "
        '"keras_ratn[train]"`.'
    ) from error
