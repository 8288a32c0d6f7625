import numpy as np
import pytest

from training.classes import in_order_of
from training.data import array_split
from training.data import Source
from training.errors import RunError


def source(names, labels):
    images = np.zeros((len(labels), 2, 2, 3), np.uint8)
    split = array_split(images, labels)
    return Source(list(names), split, None, split)


def test_labels_become_the_models():
    data = source(["cat", "dog"], [0, 1, 1])
    found = in_order_of(data, ["bird", "dog", "cat"])
    assert found.class_names == ["bird", "dog", "cat"]
    np.testing.assert_array_equal(found.train.labels, [2, 1, 1])
    np.testing.assert_array_equal(found.test.labels, [2, 1, 1])
    assert found.validation is None
    np.testing.assert_array_equal(data.train.labels, [0, 1, 1])


def test_what_fits_stays():
    data = source(["cat", "dog"], [0, 1])
    assert in_order_of(data, None) is data
    assert in_order_of(data, ["cat", "dog"]) is data
    # Which is meant where a name is there twice, nobody can say.
    assert in_order_of(data, ["dog", "cat", "cat"]) is data


def test_other_names_are_matched_by_their_order(capsys):
    data = source(["cat", "dog"], [0, 1])
    assert in_order_of(data, ["Katze", "Hund"]) is data
    assert "matched by their order" in capsys.readouterr().out


def test_a_stream_cannot_be_renumbered():
    data = Source(["cat", "dog"], object(), None, None)
    with pytest.raises(RunError, match="in its order, dog, cat. Received: cat"):
        in_order_of(data, ["dog", "cat"])
