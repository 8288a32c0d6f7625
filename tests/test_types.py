"""Editors and type checkers see every builder's arguments."""

import json
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
RIGHT = """\
keras_ratn.Attention56(classes=10, mask_activation="spatial").fit
keras_ratn.CifarAttention92(True, None, None, (32, 32, 3), "avg", 10)
keras_ratn.ResNet50(attention="eca", stem="cifar")
keras_ratn.DANet50(input_shape=(None, None, 3), auxiliary_outputs=True)
keras_ratn.EAMLP7(class_names=["cat", "dog"], classes=2)
keras_ratn.create_model("narrow", classes=3).summary()
"""
WRONG = """\
keras_ratn.Attention56(classes="ten")
keras_ratn.Attention56(clases=10)
keras_ratn.Attention56(mask_activation="spatal")
keras_ratn.ResNet50(input_shape=(32, 32))
keras_ratn.SCNet50(stem="cifar")
"""


def lines_with_errors(calls, folder):
    """Numbers, from 0, of the calls that pyright objects to."""
    file = folder / "calls.py"
    file.write_text(f"import keras_ratn\n{calls}")
    run = subprocess.run(
        [sys.executable, "-m", "pyright", "--outputjson"]
        + ["--pythonpath", sys.executable, str(file)],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    if run.returncode not in (0, 1):  # 1: it has objections
        pytest.skip(f"pyright cannot run here: {run.stderr[-200:]}")
    found = json.loads(run.stdout)["generalDiagnostics"]
    return {
        entry["range"]["start"]["line"] - 1
        for entry in found
        if entry["severity"] == "error"
    }


def test_pyright_knows_right_calls_from_wrong_ones(tmp_path):
    pytest.importorskip("pyright")
    count = len(RIGHT.splitlines())
    expected = {count + line for line in range(len(WRONG.splitlines()))}
    assert lines_with_errors(RIGHT + WRONG, tmp_path) == expected


def test_the_package_says_that_it_is_typed():
    assert (ROOT / "keras_ratn" / "py.typed").exists()
    assert "py.typed" in (ROOT / "setup.cfg").read_text()
