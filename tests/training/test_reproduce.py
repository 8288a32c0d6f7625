import json

import keras
import numpy as np
import pytest
from training_runs import smallest

import keras_ratn
from training import reproduce
from training import train
from training.data import load_source
from training.figure4 import write_figure4
from training.networks import architecture
from training.networks import build_network


def arguments(scale="paper", **changes):
    changes = {"label_file": "labels.npz", **changes}
    return reproduce.Arguments("label_noise", scale=scale, **changes)


@pytest.mark.parametrize("table", reproduce.TABLES)
def test_cells_are_experiments_at_both_scales(table):
    cells = reproduce.TABLES[table]
    assert len({cell.name for cell in cells}) == len(cells)
    for cell in cells:
        config = reproduce.experiment(cell, arguments())
        architecture(config.model)
        assert config.epochs == 205 and config.data.location == cell.dataset
        assert config.data.label_noise == cell.label_noise
        small = reproduce.experiment(cell, arguments("small", epochs=1))
        assert max(architecture(small.model).stage_filters) <= 32
        source = "tfds" if cell.label_key else "digits"
        assert (small.epochs, small.data.source) == (1, source)
        if cell.label_key:
            assert config.data.label_file == f"labels.npz:{cell.label_key}"


def test_human_labels_need_their_file(capsys):
    command = ["human_label_noise", "--scale", "small"]
    assert reproduce.main(command) == 1
    assert "needs --label-file FILE.npz" in capsys.readouterr().err


def test_the_noise_tables_compare_with_the_baseline():
    for table in ("label_noise", "human_label_noise"):
        models = [cell.model for cell in reproduce.TABLES[table]]
        assert models.count("resnet164") == len(models) // 2


def test_figure_4_shares_the_runs_of_the_table(tmp_path):
    figure, table = (
        reproduce.Arguments(name, out=str(tmp_path))
        for name in ("figure4", "attention_learning")
    )
    residual, naive = reproduce.TABLES["figure4"]
    assert (residual.name, naive.name) == ("164-residual", "164-naive")
    for cell in (residual, naive):
        assert reproduce.run_folder(cell, figure) == reproduce.run_folder(
            cell, table
        )
        assert reproduce.experiment(cell, figure) == reproduce.experiment(
            cell, table
        )


def test_figure_4_is_the_profile_of_the_saved_networks(tmp_path, capsys):
    runs = {}
    for kind in ("residual", "naive"):
        config = smallest(model="tiny2", attention_learning=kind)
        runs[kind] = train.open_run(tmp_path / kind, config)
        network = build_network(config, [str(i) for i in range(10)])
        network.save(runs[kind] / "last.keras")
    profiles = write_figure4(runs, tmp_path / "out")
    assert json.loads((tmp_path / "out" / "figure4.json").read_text()) == (
        profiles
    )
    assert (tmp_path / "out" / "figure4.png").stat().st_size > 1000
    assert "stage2_attention2" in capsys.readouterr().out

    # By hand, for one layer, on the same 64 test images.
    layer = network.get_layer("stage2_attention1")
    images, _ = load_source(config.data, config.seed).test.read(np.arange(64))
    outputs = keras.Model(network.inputs, layer.output).predict(
        images.astype("f4"), verbose=0
    )
    assert profiles["naive"]["stage2_attention1"] == pytest.approx(
        np.abs(outputs).mean(), rel=1e-4
    )
    # What the figure shows, here by construction: sigmoids below 1 fade.
    left = {k: p["stage2_attention2"] for k, p in profiles.items()}
    assert left["naive"] < left["residual"]


def test_the_baseline_is_resnet_164():
    resnet = architecture("resnet164")
    assert resnet.depth == 164
    network = keras_ratn.ResidualAttentionNetwork(resnet, classes=10)
    # He et al. (2016) print 1.7 M.
    assert 1.65e6 < network.count_params() < 1.75e6


@pytest.mark.slow
def test_a_table_is_run_and_printed_and_not_run_again(tmp_path, capsys):
    command = ["mask_structure", "--scale", "small", "--epochs", "1"]
    command += ["--max-images", "64", "--out", str(tmp_path)]
    assert reproduce.main(command) == 0
    out = capsys.readouterr().out
    assert "6.48" in out and "not the paper's scale" in out
    assert out.count("first step after") == 2
    assert reproduce.main(command) == 0
    assert "first step after" not in capsys.readouterr().out


@pytest.mark.slow
def test_figure_4_is_trained_and_drawn(tmp_path):
    command = ["figure4", "--scale", "small", "--epochs", "1"]
    command += ["--max-images", "64", "--out", str(tmp_path)]
    assert reproduce.main(command) == 0
    folder = tmp_path / "small" / "figure4"
    profiles = json.loads((folder / "figure4.json").read_text())
    assert list(profiles) == ["164-residual", "164-naive"]
    # The table's cells, for the table to find them finished.
    for name in profiles:
        run = tmp_path / "small" / "attention_learning" / name
        assert (run / "results.json").exists()
