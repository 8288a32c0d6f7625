import numpy as np

from training.data import array_split
from training.data import hold_out


def test_held_out_images_are_a_function_of_the_seed():
    split = array_split(np.zeros((20, 2, 2, 1), np.uint8), np.arange(20))
    rest, held_out = hold_out(split, 0.25, seed=1)
    assert len(held_out) == 5
    assert sorted([*rest.labels, *held_out.labels]) == list(range(20))
    np.testing.assert_array_equal(
        hold_out(split, 0.25, seed=1)[1].labels, held_out.labels
    )
    assert list(hold_out(split, 0.25, seed=2)[1].labels) != list(
        held_out.labels
    )
    assert hold_out(split, 0.0, seed=1) == (split, None)
