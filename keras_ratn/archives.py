"""What is looked at before a saved model is read."""

import os
import zipfile

# Keras stores its archives uncompressed; compressed by somebody else, weights
# lose a tenth, and those that are mostly zeros can shrink to a tenth.
MOST_INFLATION = 20
# Less than this many bytes harm no machine, however small the file.
HARMLESS = 2**27


def check_archive(path):
    """Refuses a `.keras` file that is a zip bomb, before it is inflated.

    Args:
        path: Path of a `.keras` file. One that is no archive passes: what
            reads it has more to say about that.
    """
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        inflated = sum(info.file_size for info in archive.infolist())
    size = os.path.getsize(path)
    if inflated > max(HARMLESS, MOST_INFLATION * size):
        raise ValueError(
            f"{path} holds {size / 1e6:.1f} MB that would become "
            f"{inflated / 1e6:.0f} MB in memory, as no model does: it is "
            "damaged, or made to harm. If you trust it, unpack it and save "
            "the model anew."
        )
