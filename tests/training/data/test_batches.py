import keras
import numpy as np
import pytest

from training.data import array_split
from training.data import EvaluationBatches
from training.data import num_steps
from training.data import Split
from training.data import training_arrays
from training.data import training_batches
from training.errors import RunError


def numbered_split(count):
    """Image number i is filled with i, and so is its label."""
    images = np.zeros((count, 2, 2, 1), np.uint8)
    images += np.arange(count, dtype=np.uint8)[:, None, None, None]
    return array_split(images, np.arange(count))


def labels_of(batches):
    return [list(map(int, labels)) for _, labels in batches]


def test_order_is_a_function_of_seed_and_epoch():
    split = numbered_split(10)
    whole = labels_of(training_arrays(split, 3, seed=1, epochs=3))
    assert len(whole) == 9
    # Each epoch has an order of its own, without repetition.
    epochs = [sum(whole[i : i + 3], []) for i in (0, 3, 6)]
    assert len({tuple(epoch) for epoch in epochs}) == 3
    assert all(len(set(epoch)) == 9 for epoch in epochs)
    # It does not matter where one comes in.
    late = labels_of(training_arrays(split, 3, 1, epochs=3, first_epoch=2))
    assert late == whole[6:]
    assert labels_of(training_arrays(split, 3, seed=2, epochs=3)) != whole


def test_images_and_labels_stay_together_through_fit_s_batches():
    batches = training_batches(numbered_split(10), 3, seed=1, epochs=1)
    seen = []
    for inputs, labels in batches:
        labels = keras.ops.convert_to_numpy(labels)
        images = keras.ops.convert_to_numpy(inputs["images"])
        np.testing.assert_array_equal(images[:, 0, 0, 0], labels)
        np.testing.assert_array_equal(inputs["labels"], labels)
        seen += list(labels)
    expected = labels_of(training_arrays(numbered_split(10), 3, 1, epochs=1))
    assert seen == sum(expected, [])


def sided_split(count):
    """Image number i is i on its left and i + 100 on its right."""
    images = np.zeros((count, 2, 2, 1), np.uint8)
    images += np.arange(count, dtype=np.uint8)[:, None, None, None]
    images[:, :, 1] += 100
    return array_split(images, np.arange(count))


def sides_by_epoch(batches, epochs, count):
    """Whether each image was mirrored in each epoch; all are there."""
    images, labels = [], []
    for inputs, truth in batches:
        images += list(keras.ops.convert_to_numpy(inputs["images"]))
        labels += list(keras.ops.convert_to_numpy(truth))
    mirrored = np.full((epochs, count), -1)
    for index, (image, label) in enumerate(zip(images, labels)):
        left, right = image[0, :, 0]
        assert {left, right} == {label, label + 100}
        mirrored[index // count, label] = left > right
    assert mirrored.min() >= 0
    return mirrored


def test_images_are_shown_as_they_are_and_mirrored_in_turn():
    split = sided_split(64)
    batches = training_batches(split, 16, seed=1, epochs=4, alternate=True)
    found = sides_by_epoch(batches, 4, 64)
    np.testing.assert_array_equal(found[:-1] + found[1:], 1)
    assert 16 < found[0].sum() < 48
    late = training_batches(split, 16, 1, 4, first_epoch=3, alternate=True)
    np.testing.assert_array_equal(sides_by_epoch(late, 1, 64)[0], found[3])
    other = training_batches(split, 16, seed=2, epochs=1, alternate=True)
    assert (sides_by_epoch(other, 1, 64)[0] != found[0]).any()
    plain = training_batches(split, 16, seed=1, epochs=2)
    assert sides_by_epoch(plain, 2, 64).max() == 0


def test_processes_share_each_batch():
    split = numbered_split(10)
    whole = labels_of(training_arrays(split, 4, seed=1, epochs=2))
    parts = [
        labels_of(training_arrays(split, 4, 1, epochs=2, shard=(i, 2)))
        for i in range(2)
    ]
    assert [a + b for a, b in zip(*parts)] == whole


def test_evaluation_counts_each_image_once():
    batches = EvaluationBatches(numbered_split(10), 4)
    assert len(batches) == 3
    counted, total = [], 0
    for index in range(3):
        inputs, labels, weights = batches[index]
        assert inputs["images"].shape == (4, 2, 2, 1)
        counted += list(labels[weights > 0])
        total += weights.sum()
    assert counted == list(range(10))
    assert total == pytest.approx(12)  # places


def with_unreadable(count, bad):
    split = numbered_split(count)

    def read(numbers):
        images, readable = split.read(numbers)
        return images, readable & ~np.isin(numbers, bad)

    return Split(split.labels, read)


def test_unreadable_images_are_neither_trained_on_nor_counted():
    split = with_unreadable(8, bad=[2, 5])
    for inputs, labels in training_arrays(split, 4, seed=1, epochs=3):
        assert not {2, 5} & set(labels)
        np.testing.assert_array_equal(inputs["images"][:, 0, 0, 0], labels)
    _, labels, weights = EvaluationBatches(split, 8)[0]
    assert list(labels[weights == 0]) == [2, 5]
    assert weights.sum() == pytest.approx(8)  # places


def test_a_batch_without_a_readable_image_gets_one_of_another():
    split = with_unreadable(8, bad=[6, 7])
    for batch_size in (1, 2):
        batches = training_arrays(split, batch_size, seed=1, epochs=3)
        for inputs, labels in batches:
            assert not {6, 7} & set(labels)
            np.testing.assert_array_equal(inputs["images"][:, 0, 0, 0], labels)
    assert list(split.labels) == list(range(8))


def test_a_split_without_a_readable_image_is_refused():
    split = with_unreadable(4, range(4))
    with pytest.raises(RunError, match="None of the 4 images can be read"):
        list(training_arrays(split, 4, 1, epochs=1))
    with pytest.raises(RunError, match="None of the 4 images can be read"):
        EvaluationBatches(split, 4)
    assert split.errors


def test_a_batch_larger_than_the_data_is_refused():
    with pytest.raises(RunError, match="only 10 training images"):
        num_steps(numbered_split(10), 11)
