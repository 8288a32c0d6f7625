import dataclasses
import json

import keras
import numpy as np
import pytest
from image_places import write_folder
from PIL import Image
from scipy.ndimage import shift
from training_runs import smallest

import keras_ratn
from keras_ratn.layers import ClassScores
from training import evaluate
from training.config import DataConfig
from training.data import load_source
from training.errors import RunError
from training.networks import architecture
from training.networks import build_network
from training.run_folder import check_inputs
from training.run_folder import open_run
from training.run_folder import record_inputs


@pytest.fixture
def network():
    return keras_ratn.ResidualAttentionNetwork(
        architecture("smallest"), classes=10
    )


def run(model_file, tmp_path, *more):
    return evaluate.main(
        [str(model_file), "--data.source", "digits", "--data.max-images"]
        + ["50", "--out", str(tmp_path / "out"), *more]
    )


def test_weights_of_the_package_go_by_name(
    network, tmp_path, monkeypatch, capsys
):
    def create_model(name):  # at its own size
        assert name == "Smallest:digits"
        return network

    monkeypatch.setattr(keras_ratn, "create_model", create_model)
    assert run("Smallest:digits", tmp_path) == 0
    assert (tmp_path / "out" / "evaluation.json").is_file()
    monkeypatch.undo()
    assert run("Smallest:digits", tmp_path) == 1
    assert "list_weights()" in capsys.readouterr().err


def test_the_numbers_are_those_of_the_saved_predictions(network, tmp_path):
    network.save(tmp_path / "model.keras")
    assert run(tmp_path / "model.keras", tmp_path) == 0
    result = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert (tmp_path / "out" / "evaluation.png").stat().st_size > 1000

    # An independent computation, on independent predictions.
    split = load_source(DataConfig("digits", max_images=50), seed=1704).test
    images, _ = split.read(np.arange(50))
    scores = network.predict(images.astype("f4"), verbose=0)
    saved = np.load(tmp_path / "out" / "predictions.npz")
    np.testing.assert_allclose(saved["scores"], scores, atol=1e-5)
    scores, labels = saved["scores"], saved["labels"]
    np.testing.assert_array_equal(labels, split.labels)
    ranked = scores.argsort(axis=1)[:, ::-1]
    hits = [label in row[:5] for label, row in zip(labels, ranked)]
    assert result["top1"] == pytest.approx(np.mean(ranked[:, 0] == labels))
    assert result["top5"] == pytest.approx(np.mean(hits))
    matrix = np.asarray(result["confusion_matrix"])
    for true in range(10):
        for predicted in range(10):
            pairs = (labels == true) & (ranked[:, 0] == predicted)
            assert matrix[true, predicted] == pairs.sum()
    error = 0.0
    for low in np.arange(15) / 15:
        chosen = (scores.max(1) > low) & (scores.max(1) <= low + 1 / 15)
        if chosen.any():
            right = np.mean(ranked[chosen, 0] == labels[chosen])
            gap = abs(scores.max(1)[chosen].mean() - right)
            error += chosen.mean() * gap
    assert result["calibration_error"] == pytest.approx(error, abs=1e-6)


def test_weights_are_evaluated_in_the_network_that_is_named(
    network, tmp_path, capsys
):
    network.save(tmp_path / "model.keras")
    network.save_weights(tmp_path / "model.weights.h5")
    assert run(tmp_path / "model.weights.h5", tmp_path) == 1
    assert "name their network by --model" in capsys.readouterr().err
    weights = tmp_path / "model.weights.h5"
    assert run(weights, tmp_path, "--model", "smallest") == 1
    assert "give --data.image-size" in capsys.readouterr().err
    size = ["--data.image-size", "32"]
    assert run(weights, tmp_path, "--model", "tiny", *size) == 1
    assert "does not fit tiny for 10 classes" in capsys.readouterr().err
    assert run(weights, tmp_path, "--model", "smallest", *size) == 0
    scores = np.load(tmp_path / "out" / "predictions.npz")["scores"]
    assert run(tmp_path / "model.keras", tmp_path) == 0
    expected = np.load(tmp_path / "out" / "predictions.npz")["scores"]
    np.testing.assert_allclose(scores, expected, atol=1e-6)


@pytest.fixture
def light_model():
    """Scores of all ten classes from the mean colour, without training."""
    inputs = keras.Input((None, None, 3))
    x = keras.layers.GlobalAveragePooling2D(name="avg_pool")(inputs)
    x = keras.layers.Dense(10, name="predictions")(x)
    return keras.Model(inputs, x)


