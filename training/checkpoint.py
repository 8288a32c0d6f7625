"""A run's state in one file that is either the old one or the new one.

Keras's `BackupAndRestore` overwrites in place and keeps its parts in several
files, so a kill at the wrong moment pairs new weights with old metadata.
Here weights, optimizer, random state, history and epoch are one file, which
is written beside the old one, forced to the disk and then renamed over it.
"""

import contextlib
import json
import os
import pathlib
import zipfile

import keras
import numpy as np

from .errors import RunError


@contextlib.contextmanager
def published(path):
    """Yields a temporary path that becomes `path` when all went well."""
    path = pathlib.Path(path)
    # The ending stays: Keras tells formats by it.
    temporary = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except OSError as error:
        raise RunError(
            f"Cannot write {path}: {error.strerror or error}. What was there "
            "before is intact; free some space or mend the folder, and run "
            "the same command again."
        ) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def _sync_folder(folder):
    """Makes the renaming itself outlast a power cut."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def publish_text(path, text):
    """Writes a text file that no reader ever finds half-written."""
    with published(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _variables(model):
    """Weights, seeds and the optimizer's, in the order of their creation."""
    return [*model.variables, *model.optimizer.variables]


def save_checkpoint(path, model, state):
    """Publishes the model's variables and `state` together.

    Args:
        path: Where.
        model: Compiled `keras.Model`.
        state: What JSON can hold: epoch, history, the callbacks' own.
    """
    arrays = {
        f"variable_{index:05d}": keras.ops.convert_to_numpy(variable)
        for index, variable in enumerate(_variables(model))
    }
    arrays["state"] = np.frombuffer(json.dumps(state).encode(), np.uint8)
    with published(path) as temporary:
        with open(temporary, "wb") as file:
            np.savez(file, **arrays)


def load_checkpoint(path, model):
    """Gives the model the variables of `save_checkpoint`; returns the state.

    Returns `None` where there is no checkpoint yet.
    """
    path = pathlib.Path(path)
    if not path.exists():
        return None
    try:
        with np.load(path) as file:
            arrays = {key: file[key] for key in file.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise RunError(
            f"The checkpoint {path} is damaged ({error}). Remove it to start "
            "the run anew."
        ) from error
    state = json.loads(arrays.pop("state").tobytes())
    variables = _variables(model)
    shapes = [tuple(variable.shape) for variable in variables]
    saved = [arrays[key].shape for key in sorted(arrays)]
    if shapes != saved:
        raise RunError(
            f"The checkpoint {path} holds {len(saved)} variables, and this "
            f"network has {len(shapes)} or others of other shapes. It is of "
            "another version of the code; remove it to start the run anew."
        )
    for variable, key in zip(variables, sorted(arrays)):
        variable.assign(arrays[key])
    return state
