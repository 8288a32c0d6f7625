"""Files that appear whole or not at all."""

import contextlib
import os
import pathlib
import shutil
import tempfile
import time

_PREFIX = ".export-"
_DAY = 24 * 60 * 60


@contextlib.contextmanager
def publishing(target, is_folder=False):
    """A scratch folder whose contents move beside `target` in the end.

    Everything in it replaces what bears the same name in the folder of
    `target`. If the body raises, nothing there has changed.

    Args:
        target: Path of the file or folder to be written.
        is_folder: Boolean. Whether `target` is a folder, and may replace one.
            Defaults to `False`.

    Yields:
        `pathlib.Path` of an empty folder on the same disk.
    """
    folder = pathlib.Path(target).absolute().parent
    if pathlib.Path(target).is_dir() and not is_folder:
        raise ValueError(
            f"Cannot write the file {str(target)!r}: there is a folder of that "
            "name. Choose another name, or remove the folder."
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _remove_what_killed_processes_left(folder)
        scratch = pathlib.Path(tempfile.mkdtemp(dir=folder, prefix=_PREFIX))
        try:
            yield scratch
            for item in sorted(scratch.iterdir()):
                destination = folder / item.name
                if item.is_dir() and destination.is_dir():
                    shutil.rmtree(destination)
                os.replace(item, destination)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    except OSError as error:
        raise ValueError(
            f"Cannot write to {str(target)!r}: {error.strerror or error}. "
            "Choose a folder that can be written to, with room on its disk."
        ) from error


def _remove_what_killed_processes_left(folder):
    # By age: on a shared disk the process may be another machine's.
    for scratch in folder.glob(f"{_PREFIX}*"):
        with contextlib.suppress(FileNotFoundError):  # just gone by itself
            if time.time() - scratch.stat().st_mtime > _DAY:
                shutil.rmtree(scratch, ignore_errors=True)
