import keras
import numpy as np
import pytest

import keras_ratn
from keras_ratn.preprocessing import preprocessing_layer

WHITE = np.full((1, 2, 2, 3), 255, "uint8")
# (255 - mean) / deviation, worked out by hand from the published statistics.
WHITE_AS = {
    "imagenet": [2.2489, 2.4286, 2.6400],
    "cifar": [2.0588, 2.1268, 2.1158],
}


@pytest.mark.parametrize("family", ["imagenet", "cifar"])
def test_pixels_have_the_values_worked_out_by_hand(family):
    scaled = keras_ratn.preprocess_input(WHITE, family=family)
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(scaled)[0, 1, 1], WHITE_AS[family], atol=2e-4
    )


@pytest.mark.parametrize("family", ["imagenet", "cifar"])
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_the_layer_inside_does_the_same(family, data_format):
    images = WHITE.astype("float32")
    if data_format == "channels_first":
        images = images.transpose(0, 3, 1, 2)
    layer = preprocessing_layer(family, 3, data_format)
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(layer(images)),
        keras.ops.convert_to_numpy(
            keras_ratn.preprocess_input(images, family, data_format)
        ),
        atol=1e-5,
    )


@pytest.mark.parametrize("channels", [1, 4])
def test_other_channels_are_scaled_plainly(channels):
    images = np.array([0, 127.5, 255], "float32")
    images = np.tile(images.reshape(1, 3, 1, 1), (1, 1, 1, channels))
    layer = preprocessing_layer("imagenet", channels, "channels_last")
    for scaled in (layer(images), keras_ratn.preprocess_input(images)):
        np.testing.assert_allclose(
            keras.ops.convert_to_numpy(scaled)[0, :, 0, 0], [-1, 0, 1]
        )


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (np.array([["a"]]), "integer or floating dtype"),
        (np.zeros((2, 2, 3), bool), "Received: dtype=bool"),
        ("cat.jpg", "integer or floating dtype"),
        (np.zeros((2, 2)), "one image of 3 dimensions or a batch of 4"),
        (np.zeros((0, 2, 2, 3)), "must not be empty"),
        (np.full((2, 2, 3), -1.0), "between 0 and 255"),
        (np.full((2, 2, 3), 256), "values from 256 to 256"),
        (np.full((2, 2, 3), np.nan), "between 0 and 255"),
        (np.full((2, 2, 3), 0.5), "look scaled already"),
    ],
)
def test_wrong_images_are_explained(images, words):
    with pytest.raises(ValueError, match=words):
        keras_ratn.preprocess_input(images)


@pytest.mark.parametrize(
    "dtype", ["uint8", "int16", "int32", "float16", "bfloat16", "float32"]
)
def test_tensors_of_each_dtype_are_taken(dtype):
    images = keras.ops.convert_to_tensor(WHITE // 5, dtype=dtype)
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(keras_ratn.preprocess_input(images)),
        keras.ops.convert_to_numpy(keras_ratn.preprocess_input(WHITE // 5)),
        atol=1e-5,
    )


def test_tensors_are_checked_like_arrays():
    for pixel, words in ((-1.0, "between 0 and 255"), (0.5, "look scaled")):
        images = keras.ops.full((2, 2, 3), pixel)
        with pytest.raises(ValueError, match=words):
            keras_ratn.preprocess_input(images)


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="maps TensorFlow tensors"
)
def test_a_dataset_is_mapped():
    import tensorflow as tf

    dataset = tf.data.Dataset.from_tensors(WHITE)
    (scaled,) = dataset.map(keras_ratn.preprocess_input)
    np.testing.assert_allclose(scaled[0, 1, 1], WHITE_AS["imagenet"], atol=2e-4)

    for shape, words in (
        (None, "3 dimensions or a batch of 4"),
        ((1, None, None, None), "channels must be known"),
    ):
        images = tf.data.Dataset.from_generator(
            lambda: [WHITE], output_signature=tf.TensorSpec(shape, "uint8")
        )
        with pytest.raises(ValueError, match=words):
            images.map(keras_ratn.preprocess_input)


def test_unknown_family_is_explained():
    with pytest.raises(ValueError, match="`family` must be one of"):
        keras_ratn.preprocess_input(WHITE, family="mnist")


def test_predictions_are_named_best_first():
    scores = np.array([[0.1, 0.7, 0.2], [0.5, 0.2, 0.3]])
    decoded = keras_ratn.decode_predictions(
        scores, top=2, class_names=["cat", "dog", "owl"]
    )
    assert decoded == [
        [(1, "dog", 0.7), (2, "owl", 0.2)],
        [(0, "cat", 0.5), (2, "owl", 0.3)],
    ]


@pytest.mark.parametrize(
    "scores",
    [
        np.array([[-128, 5, 127, 5]], "int8"),
        np.array([[0, 5, 255, 5]], "uint8"),
    ],
)
def test_integer_scores_are_ranked_too(scores):
    decoded = keras_ratn.decode_predictions(scores, 4, class_names="abcd")
    assert [name for _, name, _ in decoded[0]] == ["c", "b", "d", "a"]


def test_names_come_from_the_model():
    inputs = keras.Input((4,))
    head = keras_ratn.layers.ClassificationHead(2, ["cat", "dog"])
    model = keras.Model(inputs, head(inputs))
    outer = keras.Sequential([keras.Input((4,)), model])
    for each in (model, outer):
        decoded = keras_ratn.decode_predictions([[0.9, 0.1]], 1, model=each)
        assert decoded[0][0][1] == "cat"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (([[0.5, 0.5]],), "names of the classes are not known"),
        (([0.5, 0.5],), r"shape \(batch_size, classes\)"),
        (([[0.5, 0.5]], 0), "`top` must be an integer"),
    ],
)
def test_undecodable_predictions_are_explained(arguments, words):
    with pytest.raises(ValueError, match=words):
        keras_ratn.decode_predictions(*arguments)


def test_wrong_number_of_names_is_explained():
    with pytest.raises(ValueError, match="one name for each class"):
        keras_ratn.decode_predictions([[0.5, 0.5]], class_names=["cat"])
