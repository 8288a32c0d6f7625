import keras
import numpy as np
import pytest

import keras_ratn

LAYERS = {
    "module": lambda: keras_ratn.layers.AttentionModule(4, mask_depth=1),
    "unit": lambda: keras_ratn.layers.ResidualUnit(4),
    "attention": lambda: keras_ratn.layers.get("bam", reduction_ratio=2),
    "tokens": lambda: keras_ratn.layers.get("external"),
}


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("way", ["file", "clone"])
def test_what_was_frozen_comes_back_frozen(name, way, tmp_path):
    inputs = keras.Input((8, 8, 4))
    layer = LAYERS[name]()
    model = keras.Model(inputs, layer(inputs))
    assert layer.trainable_variables
    layer.trainable = False
    if way == "file":
        model.save(tmp_path / "model.keras")
        back = keras.saving.load_model(tmp_path / "model.keras")
    else:
        back = keras.models.clone_model(model)
    assert not back.layers[-1].trainable
    assert back.trainable_variables == []
    back.layers[-1].trainable = True
    assert len(back.trainable_variables) > 0


def test_a_frozen_network_from_a_file_keeps_its_values(tmp_path):
    model = keras_ratn.ResidualAttentionNetwork(
        keras_ratn.Architecture(
            stem="cifar",
            stem_filters=4,
            stage_filters=(8,),
            num_modules=(1,),
            mask_depths=(1,),
            num_trunk_units=1,
            num_tail_units=0,
        ),
        classes=2,
    )
    for layer in model.layers[:-1]:
        layer.trainable = False
    model.save(tmp_path / "model.keras")
    model = keras.saving.load_model(tmp_path / "model.keras")
    assert [v.name for v in model.trainable_variables] == ["kernel", "bias"]
    frozen = model.layers[:-1]
    before = [w for layer in frozen for w in layer.get_weights()]
    model.compile("sgd", "sparse_categorical_crossentropy", jit_compile=False)
    images = np.random.default_rng(0).uniform(0, 255, (4, 32, 32, 3))
    model.train_on_batch(images, np.array([0, 1, 0, 1]))
    after = [w for layer in frozen for w in layer.get_weights()]
    for one, other in zip(before, after):
        np.testing.assert_array_equal(one, other)
