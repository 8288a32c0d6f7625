import dataclasses
import json

import keras
import numpy as np
import pytest
from PIL import Image

from export import quantize
from export import training_runs
from keras_ratn.__main__ import COMMANDS
from training import compare_attention
from training import evaluate
from training import train
from training.compare_attention import Arguments
from training.compare_attention import compare
from training.compare_attention import data_config
from training.compare_attention import experiment
from training.data import load_source
from training.errors import LossError
from training.errors import RunError
from training.run_folder import check_inputs
from training.run_folder import open_run
from training.run_folder import record_inputs


def results(accuracy):
    """What a run's `results.json` holds, of what the comparison reads."""
    history = [{"images_per_second": speed} for speed in (1, 30, 40, 50)]
    return {
        "test": {"accuracy": accuracy},
        "majority_class": 0.1,
        "history": history,
    }


@pytest.fixture
def no_training(monkeypatch):
    """Runs that are done at once, and no export."""
    trained = []
    real_run = train.run

    def run(config, folder, source, folder_option):
        if train.is_finished(folder):
            return real_run(config, folder, source=source)
        if config.attention == "bam":
            raise LossError("The loss became nan at step 3.")
        trained.append((config, folder.name))
        folder.mkdir(parents=True, exist_ok=True)
        found = results(0.5 if config.attention == "eca" else 0.25)
        (folder / "results.json").write_text(json.dumps(found))
        text = json.dumps(config.to_dict())
        (folder / "config.json").write_text(text)
        (folder / "last.keras").touch()
        return found

    def no_file(run, source):
        raise NotImplementedError("no kernel\nand a long story")

    monkeypatch.setattr(train, "run", run)
    monkeypatch.setattr(compare_attention, "int8_file", no_file)
    return trained


def test_same_trunk_same_steps_one_table(tmp_path, no_training, capsys):
    command = ["--attentions", "none", "soft_mask", "eca", "--seeds", "2"]
    command += ["--budget", "9", "--max-images", "128", "--model", "tiny"]
    command += ["--out", str(tmp_path)]
    assert compare_attention.main(command) == 0
    names = [name for _, name in no_training]
    assert names == [
        f"{attention}-{seed}"
        for attention in ("none", "soft_mask", "eca")
        for seed in (1, 2)
    ]
    # Nine steps are five epochs of two; all else is the same.
    first = no_training[0][0].to_dict()
    assert first["epochs"] == 5
    for config, _ in no_training:
        other = {**config.to_dict(), "attention": "none", "seed": 1}
        assert other == first
    assert [c.attention for c, _ in no_training[::2]] == ["none", None, "eca"]

    out = capsys.readouterr().out
    assert "tiny, 10 steps of 64 images" in out
    assert "50.00% ±0.00" in out
    assert "eca: no int8: NotImplementedError: no kernel" in out
    rows = json.loads((tmp_path / "comparison.json").read_text())
    none, soft_mask, eca = rows
    assert eca["parameters"] == none["parameters"] + 2 * 3
    assert soft_mask["macs"] > eca["macs"] == none["macs"]
    # The first epoch, which traces, is left out.
    assert eca["images_per_second"] == 40
    assert (tmp_path / "comparison.png").stat().st_size > 1000

    # Finished runs are read; a run of another config is refused.
    no_training.clear()
    assert compare_attention.main(command) == 0
    assert no_training == []
    command[command.index("tiny")] = "tiny2"
    assert compare_attention.main(command) == 1
    assert "model: 'tiny' -> 'tiny2'" in capsys.readouterr().err


def test_an_attention_that_diverges_leaves_a_gap(tmp_path, no_training, capsys):
    command = ["--attentions", "bam", "eca", "--budget", "2", "--model"]
    command += ["common_ground", "--max-images", "64", "--out", str(tmp_path)]
    assert compare_attention.main(command) == 0
    out = capsys.readouterr().out
    assert "bam: no accuracy: seed 1: The loss became nan at step 3." in out
    assert "50.00%" in out


