import json

import keras
import numpy as np
import pytest
from training_runs import smallest

import keras_ratn
from keras_ratn import VARIANTS
from keras_ratn.models import pretrained
from keras_ratn.models.architecture import SMALL_VARIANTS
from training import release
from training.data import load_source
from training.errors import RunError
from training.evaluate import predictions
from training.networks import build_network


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run's folder, with weights that were not trained."""
    folder = tmp_path_factory.mktemp("run")
    keras.utils.set_random_seed(1704)
    config = smallest()
    network = build_network(config, [str(i) for i in range(10)])
    network.save(folder / "last.keras")
    (folder / "config.json").write_text(json.dumps(config.to_dict()))
    history = [{"epoch": 1, "images_per_second": 10.0, "val_accuracy": 0.5}]
    history[0].update(loss=1.0, accuracy=0.5, val_loss=1.0)
    results = {"history": history, "environment": {"cpus": 2}}
    (folder / "results.json").write_text(json.dumps(results))
    return folder


@pytest.fixture
def registered(monkeypatch):
    monkeypatch.setitem(VARIANTS, "smallest", SMALL_VARIANTS["smallest"])


def test_a_released_run_is_found_by_name(run, registered, tmp_path):
    card = release.release(release.Arguments(str(run), "digits", out=tmp_path))
    record = pretrained.packaged_checkpoints(tmp_path)["smallest"]["digits"]
    assert record.classes == 10 and record.input_size == 32
    assert record.class_names == tuple("0123456789")
    assert record.sha256 == card["sha256"]
    assert card["training_seconds"] == 6  # 58 images at 10 a second

    # The card's accuracy is that of the file, loaded again.
    config = smallest()
    network = build_network(config, list("0123456789"))
    pretrained.load_weights(network, tmp_path / record.source)
    test = load_source(config.data, config.seed).test
    scores, labels = predictions(
        lambda x: network.predict_on_batch(x.astype("float32")), test, 250
    )
    accuracy = np.mean(scores.argmax(1) == labels)
    assert record.accuracy == pytest.approx(100 * accuracy, abs=0.0051)

    whole = keras.saving.load_model(run / "last.keras")
    for mine, theirs in zip(network.weights, whole.weights):
        np.testing.assert_array_equal(
            keras.ops.convert_to_numpy(mine),
            keras.ops.convert_to_numpy(theirs).astype("float16"),
        )
    assert {path.name for path in tmp_path.iterdir()} == {
        "smallest_digits.json",
        "smallest_digits.weights.h5",
        "smallest_digits_attention.png",
        "smallest_digits_curves.png",
    }


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow",
    reason="LiteRT files are made on TensorFlow",
)
def test_an_int8_file_goes_along(run, registered, tmp_path, monkeypatch):
    from export.tflite import to_tflite

    config = smallest()
    source = load_source(config.data, config.seed)
    images, _ = source.train.read(np.arange(20))
    file = to_tflite(
        keras.saving.load_model(run / "last.keras"),
        tmp_path / "exported" / "model.tflite",
        "int8",
        representative_data=[images],
    )
    out = tmp_path / "weights"
    card = release.release(
        release.Arguments(str(run), "digits", int8=str(file), out=str(out))
    )
    monkeypatch.setattr(pretrained, "PACKAGED", out)
    monkeypatch.setitem(
        pretrained.CHECKPOINTS,
        "smallest",
        pretrained.packaged_checkpoints(out)["smallest"],
    )
    found = keras_ratn.int8_file("Smallest:digits")
    assert found == out / "smallest_digits_int8.tflite"
    assert found.read_bytes() == file.read_bytes()
    assert card["int8_milliseconds_on_one_thread"] > 0

    scores, labels = predictions(
        release.TFLitePredictor(found), source.test, 250
    )
    accuracy = np.mean(scores.argmax(1) == labels)
    assert card["int8_accuracy"] == pytest.approx(100 * accuracy, abs=0.0051)

    found.write_bytes(b"altered")
    with pytest.raises(ValueError, match="not the one that was released"):
        keras_ratn.int8_file("Smallest:digits")
    with pytest.raises(ValueError, match="with an int8 file"):
        keras_ratn.int8_file("Smallest:letters")


def test_a_temperature_is_folded_into_what_is_released(
    run, registered, tmp_path
):
    card = release.release(
        release.Arguments(str(run), "digits", temperature=True, out=tmp_path)
    )
    assert card["temperature"] != 1
    before = card["calibration_error_before"]
    assert card["validation_calibration_error"] != before["validation"]
    # The classifier's weights, and no others, are divided by it.
    whole = keras.saving.load_model(run / "last.keras")
    calibrated = keras.saving.load_model(run / "calibrated.keras")
    released = build_network(smallest(), list("0123456789"))
    pretrained.load_weights(released, tmp_path / card["source"])
    for old, new, file in zip(
        whole.weights, calibrated.weights, released.weights
    ):
        factor = card["temperature"] if "predictions" in old.path else 1.0
        old, new, file = map(keras.ops.convert_to_numpy, (old, new, file))
        np.testing.assert_allclose(new * factor, old, rtol=1e-3)
        np.testing.assert_array_equal(file, new.astype("float16"))


def test_only_builders_are_released(run, tmp_path):
    with pytest.raises(RunError, match="have a builder"):
        release.release(release.Arguments(str(run), "digits", out=tmp_path))


def test_an_unfinished_run_is_not_released(tmp_path, capsys):
    assert release.main([str(tmp_path), "digits"]) == 1
    assert "no finished run: it has no config.json" in capsys.readouterr().err


def test_large_and_overflowing_weights_leave_nothing(
    run, registered, tmp_path, monkeypatch
):
    monkeypatch.setattr(release, "LARGEST_FILE", 100)
    arguments = release.Arguments(str(run), "digits", out=tmp_path)
    with pytest.raises(RunError, match="MiB; a file in the package"):
        release.release(arguments)
    network = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    network.layers[-1].bias.assign([1e6])
    with pytest.raises(RunError, match="too large for float16"):
        release.write_float16(network, tmp_path / "large.weights.h5")
    (tmp_path / "large.weights.h5").unlink()
    assert list(tmp_path.iterdir()) == []