def test_a_file_in_a_run_folder_needs_no_options(tmp_path, capsys):
    """Neither a classifier of the attention family nor its weights do."""
    config = smallest(
        model="cifarresnet18",
        attention="se",
        data=DataConfig("digits", max_images=20, validation_fraction=0.1),
    )
    network = build_network(config, [str(digit) for digit in range(10)])
    network.save(tmp_path / "best.keras")
    network.save_weights(tmp_path / "best.weights.h5")
    (tmp_path / "config.json").write_text(json.dumps(config.to_dict()))
    out = ["--out", str(tmp_path / "out"), "--part", "validation"]
    found = []
    for name in ("best.keras", "best.weights.h5"):
        assert evaluate.main([str(tmp_path / name), *out]) == 0
        found.append(np.load(tmp_path / "out" / "predictions.npz"))
    np.testing.assert_allclose(
        found[0]["scores"], found[1]["scores"], atol=1e-5
    )
    split = load_source(config.data, config.seed).validation
    np.testing.assert_array_equal(found[0]["labels"], split.labels)
    (tmp_path / "config.json").write_text("{}")
    assert evaluate.main([str(tmp_path / "best.keras"), *out]) == 1
    assert "no config of `ratn train`" in capsys.readouterr().err


def test_logits_become_probabilities(light_model, tmp_path):
    light_model.save(tmp_path / "model.keras")
    size = ["--data.image-size", "32"]
    assert run(tmp_path / "model.keras", tmp_path, *size) == 0
    split = load_source(DataConfig("digits", max_images=50), 1704).test
    images, _ = split.read(np.arange(50))
    logits = light_model.predict(images.astype("f4"), verbose=0)
    scores = np.load(tmp_path / "out" / "predictions.npz")["scores"]
    expected = keras.ops.convert_to_numpy(keras.ops.softmax(logits))
    np.testing.assert_allclose(scores, expected, atol=1e-5)


def test_probabilities_of_classes_by_themselves_stay(light_model, tmp_path):
    """They do not sum to one, and are no logits for that."""
    scores = keras.ops.sigmoid(light_model.output)
    model = keras.Model(light_model.inputs, scores)
    model.save(tmp_path / "model.keras")
    size = ["--data.image-size", "32"]
    assert run(tmp_path / "model.keras", tmp_path, *size) == 0
    split = load_source(DataConfig("digits", max_images=50), 1704).test
    images, _ = split.read(np.arange(50))
    expected = model.predict(images.astype("f4"), verbose=0)
    scores = np.load(tmp_path / "out" / "predictions.npz")["scores"]
    np.testing.assert_allclose(scores, expected, atol=1e-5)


def test_images_have_the_model_s_own_size(tmp_path, light_model, capsys):
    inputs = keras.Input((40, 40, 3))
    model = keras.Model(inputs, light_model(inputs))
    model.save(tmp_path / "model.keras")
    assert run(tmp_path / "model.keras", tmp_path) == 0
    size = ["--data.image-size", "32"]
    assert run(tmp_path / "model.keras", tmp_path, *size) == 1
    assert "takes images of 40x40" in capsys.readouterr().err


def test_a_tflite_file_with_masks_and_a_batch_of_its_own(tmp_path):
    pytest.importorskip("ai_edge_litert")
    if keras.backend.backend() != "tensorflow":
        pytest.skip("the converter takes TensorFlow models")
    inputs = keras.Input((32, 32, 3), batch_size=8)
    mask = keras.layers.Conv2D(1, 3, activation="sigmoid")(inputs)
    x = keras.layers.GlobalAveragePooling2D()(mask)
    x = keras.layers.Dense(10, "softmax")(x)
    model = keras.Model(inputs, [mask, x])
    path = tmp_path / "model.tflite"
    model.export(path, format="litert", verbose=False)
    assert run(path, tmp_path) == 0
    split = load_source(DataConfig("digits", max_images=50), 1704).test
    images, _ = split.read(np.arange(48))
    _, expected = model.predict(images.astype("f4"), batch_size=8, verbose=0)
    scores = np.load(tmp_path / "out" / "predictions.npz")["scores"]
    assert scores.shape == (50, 10)
    np.testing.assert_allclose(scores[:48], expected, atol=1e-5)
    # The Keras model has two outputs as well.
    images = np.zeros((8, 32, 32, 3), "u1")
    scores = evaluate.KerasPredictor(model)(images)
    assert scores.shape == (8, 10)
    with pytest.raises(RunError, match="gives no scores of classes"):
        evaluate.KerasPredictor(keras.Model(inputs, mask))


