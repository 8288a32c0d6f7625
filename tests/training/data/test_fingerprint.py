"""A run goes on with the very images that it began with, or not at all."""

import json

import numpy as np
import pytest
from image_places import write_folder
from image_places import write_npz
from PIL import Image
from training_runs import smallest

from training.data import array_split
from training.data import fingerprint
from training.data import load_source
from training.errors import RunError
from training.run_folder import check_inputs
from training.run_folder import record_inputs


def begin(folder, data):
    """What a run over these images does before its first step."""
    source = load_source(data, 1)
    inputs = check_inputs(folder, smallest(data=data), source)
    record_inputs(folder, inputs)
    return inputs


def test_arrays_with_other_pixels_are_refused(tmp_path):
    data, arrays = write_npz(tmp_path / "a.npz")
    began_with = begin(tmp_path, data)
    assert begin(tmp_path, data) == began_with
    for part in ("train", "test"):
        images = arrays[f"x_{part}"].copy()
        images[3, 5, 7, 0] ^= 1
        write_npz(tmp_path / "a.npz", **{**arrays, f"x_{part}": images})
        with pytest.raises(RunError, match="other images") as error:
            begin(tmp_path, data)
        assert f"data.{part}.pixels" in str(error.value)
        write_npz(tmp_path / "a.npz", **arrays)
    assert begin(tmp_path, data) == began_with


def test_a_file_with_other_pixels_is_refused(tmp_path):
    """Also one of the same name and size."""
    data = write_folder(tmp_path / "photos", count=10)
    run = tmp_path / "run"
    run.mkdir()
    pixels = np.zeros((40, 64, 3), np.uint8)
    path = tmp_path / "photos" / "cat" / "x.bmp"
    Image.fromarray(pixels).save(path)
    size = path.stat().st_size
    began_with = begin(run, data)
    assert begin(run, data) == began_with
    pixels[20, 30] = 1
    Image.fromarray(pixels).save(path)
    assert path.stat().st_size == size
    with pytest.raises(RunError, match=r"data\.(train|test)\.pixels"):
        begin(run, data)


def test_runs_without_checksums_of_pixels_go_on(tmp_path):
    """Older ones noted labels and names only, and do so no longer."""
    data, arrays = write_npz(tmp_path / "a.npz")
    inputs = begin(tmp_path, data)
    old = json.loads(json.dumps(inputs))
    for part in ("train", "test"):
        del old["data"][part]["pixels"]
    (tmp_path / "inputs.json").write_text(json.dumps(old))
    assert begin(tmp_path, data) == inputs
    assert json.loads((tmp_path / "inputs.json").read_text()) == inputs
    # Other labels are refused as before.
    (tmp_path / "inputs.json").write_text(json.dumps(old))
    labels = {"y_train": (arrays["y_train"] + 1) % 4}
    write_npz(tmp_path / "a.npz", **{**arrays, **labels})
    with pytest.raises(RunError, match="data.train.sha256"):
        begin(tmp_path, data)


def test_the_order_and_the_shape_of_arrays_count():
    images = np.random.default_rng(0).integers(0, 256, (3000, 2, 2, 1), "uint8")
    whole = array_split(images, np.zeros(3000))
    found = whole.fingerprint()["pixels"]
    assert whole.subset(np.arange(3000)).fingerprint()["pixels"] == found
    copied = array_split(images.copy(), np.zeros(3000))
    assert copied.fingerprint()["pixels"] == found
    others = (
        whole.subset(np.arange(3000)[::-1]),
        whole.subset(np.arange(2999)),
        array_split(images.reshape(3000, 1, 4, 1), np.zeros(3000)),
    )
    assert all(x.fingerprint()["pixels"] != found for x in others)
    # A part of a part is that part.
    part = whole.subset(np.arange(100, 200)).subset(np.arange(50))
    direct = whole.subset(np.arange(100, 150))
    assert part.fingerprint() == direct.fingerprint()


def test_of_large_files_size_and_end_count(tmp_path):
    path = tmp_path / "photo"
    data = bytearray(2 * fingerprint.TAIL)
    path.write_bytes(data)
    before = fingerprint.of_files([path])
    path.write_bytes(data + b"\0")
    assert fingerprint.of_files([path]) != before
    data[-fingerprint.TAIL] = 1
    path.write_bytes(data)
    assert fingerprint.of_files([path]) != before
    path.unlink()
    assert fingerprint.of_files([path]) != before
