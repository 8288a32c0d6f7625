import types

import keras
import numpy as np
import pytest

from training.config import DataConfig
from training.data import evaluation_batches
from training.data import own_errors
from training.data import training_batches
from training.data.stream import check_stream
from training.data.stream import Stream
from training.errors import RunError
from training.evaluate import predictions

tf = pytest.importorskip("tensorflow")
COUNT = 22


@pytest.fixture
def stream(tmp_path):
    """22 images in 4 TFRecord files; number i is filled with i."""
    paths = [tmp_path / f"tiny-train.tfrecord-0000{i}" for i in range(4)]
    writers = [tf.io.TFRecordWriter(str(path)) for path in paths]
    for number in range(COUNT):
        image = np.full((40, 60, 3), number, np.uint8)
        record = tf.io.serialize_tensor(tf.constant(image)).numpy()
        writers[number % 4].write(bytes([number]) + record)
    for writer in writers:
        writer.close()

    def deserialize_example(record):
        label = tf.io.decode_raw(tf.strings.substr(record, 0, 1), tf.uint8)[0]
        image = tf.io.parse_tensor(tf.strings.substr(record, 1, -1), tf.uint8)
        return {"image": tf.ensure_shape(image, (40, 60, 3)), "label": label}

    split = types.SimpleNamespace(
        num_examples=COUNT, num_bytes=999, filepaths=paths
    )
    features = types.SimpleNamespace(deserialize_example=deserialize_example)
    info = types.SimpleNamespace(
        name="tiny", splits={"train": split}, features=features
    )
    return Stream(info, "train", image_size=32)


def labels_of(batches):
    return [list(map(int, np.asarray(batch[1]))) for batch in batches]


def test_order_is_a_function_of_seed_and_epoch(stream):
    whole = labels_of(training_batches(stream, 5, seed=1, epochs=3))
    assert len(whole) == 3 * 4
    epochs = [sum(whole[i : i + 4], []) for i in (0, 4, 8)]
    assert all(len(set(epoch)) == 20 for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3
    late = labels_of(training_batches(stream, 5, 1, epochs=3, first_epoch=2))
    assert late == whole[8:]
    assert labels_of(training_batches(stream, 5, seed=2, epochs=3)) != whole


def test_images_fit_their_labels(stream):
    for inputs, labels in training_batches(stream, 5, seed=1, epochs=1):
        images = keras.ops.convert_to_numpy(inputs["images"])
        assert images.shape == (5, 32, 32, 3) and images.dtype == np.uint8
        np.testing.assert_array_equal(images[:, 0, 0, 0], np.asarray(labels))
        np.testing.assert_array_equal(images[:, 31, 31, 2], np.asarray(labels))


def test_evaluation_counts_each_image_once(stream):
    counted, total = [], 0
    for _, labels, weights in evaluation_batches(stream, 5):
        labels, weights = np.asarray(labels), np.asarray(weights)
        assert labels.shape == (5,)
        counted += list(labels[weights > 0])
        total += weights.sum()
    assert sorted(counted) == list(range(COUNT))
    assert total == pytest.approx(25)


def test_its_size_and_its_files_tell_it_from_others(stream):
    found = stream.fingerprint()
    assert (found["images"], found["bytes"]) == (COUNT, 999)
    assert stream.fingerprint() == found
    path = stream.info.splits["train"].filepaths[2]
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    assert stream.fingerprint()["pixels"] != found["pixels"]


@pytest.mark.parametrize("through", ["batches", "fit"])
def test_a_broken_file_is_named_by_its_data_set(stream, through):
    path = stream.info.splits["train"].filepaths[2]
    path.write_bytes(path.read_bytes()[:-30])
    batches = training_batches(stream, 5, seed=1, epochs=1)
    model = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(1)])
    model.compile(loss="mse")
    with pytest.raises(RunError) as caught, own_errors(stream):
        if through == "fit":
            pairs = batches.map(
                lambda inputs, label: (
                    tf.cast(inputs["images"], "float32"),
                    label,
                )
            )
            model.fit(pairs, shuffle=False, verbose=0)
        else:
            list(batches)
    message = str(caught.value)
    assert message.startswith(
        "Split 'train' of 'tiny' has a record that cannot be read. Prepare"
    )
    assert "truncated record" in message
    assert "Op:" not in message and "\n" not in message


def test_errors_of_the_model_stay_what_they_are(stream):
    with pytest.raises(ValueError, match="of the model"), own_errors(stream):
        raise ValueError("of the model")


def test_a_model_is_evaluated_on_it(stream):
    """Each image once, those that fill up the last batch not at all."""

    def predict(images):
        return np.eye(COUNT)[images[:, 0, 0, 0]]

    scores, labels = predictions(predict, stream, 5)
    assert sorted(labels) == list(range(COUNT))
    np.testing.assert_array_equal(scores.argmax(axis=1), labels)


def test_what_needs_all_labels_is_refused(stream):
    with pytest.raises(RunError, match="`data.label_noise` needs a data set"):
        check_stream(DataConfig("tfds", "big", label_noise=0.1))
    check_stream(DataConfig("tfds", "big"))
    with pytest.raises(RunError, match="`augmentation.alternate_flip` needs"):
        training_batches(stream, 4, 1, epochs=1, alternate=True)
    with pytest.raises(RunError, match="several processes"):
        training_batches(stream, 4, 1, epochs=1, shard=(0, 2))
    stream.info.splits["train"].filepaths[0] = "tiny.array_record"
    with pytest.raises(RunError, match="must be TFRecords"):
        evaluation_batches(stream, 4)
