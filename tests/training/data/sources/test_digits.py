import sys

import pytest

from training.config import DataConfig
from training.data import load_source
from training.errors import RunError


def test_the_digits_without_scikit_learn(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(RunError, match="pip install keras_ratn.train"):
        load_source(DataConfig("digits"), 1)
