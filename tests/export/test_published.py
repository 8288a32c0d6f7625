import errno
import os
import time

import pytest

from export.published import publishing


def test_refuses_a_folder_in_the_place_of_a_file(tmp_path):
    target = tmp_path / "m.tflite"
    target.mkdir()
    (target / "thesis.txt").write_text("words")
    with pytest.raises(ValueError, match="there is a folder of that name"):
        with publishing(target):
            pass
    assert (target / "thesis.txt").read_text() == "words"


def test_a_full_disk_leaves_the_old_file(tmp_path):
    target = tmp_path / "m.tflite"
    target.write_bytes(b"old")
    with pytest.raises(ValueError, match="m.tflite': No space left on device"):
        with publishing(target) as scratch:
            (scratch / target.name).write_bytes(b"half")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert target.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["m.tflite"]


def test_removes_what_a_killed_process_left(tmp_path):
    for name, age in ((".export-dead", 2 * 86400), (".export-alive", 60)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "half.tflite").write_bytes(b"half")
        then = time.time() - age
        os.utime(tmp_path / name, (then, then))
    with publishing(tmp_path / "m.tflite") as scratch:
        (scratch / "m.tflite").write_bytes(b"whole")
    assert sorted(os.listdir(tmp_path)) == [".export-alive", "m.tflite"]
