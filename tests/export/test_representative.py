"""Representative images in the forms that data sets come in."""

import keras
import numpy as np
import pytest
from tiny_models import random_pixels

from export.representative import representative_images

IMAGES = random_pixels(16, 8)
LABELS = np.arange(16)


def model():
    inputs = keras.Input((8, 8, 3))
    return keras.Model(inputs, keras.layers.Flatten()(inputs))


def of_tensorflow_datasets(batch_size=None):
    """What `tfds.load` gives: dictionaries of tensors, a batch each or not."""
    tf = pytest.importorskip("tensorflow")
    data = {"image": IMAGES.astype("uint8"), "label": LABELS}
    data = tf.data.Dataset.from_tensor_slices(data)
    return data if batch_size is None else data.batch(batch_size)


FORMS = {
    "array": lambda: IMAGES,
    "batches": lambda: [IMAGES[:8], IMAGES[8:]],
    "pairs": lambda: [(IMAGES, LABELS)],
    "dictionaries": lambda: [{"label": LABELS, "image": IMAGES}],
    "plural": lambda: [{"images": IMAGES}],
    "pairs of dictionaries": lambda: [({"images": IMAGES}, LABELS)],
    "tfds": lambda: of_tensorflow_datasets(),
    "tfds in batches": lambda: of_tensorflow_datasets(5),
    "generator": lambda: ({"image": image} for image in IMAGES),
}


@pytest.mark.parametrize("form", FORMS)
def test_images_are_found_in_every_form(form):
    found = representative_images(FORMS[form](), model(), pixels=False)
    expected = IMAGES.astype("uint8") if "tfds" in form else IMAGES
    np.testing.assert_array_equal(found, expected)


def test_other_names_are_said():
    data = [{"pixels": IMAGES, "label": LABELS}]
    with pytest.raises(
        ValueError, match="'image', 'images'.*'pixels', 'label'"
    ):
        representative_images(data, model())
