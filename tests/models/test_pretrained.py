"""Weights: files, names, and every way in which a file can be wrong."""

import dataclasses
import hashlib
import shutil

import keras
import numpy as np
import pytest
from shape_seeded import fill
from small_networks import small_network

import keras_ratn
from keras_ratn import Architecture
from keras_ratn import ResidualAttentionNetwork
from keras_ratn.models import pretrained
from keras_ratn.models.architecture import VARIANTS
from keras_ratn.models.named import Network
from keras_ratn.models.named import NETWORKS
from keras_ratn.models.pretrained import Checkpoint

TINY = Architecture(
    stem="cifar",
    stem_filters=4,
    stage_filters=(8, 16),
    num_modules=(1, 1),
    mask_depths=(1, 1),
    num_trunk_units=1,
    num_tail_units=0,
)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A filled network of 5 classes, and its two kinds of file."""
    folder = tmp_path_factory.mktemp("weights")
    model = fill(ResidualAttentionNetwork(TINY, classes=5))
    model.save_weights(folder / "tiny.weights.h5")
    model.save(folder / "tiny.keras")
    return model, folder


def _values(model):
    return [keras.ops.convert_to_numpy(v).copy() for v in model.variables]


@pytest.mark.parametrize("name", ["tiny.weights.h5", "tiny.keras"])
def test_a_path_gives_every_weight(files, name):
    model, folder = files
    loaded = ResidualAttentionNetwork(
        TINY, classes=5, weights=str(folder / name)
    )
    for a, b in zip(_values(loaded), _values(model)):
        np.testing.assert_array_equal(a, b)


def test_a_weights_file_may_have_a_shorter_name(files, tmp_path):
    model, folder = files
    path = tmp_path / "weights.h5"
    shutil.copy(folder / "tiny.weights.h5", path)
    other = ResidualAttentionNetwork(TINY, classes=5, weights=path)
    for a, b in zip(_values(other), _values(model)):
        np.testing.assert_array_equal(a, b)


def test_one_file_serves_without_top(files):
    model, folder = files
    loaded = ResidualAttentionNetwork(
        TINY, include_top=False, weights=folder / "tiny.weights.h5"
    )
    for a, b in zip(_values(loaded), _values(model)):
        np.testing.assert_array_equal(a, b)


def test_other_classes_keep_every_other_weight_and_say_so(files, capsys):
    model, folder = files
    loaded = ResidualAttentionNetwork(
        TINY, classes=3, weights=folder / "tiny.weights.h5"
    )
    said = capsys.readouterr().out.strip()
    assert said.count("\n") == 0
    assert "for 5 classes, here for 3" in said
    head = len(loaded.get_layer("predictions").variables)
    for a, b in zip(_values(loaded)[:-head], _values(model)[:-head]):
        np.testing.assert_array_equal(a, b)


def test_a_file_without_classifier_serves_with_top(tmp_path, capsys):
    path = tmp_path / "features.weights.h5"
    fill(ResidualAttentionNetwork(TINY, include_top=False)).save_weights(path)
    ResidualAttentionNetwork(TINY, weights=path)
    assert "is absent" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changes", "layer"),
    [
        ({"num_modules": (1, 2)}, "stage2_attention2"),
        ({"num_modules": (1, 0)}, "stage2_attention1"),
        ({"stage_filters": (8, 12)}, "stage2_unit"),
        ({"stem_filters": 8}, "stem_conv"),
        ({"num_trunk_units": 2}, "stage1_attention1"),
    ],
)
def test_another_architecture_is_named_and_leaves_the_model(
    files, changes, layer
):
    _, folder = files
    other = ResidualAttentionNetwork(dataclasses.replace(TINY, **changes))
    before = _values(other)
    with pytest.raises(ValueError, match=f"layer that differs: '{layer}'"):
        keras_ratn.load_weights(other, folder / "tiny.weights.h5")
    for a, b in zip(_values(other), before):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", ["tiny.weights.h5", "tiny.keras"])
def test_a_truncated_file_leaves_the_model(files, tmp_path, name):
    _, folder = files
    content = (folder / name).read_bytes()
    broken = tmp_path / name
    broken.write_bytes(content[: len(content) // 2])
    model = ResidualAttentionNetwork(TINY, classes=5)
    before = _values(model)
    with pytest.raises(ValueError, match="truncated, altered"):
        keras_ratn.load_weights(model, broken)
    for a, b in zip(_values(model), before):
        np.testing.assert_array_equal(a, b)


def test_an_altered_archive_is_noticed(files, tmp_path):
    _, folder = files
    content = bytearray((folder / "tiny.keras").read_bytes())
    content[len(content) // 2] ^= 0xFF
    broken = tmp_path / "tiny.keras"
    broken.write_bytes(content)
    model = ResidualAttentionNetwork(TINY, classes=5)
    with pytest.raises(ValueError, match="truncated, altered"):
        keras_ratn.load_weights(model, broken)


def test_an_altered_structure_gives_no_other_error(files, tmp_path):
    """HDF5 keeps no sums of its values, but its structure has to fit."""
    _, folder = files
    content = (folder / "tiny.weights.h5").read_bytes()
    broken = tmp_path / "tiny.weights.h5"
    errors = 0
    for position in range(8, 4000, 72):
        altered = bytearray(content)
        altered[position : position + 4] = b"\xff\x7f\x80\x01"
        broken.write_bytes(altered)
        try:
            pretrained._shapes_in_file(str(broken))
        except ValueError as error:
            assert "truncated, altered" in str(error)
            errors += 1
    assert errors > 2


def test_a_broken_file_is_noticed_before_anything_is_built(
    tmp_path, monkeypatch
):
    path = tmp_path / "notes.weights.h5"
    path.write_text("not weights")
    monkeypatch.setattr(keras, "Input", None)  # what every network begins with
    with pytest.raises(ValueError, match="truncated, altered or not one"):
        keras_ratn.Attention452(weights=path)


def test_a_saved_model_brings_the_names_of_its_classes(tmp_path):
    path = tmp_path / "pets.keras"
    names = ["cat", "dog"]
    ResidualAttentionNetwork(TINY, classes=2, class_names=names).save(path)
    same = ResidualAttentionNetwork(TINY, classes=2, weights=path)
    assert keras_ratn.class_names(same) == names
    other = ResidualAttentionNetwork(TINY, classes=3, weights=path)
    assert keras_ratn.class_names(other) is None
    named = ["a", "b"]
    other = ResidualAttentionNetwork(
        TINY, classes=2, weights=path, class_names=named
    )
    assert keras_ratn.class_names(other) == named


@pytest.mark.parametrize("file", ["pets.keras", "pets.weights.h5", "pets.h5"])
def test_a_file_brings_its_classes(tmp_path, capsys, file):
    """Which a network would else have at random, beside the others."""
    names = ["cat", "dog", "owl"]
    saved = ResidualAttentionNetwork(TINY, classes=3, class_names=names)
    if file.endswith(".keras"):
        saved.save(tmp_path / file)
    else:
        saved.save_weights(tmp_path / "pets.weights.h5")
        (tmp_path / "pets.weights.h5").rename(tmp_path / file)
        names = None
    loaded = ResidualAttentionNetwork(TINY, weights=tmp_path / file)
    assert loaded.output_shape == (None, 3)
    assert keras_ratn.class_names(loaded) == names
    for a, b in zip(_values(loaded), _values(saved), strict=True):
        np.testing.assert_array_equal(a, b)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("network", ["DANet50", "EANet50", "ResNet18"])
def test_named_networks_take_the_classes_of_a_file(network, tmp_path, capsys):
    saved = small_network(network, classes=3, class_names=list("abc"))
    saved.save(tmp_path / "own.keras")
    loaded = small_network(
        network, classes=None, weights=tmp_path / "own.keras"
    )
    assert keras_ratn.class_names(loaded) == list("abc")
    for a, b in zip(loaded.get_weights(), saved.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert capsys.readouterr().out == ""


def test_a_file_without_classifier_leaves_the_number_to_the_network(tmp_path):
    path = tmp_path / "features.keras"
    ResidualAttentionNetwork(TINY, include_top=False).save(path)
    model = ResidualAttentionNetwork(TINY, weights=path)
    assert model.output_shape == (None, 10)


def test_a_name_alone_brings_its_classes(files, registered):
    model = ResidualAttentionNetwork(TINY, weights="letters")
    assert model.output_shape == (None, 5)


def test_a_file_of_another_kind_is_refused(tmp_path):
    path = tmp_path / "notes.weights.h5"
    path.write_text("not weights")
    with pytest.raises(ValueError, match="truncated, altered or not one"):
        ResidualAttentionNetwork(TINY, weights=path)
    with pytest.raises(ValueError, match="ends in .h5 or .keras"):
        keras_ratn.load_weights(
            ResidualAttentionNetwork(TINY), tmp_path / "notes.txt"
        )


def test_a_failing_load_restores_the_model(files, monkeypatch):
    _, folder = files
    model = ResidualAttentionNetwork(TINY, classes=5)
    before = _values(model)

    def half_done(self, *args, **kwargs):
        self.variables[0].assign(self.variables[0] + 1)
        raise OSError("the disk went away")

    monkeypatch.setattr(keras.Model, "load_weights", half_done)
    with pytest.raises(ValueError, match="unchanged.*the disk went away"):
        keras_ratn.load_weights(model, folder / "tiny.weights.h5")
    for a, b in zip(_values(model), before):
        np.testing.assert_array_equal(a, b)


def test_a_missing_file_is_named():
    with pytest.raises(ValueError, match="does not exist.*gone.weights.h5"):
        ResidualAttentionNetwork(TINY, weights="gone.weights.h5")


@pytest.fixture
def registered(files, monkeypatch):
    """The tiny network as a variant with one packaged checkpoint."""
    _, folder = files
    path = folder / "tiny.weights.h5"
    checkpoint = Checkpoint(
        source="tiny.weights.h5",
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        classes=5,
        input_size=32,
        accuracy=20.0,
        licence="Apache-2.0",
        class_names=("a", "b", "c", "d", "e"),
    )
    monkeypatch.setitem(VARIANTS, "tiny", TINY)
    monkeypatch.setitem(pretrained.CHECKPOINTS, "tiny", {"letters": checkpoint})
    monkeypatch.setattr(pretrained, "PACKAGED", folder)
    return checkpoint


def test_a_name_gives_weights_and_class_names(files, registered):
    model = ResidualAttentionNetwork(TINY, weights="letters", classes=5)
    for a, b in zip(_values(model), _values(files[0])):
        np.testing.assert_array_equal(a, b)
    assert keras_ratn.class_names(model) == list("abcde")


def test_an_unknown_name_lists_what_exists(registered):
    with pytest.raises(ValueError, match=r"this network \('letters'\)"):
        ResidualAttentionNetwork(TINY, weights="digits")
    with pytest.raises(ValueError, match=r"this network \(none yet\)"):
        keras_ratn.Attention56(weights="imagenet")


def test_an_option_makes_it_another_network(registered):
    with pytest.raises(ValueError, match="none yet"):
        ResidualAttentionNetwork(
            TINY, weights="letters", attention_learning="naive"
        )


def test_a_name_with_top_fixes_the_classes(registered):
    with pytest.raises(ValueError, match="5 classes. Received: classes=7"):
        ResidualAttentionNetwork(TINY, weights="letters", classes=7)
    ResidualAttentionNetwork(
        TINY, weights="letters", classes=7, include_top=False
    )


def test_a_full_name_brings_its_classes(files, registered, monkeypatch):
    def builder(classes=None, **options):
        return ResidualAttentionNetwork(TINY, classes=classes, **options)

    monkeypatch.setitem(NETWORKS, "tiny", Network("Tiny", builder))
    model = keras_ratn.create_model("tiny:letters")
    assert model.output_shape == (None, 5)


def test_an_altered_packaged_file_is_refused(files, registered, monkeypatch):
    wrong = dataclasses.replace(registered, sha256="0" * 64)
    monkeypatch.setitem(pretrained.CHECKPOINTS, "tiny", {"letters": wrong})
    with pytest.raises(ValueError, match="not the one that was released"):
        ResidualAttentionNetwork(TINY, weights="letters", classes=5)


def test_a_download_is_checked(files, registered, monkeypatch, tmp_path):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    _, folder = files
    origin = tmp_path / "served"
    origin.mkdir()
    shutil.copy(folder / "tiny.weights.h5", origin)
    url = (origin / "tiny.weights.h5").as_uri()
    remote = dataclasses.replace(registered, source=url)
    wrong = dataclasses.replace(remote, sha256="0" * 64)
    monkeypatch.setattr(
        keras.utils,
        "get_file",
        lambda *args, **kwargs: _get_file(tmp_path, *args, **kwargs),
    )
    monkeypatch.setitem(pretrained.CHECKPOINTS, "tiny", {"letters": wrong})
    with pytest.raises(ValueError, match="(?i)hash|incomplete|corrupt"):
        ResidualAttentionNetwork(TINY, weights="letters", classes=5)
    monkeypatch.setitem(pretrained.CHECKPOINTS, "tiny", {"letters": remote})
    model = ResidualAttentionNetwork(TINY, weights="letters", classes=5)
    for a, b in zip(_values(model), _values(files[0])):
        np.testing.assert_array_equal(a, b)


_keras_get_file = keras.utils.get_file


def _get_file(cache, *args, **kwargs):
    """Keras's own, with a cache of the test's."""
    return _keras_get_file(*args, cache_dir=str(cache), **kwargs)


def test_every_registered_checkpoint_is_complete():
    for variant, checkpoints in pretrained.CHECKPOINTS.items():
        assert variant in VARIANTS
        for name, checkpoint in checkpoints.items():
            assert name.isidentifier()
            assert len(checkpoint.sha256) == 64
            assert checkpoint.licence
            if "://" not in checkpoint.source:
                assert (pretrained.PACKAGED / checkpoint.source).is_file()


@pytest.mark.parametrize("classes", [2, 3])
def test_the_same_shapes_in_another_order_are_another_architecture(
    classes, tmp_path
):
    """Whether the classifier is wanted or not, nothing is loaded in part."""
    saved, other = (
        dataclasses.replace(
            TINY, num_modules=(1,), stage_filters=(8,), mask_depths=(1,), **more
        )
        for more in (
            {"num_pre_units": 1, "num_trunk_units": 4},
            {"num_pre_units": 2, "num_trunk_units": 2},
        )
    )
    path = str(tmp_path / "saved.weights.h5")
    ResidualAttentionNetwork(saved, classes=2).save_weights(path)
    with pytest.raises(ValueError) as caught:
        ResidualAttentionNetwork(other, classes=classes, weights=path)
    assert (
        "First weight that differs: "
        "stage1_attention1/post_units/residual_unit_1/" in str(caught.value)
    )
