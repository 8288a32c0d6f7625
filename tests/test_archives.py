"""Saved models that would fill the memory are not read."""

import zipfile

import keras
import pytest

import keras_ratn
from export.convert import load_model
from keras_ratn import archives
from keras_ratn.archives import check_archive
from training.errors import RunError
from training.evaluate import _load


@pytest.fixture
def bomb(tmp_path, monkeypatch):
    """Sixteen megabytes of zeros in sixteen kilobytes, and nothing else."""
    monkeypatch.setattr(archives, "HARMLESS", 2**20)
    path = tmp_path / "bomb.keras"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", "{}")
        archive.writestr("metadata.json", "{}")
        archive.writestr("model.weights.h5", bytes(2**24))
    assert path.stat().st_size < 2**15
    # Whoever inflates it fails.
    monkeypatch.setattr(zipfile.ZipExtFile, "read", None)
    return path


def test_a_bomb_is_refused_before_it_is_inflated(bomb):
    with pytest.raises(ValueError, match="would become 17 MB in memory"):
        load_model(bomb)
    with pytest.raises(RunError, match="would become 17 MB in memory"):
        _load(bomb)
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    with pytest.raises(ValueError, match="would become 17 MB in memory"):
        keras_ratn.load_weights(model, bomb)


def test_models_pass_even_compressed(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "HARMLESS", 0)
    model = keras.Sequential([keras.Input((64,)), keras.layers.Dense(256)])
    model.save(tmp_path / "model.keras")
    check_archive(tmp_path / "model.keras")
    compressed = tmp_path / "compressed.keras"
    with (
        zipfile.ZipFile(tmp_path / "model.keras") as source,
        zipfile.ZipFile(compressed, "w", zipfile.ZIP_DEFLATED) as target,
    ):
        for name in source.namelist():
            target.writestr(name, source.read(name))
    assert load_model(compressed).count_params() == model.count_params()
    (tmp_path / "text.keras").write_text("no archive")
    check_archive(tmp_path / "text.keras")
