"""What tells images from others, without decoding them."""

import hashlib
import os

# So much of the end of each file counts, small files as a whole. What
# compressed formats hold there depends on all pixels before.
TAIL = 64 * 2**10
# Images are hashed so many at a time.
_CHUNK = 1024


def of_arrays(images, numbers):
    """Checksum of some images in memory, of all their bytes.

    Args:
        images: Array `(images, height, width, channels)`.
        numbers: Integer array. Which of them, in which order.
    """
    shape = (len(numbers), *images.shape[1:])
    digest = hashlib.sha256(f"{shape} {images.dtype.str}".encode())
    for first in range(0, len(numbers), _CHUNK):
        digest.update(images[numbers[first : first + _CHUNK]].tobytes())
    return digest.hexdigest()


def of_files(paths, executor=None):
    """Checksum of files: of the size and the last `TAIL` bytes of each.

    Args:
        paths: List of paths.
        executor: Optional `concurrent.futures.Executor` that reads them.
    """
    digest = hashlib.sha256()
    for end in (executor.map if executor else map)(_end, paths):
        digest.update(end)
    return digest.hexdigest()


def _end(path):
    try:
        with open(path, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(size - TAIL, 0))
            return size.to_bytes(8) + hashlib.sha256(file.read()).digest()
    except OSError:  # it will be named when its image is read
        return b"unreadable"


def as_far_as_known(found, kept):
    """Today's fingerprint of a `Source`, without what an older one lacks.

    Runs of older versions noted no checksums of pixels.
    """
    if not (isinstance(found, dict) and isinstance(kept, dict)):
        return found
    return {
        key: as_far_as_known(value, kept.get(key))
        for key, value in found.items()
        if key in kept or key != "pixels"
    }
