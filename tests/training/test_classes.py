import dataclasses

import numpy as np
import pytest

from training.classes import in_order_of
from training.data import array_split
from training.data import Source
from training.errors import RunError


def source(names, labels):
    images = np.zeros((len(labels), 2, 2, 3), np.uint8)
    images += np.arange(len(labels), dtype="u1")[:, None, None, None]
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


@pytest.mark.parametrize(
    "names", [["dog", "cat", "cat"], ["cat", "cat", "dog"], ["cat", "cat"]]
)
def test_a_name_that_a_model_has_twice_is_refused(names):
    with pytest.raises(RunError, match="2 classes of the model .* 'cat'"):
        in_order_of(source(["cat", "dog"], [0, 1]), names)


def test_unknown_classes_are_named_and_left_out(capsys):
    data = source(["bird", "cat", "fish", "dog"], [0, 1, 3, 2, 3, 3])
    found = in_order_of(data, ["cat", "dog", "owl"])
    assert found.class_names == ["cat", "dog", "owl"]
    for split in (found.train, found.test):
        np.testing.assert_array_equal(split.labels, [0, 1, 1, 1])
        assert [split.read(np.array([i]))[0].max() for i in range(4)] == [
            1,
            2,
            4,
            5,
        ]
    out = capsys.readouterr().out
    assert "not know bird, fish: their images are left out (2 train, 2" in out
    # A part of which nothing is left is none.
    data = source(["bird", "cat"], [1, 1, 0])
    data = dataclasses.replace(data, test=data.test.subset([2]))
    assert in_order_of(data, ["cat", "owl"]).test is None


def test_other_names_are_matched_by_their_order(capsys):
    data = source(["cat", "dog"], [0, 1])
    assert in_order_of(data, ["Katze", "Hund"]) is data
    assert "matched by their order" in capsys.readouterr().out


def test_a_stream_cannot_be_renumbered():
    data = Source(["cat", "dog"], object(), None, None)
    with pytest.raises(RunError, match="in its order, dog, cat. Received: cat"):
        in_order_of(data, ["dog", "cat"])
