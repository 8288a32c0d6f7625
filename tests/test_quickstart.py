"""The READMEs' Python blocks run, in order, in a folder of tiny photos.

What the reader's machine would do in hours is made small from outside: the
named networks get few channels, and `fit` stops after one step. The blocks
themselves run as printed.
"""

import dataclasses
import pathlib
import re

import keras
import numpy as np
import pytest

from keras_ratn.models.architecture import VARIANTS
from keras_ratn.models.pretrained import CHECKPOINTS

ROOT = pathlib.Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
# Those of the folders read files that the first one's blocks write.
READMES = [README] + [
    (ROOT / folder / "README.md").read_text()
    for folder in (
        "keras_ratn/models",
        "keras_ratn/weights",
        "training",
        "export",
    )
]
BLOCKS = re.findall(r"```python\n(.*?)```", "\n".join(READMES), re.DOTALL)


@pytest.fixture
def small_world(tmp_path, monkeypatch):
    """A folder of photos to stand in, and networks small enough for a test."""
    random = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for index in range(4):
            pixels = random.integers(0, 256, (100, 120, 3))
            path = tmp_path / "photos" / name / f"{index}.jpg"
            keras.utils.save_img(path, pixels)
    keras.utils.save_img(tmp_path / "photo.jpg", pixels)
    monkeypatch.chdir(tmp_path)
    for name in VARIANTS.keys() - CHECKPOINTS.keys():  # those fit trained ones
        architecture = VARIANTS[name]
        small = dataclasses.replace(
            architecture,
            # Of fewer than 16 channels, training a strided convolution of one
            # pixel may crash on AVX-512 (oneDNN #6035, in TensorFlow 2.21).
            stem_filters=8,
            stage_filters=(32,) * len(architecture.stage_filters),
            mask_depths=(1,) * len(architecture.stage_filters),
            num_modules=(1, 0, 0),
            num_tail_units=0,
        )
        monkeypatch.setitem(VARIANTS, name, small)
    fit = keras.Model.fit

    def fit_one_step(self, *args, **kwargs):
        kwargs |= {"epochs": 1, "steps_per_epoch": 1, "verbose": 0}
        return fit(self, *args, **kwargs)

    monkeypatch.setattr(keras.Model, "fit", fit_one_step)
    return tmp_path


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow",
    reason="image_dataset_from_directory makes TensorFlow data sets",
)
def test_blocks_run_in_order(small_world):
    pytest.importorskip("matplotlib")
    assert len(BLOCKS) >= 8
    for block in BLOCKS:
        exec(compile(block, "README.md", "exec"), {})
    for made in ("photos.keras", "attention.png", "overlay.png"):
        assert (small_world / made).stat().st_size > 0


def test_table_has_every_network():
    from tests.model_table import README

    table = README.read_text().partition("<!-- model table -->")[2]
    table = table.partition("<!-- end of model table -->")[0]
    named = re.findall(r"^\| `(\w+)`", table, re.MULTILINE)
    assert sorted(name.lower() for name in named) == sorted(VARIANTS)


def test_weights_table_is_that_of_the_cards():
    from tests.model_table import replaced
    from tests.weights_table import BEGIN
    from tests.weights_table import END
    from tests.weights_table import README
    from tests.weights_table import rows

    text = README.read_text()
    assert BEGIN in text
    assert text == replaced(text, BEGIN, END, rows())


def test_the_first_page_is_short_and_of_words():
    """Two hundred lines, and three numbers for a hundred words at most."""
    assert len(README.splitlines()) <= 200
    text = re.sub(r"```.*?```", "", README, flags=re.DOTALL)
    lines = text.splitlines()
    text = "\n".join(
        line for line in lines if not line.startswith(("|", "    ", "<img"))
    )
    text = re.sub(r"`[^`]*`|\]\([^)]*\)|https://\S+", "", text)
    numbers = re.findall(r"(?<!\w)\d[\d.,]*", text)
    assert len(numbers) <= 3 * len(text.split()) / 100


def test_links_between_the_pages_lead_somewhere():
    pages = [ROOT / "README.md", *ROOT.glob("[ekt]*/**/README.md")]
    for page in pages:
        links = re.findall(r"\]\(\s*([^)#\s]+)\)", page.read_text())
        links += re.findall(r'src="([^"]+)"', page.read_text())
        for link in links:
            if "://" not in link:
                assert (page.parent / link).exists(), (page, link)