@pytest.fixture
def photos(tmp_path):
    """Twenty photos of two classes, no two of which are the same."""
    for name in ("cat", "dog"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(10):
            grey = 10 * number + 100 * (name == "dog")
            image = Image.new("RGB", (32, 32), (grey, 0, 0))
            image.save(tmp_path / "photos" / name / f"{number}.png")
    return tmp_path / "photos"


@pytest.mark.parametrize("age", ["new", "old"])
def test_all_commands_deal_a_run_s_images_as_it_did(
    age, photos, tmp_path, monkeypatch, capsys
):
    """Although the seed of its weights is another one."""
    inputs = keras.Input((32, 32, 3))
    x = keras.layers.GlobalAveragePooling2D()(inputs)
    model = keras.Model(inputs, keras.layers.Dense(2, "softmax")(x))
    trained_on = []

    def run(config, folder, source, folder_option):
        trained_on[:] = [source]
        open_run(folder, config, folder_option)
        record_inputs(folder, check_inputs(folder, config, source))
        model.save(folder / "last.keras")
        return results(0.5)

    monkeypatch.setattr(train, "run", run)
    monkeypatch.setattr(compare_attention, "add_latencies", lambda *_: None)
    monkeypatch.setattr(compare_attention, "print_rows", lambda *_: None)
    monkeypatch.setattr(compare_attention, "plot_rows", lambda *_: None)
    monkeypatch.setattr(
        compare_attention,
        "row_of_costs",
        lambda config, name, source: {"attention": name, "run": config},
    )
    out = tmp_path / "out"
    command = ["--data", str(photos), "--attentions", "none", "--seeds", "2"]
    command += ["--batch-size", "4", "--image-size", "32", "--out", str(out)]
    assert compare_attention.main(command) == 0
    path = out / "none-2" / "last.keras"
    config = json.loads((out / "none-2" / "config.json").read_text())
    assert (config["seed"], config["data_seed"]) == (2, 1704)
    if age == "old":  # from before it was noted
        for seed in (1, 2):
            file = out / f"none-{seed}" / "config.json"
            config = json.loads(file.read_text())
            del config["data_seed"]
            file.write_text(json.dumps(config))
    (source,) = trained_on
    tested = pixels(source.test)
    assert len(tested) == 2

    assert evaluate.main([str(path), "--out", str(tmp_path / "e")]) == 0
    assert "is no longer what" not in capsys.readouterr().out
    truth = np.load(tmp_path / "e" / "predictions.npz")["labels"]
    np.testing.assert_array_equal(truth, source.test.labels)
    assert evaluate.defaults([str(path)]).seed == 1704
    images, *_ = training_runs.images_of_run(path, (32, 32, 3), part="test")
    assert {image[0, 0, 0] for image in images} == tested
    images, *_ = training_runs.images_of_run(path, (32, 32, 3), part="train")
    assert {image[0, 0, 0] for image in images} == pixels(source.train)
    # Nor does another seed of the tuning deal them anew.
    for more in ([], ["--seed", "5"]):
        _, parsed = quantize._parse([str(path), *more])
        tuning = parsed.experiment
        dealt = load_source(tuning.data, tuning.seed_of_images)
        assert pixels(dealt.test) == tested
    # The same comparison again finds its runs.
    assert compare_attention.main(command) == 0


def pixels(split):
    """What tells the photos apart."""
    images, _ = split.read(np.arange(len(split)))
    return {image[0, 0, 0] for image in images}


def test_the_seed_of_images_is_the_run_s_unless_it_has_its_own(tmp_path):
    config = experiment(Arguments())
    assert (config.seed, config.data_seed) == (1704, 1704)
    plain = dataclasses.replace(config, data_seed=None)
    assert plain.seed_of_images == 1704
    assert dataclasses.replace(plain, seed=3).seed_of_images == 3
    assert dataclasses.replace(config, seed=3).seed_of_images == 1704
    # Said or left out: the same run, until the seeds differ.
    folder = open_run(tmp_path / "run", plain)
    open_run(folder, config)
    with pytest.raises(RunError, match="data_seed: None -> 7"):
        open_run(folder, dataclasses.replace(config, data_seed=7))
    with pytest.raises(ValueError, match="`data_seed` must be at least 0"):
        dataclasses.replace(config, data_seed=-1)
    with pytest.raises(ValueError, match=r"`seed` must be from 0 to 2\*\*32"):
        dataclasses.replace(config, seed=-1)


def test_int8_latency_comes_from_the_exported_files(tmp_path, monkeypatch):
    rows = [{"attention": name} for name in ("eca", "bam")]

    def int8_file(run, source):
        if run.name == "bam-1":
            raise ModuleNotFoundError("No module named 'tensorflow'")
        return run / "model_int8.tflite"

    class Benchmark:
        @staticmethod
        def benchmark(files, num_runs, threads):
            assert threads == (1,)
            runs = [{"median_ms": 1.5}]
            return {"files": {str(file): {"runs": runs} for file in files}}

    monkeypatch.setattr(compare_attention, "int8_file", int8_file)
    monkeypatch.setattr(compare_attention, "_export", lambda name: Benchmark)
    compare_attention.add_latencies(rows, tmp_path, None)
    assert rows[0] == {"attention": "eca", "int8_ms": 1.5, "why_no_int8": None}
    assert rows[1]["int8_ms"] is None
    assert "No module named 'tensorflow'" in rows[1]["why_no_int8"]


@pytest.mark.slow
@pytest.mark.parametrize("name", compare_attention.ATTENTIONS)
def test_every_default_attention_fits_the_common_ground(name):
    arguments = Arguments(attentions=(name,))
    config = experiment(arguments)
    assert config.model == "common_ground"
    source = compare_attention.load_source(config.data, 1)
    row = compare_attention.row_of_costs(config, name, source)
    assert row["parameters"] > 100_000 and row["macs"] > 10_000_000


def test_what_data_stands_for(tmp_path):
    np.savez(tmp_path / "a.npz", x_train=0)
    folder = data_config(Arguments(data=str(tmp_path)))
    assert (folder.source, folder.image_size) == ("folder", 96)
    arguments = Arguments(data=str(tmp_path), image_size=48)
    assert data_config(arguments).image_size == 48
    assert experiment(arguments).model == "common_ground"
    photos = experiment(Arguments(data=str(tmp_path)))
    assert photos.model == "common_ground_photos"
    assert photos.augmentation.flip
    npz = data_config(Arguments(data=str(tmp_path / "a.npz")))
    assert (npz.source, npz.image_size) == ("npz", 32)
    assert data_config(Arguments(data="cifar10")).source == "tfds"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"budget": 0}, "--budget must be at least 1. Received: 0"),
        ({"seeds": 0}, "--seeds must be at least 1"),
        ({"attentions": ()}, "Name the attentions"),
        ({"attentions": ("magic",)}, "no attention 'magic'. Known: none, soft"),
        ({"attentions": ("se", "se")}, "is compared once"),
        ({"data": "./nowhere"}, "There is no folder './nowhere'"),
        ({"model": "cifarresnet18"}, "has no soft masks"),
        ({"model": "scnet50"}, "no choice of attention"),
        ({"model": "magic"}, "There is no network 'magic'"),
        # 16 channels make 4 for each branch, too few for its 16 groups.
        (
            {"model": "tiny", "attentions": ("psa",)},
            "'psa' does not fit the network 'tiny'.*divisible",
        ),
    ],
)
def test_mistakes_are_told_before_any_training(
    changes, message, tmp_path, no_training
):
    values = {"attentions": ("soft_mask", "se"), "out": str(tmp_path)}
    if changes.get("model") == "scnet50":
        values["attentions"] = ("se",)
    with pytest.raises(RunError, match=message):
        compare(Arguments(**{**values, **changes}))
    assert no_training == []


def test_the_command_is_listed():
    assert COMMANDS["compare-attention"][0] == "training.compare_attention"


@pytest.mark.slow
def test_two_attentions_from_end_to_end(tmp_path, capsys):
    command = ["--attentions", "none", "se", "--budget", "2", "--model"]
    command += ["common_ground", "--max-images", "64", "--out", str(tmp_path)]
    assert compare_attention.main(command) == 0
    out = capsys.readouterr().out
    assert out.count("test accuracy") == 2
    assert compare_attention.main(command) == 0
    assert "Epoch" not in capsys.readouterr().out