@pytest.mark.slow
def test_a_tflite_file_agrees_with_the_model(network, tmp_path):
    pytest.importorskip("ai_edge_litert")
    if keras.backend.backend() != "tensorflow":
        pytest.skip("the converter takes TensorFlow models")
    network.save(tmp_path / "model.keras")
    run(tmp_path / "model.keras", tmp_path)
    expected = np.load(tmp_path / "out" / "predictions.npz")["scores"]
    network.export(tmp_path / "model.tflite", format="litert", verbose=False)
    assert run(tmp_path / "model.tflite", tmp_path) == 0
    scores = np.load(tmp_path / "out" / "predictions.npz")["scores"]
    np.testing.assert_allclose(scores, expected, atol=1e-4)


def test_quantized_inputs_and_outputs_are_scaled():
    details = {"dtype": np.int8, "quantization": (0.5, -128)}
    value = np.array([0.0, 1.0, 127.5, 500.0], "f4")
    assert list(evaluate._quantized(value, details)) == [-128, -126, 127, 127]


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["nowhere.keras"], "no model file nowhere.keras"),
        ([__file__], "must end in .keras, .weights.h5 or .tflite"),
        ([__file__, "--part", "exam"], "`part` must be one of test"),
        (["x.keras", "--data.source", "npz"], "Name the images by"),
    ],
)
def test_wrong_arguments_are_one_line(arguments, message, capsys):
    if "--data.source" not in arguments:
        arguments = [*arguments, "--data.source", "digits"]
    assert evaluate.main(arguments) == 1
    assert message in capsys.readouterr().err


def test_a_part_that_the_data_lack(network, tmp_path, capsys):
    network.save(tmp_path / "model.keras")
    assert run(tmp_path / "model.keras", tmp_path, "--part", "validation") == 1
    assert "no validation images" in capsys.readouterr().err


def test_a_model_that_gives_nan_is_refused(network, tmp_path, capsys):
    bias = network.get_layer("predictions").bias
    bias.assign(np.full(10, np.nan))
    network.save(tmp_path / "model.keras")
    assert run(tmp_path / "model.keras", tmp_path) == 1
    assert "gives NaN for 50 of 50 images" in capsys.readouterr().err
    assert list((tmp_path / "out").iterdir()) == []


def test_images_that_changed_since_the_run_are_told(
    light_model, tmp_path, capsys
):
    config = smallest(data=DataConfig("digits", max_images=50))
    (tmp_path / "config.json").write_text(json.dumps(config.to_dict()))
    light_model.save(tmp_path / "best.keras")
    fingerprint = load_source(config.data, config.seed).fingerprint()
    out = ["--out", str(tmp_path / "out")]
    for data, told in ((fingerprint, False), ({**fingerprint, "a": 1}, True)):
        (tmp_path / "inputs.json").write_text(json.dumps({"data": data}))
        assert evaluate.main([str(tmp_path / "best.keras"), *out]) == 0
        said = "digits is no longer what" in capsys.readouterr().out
        assert said == told


def test_a_folder_that_cannot_be_made_is_an_error_at_once(
    network, tmp_path, monkeypatch, capsys
):
    network.save(tmp_path / "model.keras")
    (tmp_path / "out").write_text("a file in the way")
    monkeypatch.setattr(evaluate, "load_predictor", None)
    assert run(tmp_path / "model.keras", tmp_path) == 1
    assert "Choose another one by --out" in capsys.readouterr().err


def test_channels_first_models_are_evaluated(tmp_path):
    """They get the same images, turned."""
    options = {"classes": 10, "input_shape": (3, 32, 32)}
    network = keras_ratn.ResidualAttentionNetwork(
        architecture("smallest"), data_format="channels_first", **options
    )
    network.save(tmp_path / "model.keras")
    assert run(tmp_path / "model.keras", tmp_path) == 0
    split = load_source(DataConfig("digits", max_images=50), seed=1704).test
    images, _ = split.read(np.arange(50))
    expected = network.predict(
        images.transpose(0, 3, 1, 2).astype("float32"), verbose=0
    )
    saved = np.load(tmp_path / "out" / "predictions.npz")
    np.testing.assert_allclose(saved["scores"], expected, atol=1e-5)


