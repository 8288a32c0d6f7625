import pytest

import keras_ratn
from training import reproduce
from training.networks import architecture


def arguments(scale="paper", **changes):
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
        assert (small.epochs, small.data.source) == (1, "digits")


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
    assert out.count("Epoch 1/1") == 2
    assert reproduce.main(command) == 0
    assert "Epoch 1/1" not in capsys.readouterr().out
