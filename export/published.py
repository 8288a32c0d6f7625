"""Files that appear whole or not at all."""

import contextlib
import os
import pathlib
import shutil
import tempfile


@contextlib.contextmanager
def publishing(target):
    """A scratch folder whose contents move beside `target` in the end.

    Everything in it replaces what bears the same name in the folder of
    `target`. If the body raises, nothing there has changed.

    Args:
        target: Path of the file or folder to be written.

    Yields:
        `pathlib.Path` of an empty folder on the same disk.
    """
    folder = pathlib.Path(target).absolute().parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        scratch = pathlib.Path(tempfile.mkdtemp(dir=folder, prefix=".export-"))
    except OSError as error:
        raise ValueError(
            f"Cannot write to {str(target)!r}: {error.strerror}. Choose a "
            "folder that can be written to."
        ) from error
    try:
        yield scratch
        for item in sorted(scratch.iterdir()):
            destination = folder / item.name
            if destination.is_dir():
                shutil.rmtree(destination)
            os.replace(item, destination)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