def test_classes_are_matched_by_their_names(network, tmp_path, capsys):
    """A model that counts its classes in another order is as good."""
    names = [str(digit) for digit in range(10)]
    top = network.get_layer("predictions")
    kernel, bias = top.get_weights()
    results = []
    for order in (np.arange(10), np.arange(10)[::-1]):
        other = keras_ratn.ResidualAttentionNetwork(
            architecture("smallest"),
            classes=10,
            class_names=[names[i] for i in order],
        )
        other.set_weights(network.get_weights())
        other.get_layer("predictions").set_weights(
            [kernel[:, order], bias[order]]
        )
        other.save(tmp_path / "model.keras")
        assert run(tmp_path / "model.keras", tmp_path) == 0
        text = (tmp_path / "out" / "evaluation.json").read_text()
        results.append(json.loads(text))
    plain, turned = results
    assert turned["top1"] == plain["top1"]
    assert turned["classes"] == plain["classes"][::-1]
    assert "matched by their order" not in capsys.readouterr().out

    other = keras_ratn.ResidualAttentionNetwork(
        architecture("smallest"), classes=10, class_names=list("abcdefghij")
    )
    other.save(tmp_path / "model.keras")
    assert run(tmp_path / "model.keras", tmp_path) == 0
    out = capsys.readouterr().out
    assert (
        "The data's classes, 0, 1, 2, ..., are not called as the model's, a, "
        "b, c, ...: they are matched by their order." in out
    )


@pytest.fixture
def photos(tmp_path):
    """Grey birds, red cats and green dogs, all of them test images."""
    root = tmp_path / "photos"
    colours = {"bird": (90, 90, 90), "cat": (200, 0, 0), "dog": (0, 200, 0)}
    for part in ("train", "test"):
        for number, (name, colour) in enumerate(colours.items()):
            (root / part / name).mkdir(parents=True)
            for index in range(1 + number):
                image = Image.new("RGB", (32, 32), colour)
                image.save(root / part / name / f"{index}.png")
    return root


def colour_model(names):
    """The class is the strongest of the colours red, green and blue."""
    inputs = keras.Input((32, 32, 3))
    x = keras.layers.GlobalAveragePooling2D()(inputs)
    return keras.Model(inputs, ClassScores(3, class_names=names)(x))


def test_classes_in_common_are_matched_by_name(photos, tmp_path, capsys):
    """By order all cats would be dogs, and all dogs owls."""
    path = tmp_path / "model.keras"
    colour_model(["cat", "dog", "owl"]).save(path)
    data = ["--data.source", "folder", "--data.location", str(photos)]
    out = tmp_path / "out"
    assert evaluate.main([str(path), *data, "--out", str(out)]) == 0
    result = json.loads((out / "evaluation.json").read_text())
    assert result["top1"] == 1.0 and result["images"] == 5
    assert [row["images"] for row in result["classes"]] == [2, 3, 0]
    # Of owls there was nothing to find.
    assert [row["recall"] for row in result["classes"]] == [1.0, 1.0, None]
    assert [row["precision"] for row in result["classes"]] == [1.0, 1.0, None]
    said = capsys.readouterr().out
    assert "does not know bird: their images are left out" in said
    (owls,) = (line for line in said.splitlines() if "owl" in line)
    assert "%" not in owls and owls.count("-") == 2


def test_weights_in_a_run_folder_keep_their_classes(photos, tmp_path, capsys):
    """What they were trained on is known, although they do not say."""
    config = smallest(data=DataConfig("folder", str(tmp_path / "gone")))
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.json").write_text(json.dumps(config.to_dict()))
    inputs = {"data": {"classes": ["dog", "cat", "bird"]}}
    (run / "inputs.json").write_text(json.dumps(inputs))
    network = build_network(config, ["dog", "cat", "bird"])
    network.save_weights(run / "best.weights.h5")
    command = [str(run / "best.weights.h5"), "--data.location", str(photos)]
    assert evaluate.main([*command, "--out", str(tmp_path / "out")]) == 0
    result = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    rows = [(row["class"], row["images"]) for row in result["classes"]]
    assert rows == [("dog", 3), ("cat", 2), ("bird", 1)]


