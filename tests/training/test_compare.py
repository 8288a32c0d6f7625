import json

import pytest
from training_runs import smallest

from training import compare


def write_run(folder, config, losses, results=None):
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config.to_dict()))
    rows = [f"{i + 1},{loss},{1 - loss}" for i, loss in enumerate(losses)]
    text = "\n".join(["epoch,loss,val_accuracy", *rows])
    (folder / "log.csv").write_text(text)
    if results:
        (folder / "results.json").write_text(json.dumps(results))
    return str(folder)


def test_runs_side_by_side(tmp_path, capsys):
    first = write_run(
        tmp_path / "a", smallest(), [0.9, 0.5], {"test": {"accuracy": 0.25}}
    )
    second = write_run(tmp_path / "b", smallest(seed=3), [0.8])
    rows = compare.table_rows([compare.read_run(p) for p in (first, second)])
    assert rows[0][1:] == ("2/2", "0.5000", "50.00%", "25.00%", "")
    assert rows[1][1:5] == ("1/2", "0.8000", "20.00%", "-")
    assert rows[1][5] == "seed: 1704 -> 3"
    (tmp_path / "b").rename(tmp_path / "1$x^$")  # no formula in the legend
    second = str(tmp_path / "1$x^$")
    out = tmp_path / "plot.png"
    assert compare.main([first, second, "--out", str(out)]) == 0
    assert out.stat().st_size > 1000
    assert "25.00%" in capsys.readouterr().out


def test_a_folder_that_is_no_run(tmp_path, capsys):
    assert compare.main([str(tmp_path)]) == 1
    assert "is no run folder" in capsys.readouterr().err
    assert compare.main([]) == 1
    assert "Name the run folders" in capsys.readouterr().err


def assert_refused(capsys, arguments, message):
    assert compare.main(arguments) == 1
    err = capsys.readouterr().err
    assert message in err and len(err.splitlines()) == 1


@pytest.mark.parametrize(
    "config", ["{}", "[1]", '{"model_type": "bert"}', "no"]
)
def test_a_config_of_something_else(tmp_path, capsys, config):
    (tmp_path / "config.json").write_text(config)
    assert_refused(capsys, [str(tmp_path)], "is no config of `ratn train`")


@pytest.mark.parametrize("name", ["table", "table.txt", "table."])
def test_a_plot_that_is_no_picture(tmp_path, capsys, name):
    run = write_run(tmp_path / "a", smallest(), [0.9])
    out = str(tmp_path / name)
    assert_refused(capsys, [run, "--out", out], "end in .png, .pdf or .svg")
    assert not (tmp_path / name).exists()
