"""Wrong usage of any command: one line on stderr, exit status 2."""

import pytest

from keras_ratn import command
from keras_ratn.__main__ import main

pytest.importorskip("tyro")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("train smoke --epochs x", "Error parsing --epochs: invalid literal"),
        ("train smoke --epoch 3", "Unrecognized options: --epoch, 3"),
        ("train smoke --data.source zip", "invalid choice 'zip'"),
        ("segment --image-size", "Missing value for argument '--image-size'"),
        ("evaluate", "Missing from ratn evaluate: STR"),
        ("compare --out", "Missing value for argument '--out'"),
        ("reproduce table9", "invalid choice 'table9'"),
        ("export", "the following arguments are required: model"),
        ("export m.keras --size 3", "argument --size: expected 2 arguments"),
        ("verify m.keras", "the following arguments are required: file"),
        ("demo --epochs 0", "argument --epochs: must be at least 1, not 0"),
        ("demo --seed -1", "argument --seed: must be from 0 to 4294967295"),
        ("benchmark a.tflite --runs x", "argument --runs: invalid int value"),
        ("benchmark --steps x", "Error parsing --steps: invalid literal"),
    ],
)
def test_wrong_usage_is_one_line(arguments, said, capsys):
    name, *rest = arguments.split()
    with pytest.raises(SystemExit) as caught:
        main([name, *rest])
    assert caught.value.code == 2
    line, end = capsys.readouterr().err.split("\n")
    assert line.startswith(f"ratn {name}") and said in line and not end
    assert f"See `ratn {name}" in line and line.endswith("--help`.")


def test_a_message_of_several_lines_is_said_in_one(capsys):
    assert command.fail("ratn x", ValueError("It is\n  wrong."), 3) == 3
    assert capsys.readouterr().err == "ratn x: It is wrong.\n"