def test_dollars_in_names_are_no_formulas(tmp_path):
    """Matplotlib takes what stands between two of them for one."""
    scores, labels = np.eye(2), np.arange(2)
    result = evaluate.report(scores, labels, ["1$x^$", "$"])
    evaluate.plot(result, scores, labels, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 1000


def test_names_in_brackets_are_no_colours(capsys):
    scores, labels = np.eye(2), np.arange(2)
    result = evaluate.report(scores, labels, ["[red] kite", "swift"])
    evaluate.print_table(result)
    assert "[red] kite" in capsys.readouterr().out


def test_layers_that_nobody_knows_are_one_line(tmp_path, capsys):
    class Strange(keras.layers.Layer):
        def call(self, x):
            return x

    inputs = keras.Input((32, 32, 3))
    keras.Model(inputs, Strange()(inputs)).save(tmp_path / "model.keras")
    assert run(tmp_path / "model.keras", tmp_path) == 1
    err = capsys.readouterr().err
    assert "model.keras cannot be loaded: " in err and "Strange" in err


def test_a_model_with_other_classes_is_refused(tmp_path, capsys):
    network = keras_ratn.ResidualAttentionNetwork(
        architecture("smallest"), classes=3
    )
    network.save(tmp_path / "model.keras")
    assert run(tmp_path / "model.keras", tmp_path) == 1
    assert "3 classes and the data have 10" in capsys.readouterr().err


class Guesser:
    """Says the first class of any image."""

    image_size, class_names = 32, ["cat", "dog"]

    def __call__(self, images):
        return np.tile([[0.9, 0.1]], (len(images), 1))


def test_all_images_of_another_folder_are_evaluated(
    tmp_path, monkeypatch, capsys
):
    """And of a run's own folder those that were held out."""
    monkeypatch.setattr(evaluate, "load_predictor", lambda _: Guesser())
    own = write_folder(tmp_path / "own", count=10)
    write_folder(tmp_path / "new", count=15)
    config = smallest(data=own)
    (tmp_path / "run").mkdir()
    text = json.dumps(config.to_dict())
    (tmp_path / "run" / "config.json").write_text(text)

    def count(folder, *options):
        out = str(tmp_path / "out")
        model_file = str(tmp_path / folder / "best.keras")
        assert evaluate.main([model_file, "--out", out, *options]) == 0
        result = json.loads((tmp_path / "out/evaluation.json").read_text())
        said = capsys.readouterr().out
        return result["images"], "has no test images of its own" in said

    new = ["--data.source", "folder", "--data.location", str(tmp_path / "new")]
    share = ["--data.test-fraction", "0.2"]
    assert count("run") == (2, False)
    assert count("run", "--data.location", str(tmp_path / "own")) == (2, False)
    assert count("run", *new) == (30, True)
    assert count("run", *new, *share) == (6, False)
    assert count("elsewhere", *new) == (30, True)
    assert count("elsewhere", *new, *share) == (6, False)


def test_a_run_finds_its_images_from_another_folder(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(evaluate, "load_predictor", lambda _: Guesser())
    photos = write_folder(tmp_path / "home" / "photos", count=10)
    data = dataclasses.replace(photos, location="photos")
    config = smallest(data=data)
    monkeypatch.chdir(tmp_path / "home")
    folder = open_run(tmp_path / "run", config)
    record_inputs(folder, check_inputs(folder, config, load_source(data, 1)))
    (tmp_path / "away").mkdir()
    monkeypatch.chdir(tmp_path / "away")
    arguments = [str(folder / "best.keras"), "--out", str(tmp_path / "out")]
    assert evaluate.main(arguments) == 0
    result = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert result["images"] == 2
    # The config is what was asked for, and the same options resume the run.
    kept = json.loads((folder / "config.json").read_text())
    assert kept["data"]["location"] == "photos"
    open_run(folder, config)
    # Where nothing stands any more, the path counts as it was written.
    (tmp_path / "home").rename(tmp_path / "away" / "home")
    monkeypatch.chdir(tmp_path / "away" / "home")
    assert evaluate.main(arguments) == 0


def test_views_are_mirrored_and_moved_by_a_pixel():
    """Against SciPy's way to move an image and to mirror it at its border."""
    images = np.random.default_rng(0).integers(0, 256, (3, 8, 9, 3), "uint8")
    assert len(evaluate.views(images, "none")) == 1
    np.testing.assert_array_equal(evaluate.views(images, "none")[0], images)
    expected = [
        shift(images, (0, move, move, 0), order=0, mode="mirror")
        for move in (0, 1, -1)
    ]
    expected += [np.flip(view, axis=2) for view in expected]
    found = evaluate.views(images, "shifts")
    np.testing.assert_array_equal(found, expected)
    mirror = evaluate.views(images, "mirror")
    np.testing.assert_array_equal(mirror, [expected[0], expected[3]])


def test_probabilities_are_means_over_the_views(network, tmp_path):
    network.save(tmp_path / "model.keras")
    assert run(tmp_path / "model.keras", tmp_path, "--tta", "mirror") == 0
    result = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert result["tta"] == "mirror"
    split = load_source(DataConfig("digits", max_images=50), seed=1704).test
    images = split.read(np.arange(50))[0].astype("f4")
    scores = network.predict(images, verbose=0)
    scores += network.predict(images[:, :, ::-1].copy(), verbose=0)
    saved = np.load(tmp_path / "out" / "predictions.npz")["scores"]
    np.testing.assert_allclose(saved, scores / 2, atol=1e-5)
