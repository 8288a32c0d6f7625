"""The public names: all there, documented, and as Keras users expect."""

import doctest
import inspect
import os
import pathlib
import re
import subprocess
import sys

import keras
import numpy as np
import pytest
from network_lists import BUILDERS
from network_lists import FAMILY_BUILDERS

import keras_ratn

ROOT = pathlib.Path(__file__).resolve().parents[1]

NAMES = {
    "Architecture",
    "ResidualAttentionNetwork",
    "VARIANTS",
    "attention_masks",
    "class_names",
    "count_macs",
    "create_model",
    "decode_predictions",
    "describe",
    "feature_pyramid",
    "layers",
    "int8_file",
    "list_models",
    "list_weights",
    "load_weights",
    "models",
    "optimizers",
    "overlay_masks",
    "plot_attention",
    "preprocess_input",
    "response_profile",
    "ResidualBackbone",
    "SegmentationNetwork",
    *BUILDERS,
    *FAMILY_BUILDERS,
}
LAYERS = {
    "AttentionModule",
    "BilinearInitializer",
    "BilinearUpsampling2D",
    "ClassScores",
    "ClassificationHead",
    "InceptionUnit",
    "LocalConvolutionMask",
    "MaskActivation",
    "ResNeXtUnit",
    "ResidualUnit",
    "SoftMaskBranch",
    "TransposedUpsampling2D",
}
KEYWORDS = {
    "include_preprocessing": True,
    "attention_learning": "residual",
    "mask_activation": "mixed",
    "mask_structure": "encoder_decoder",
    "interpolation": "bilinear",
    "data_format": None,
    "remat": False,
    "class_names": None,
}


def _public(module):
    return {
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and (name in NAMES or not inspect.ismodule(value))
    }


def _documented():
    for module in (keras_ratn, keras_ratn.layers, keras_ratn.optimizers):
        for name in sorted(_public(module)):
            value = getattr(module, name)
            if inspect.isclass(value) or inspect.isfunction(value):
                yield pytest.param(value, id=name)


def test_names_are_these():
    assert _public(keras_ratn) == NAMES
    assert LAYERS <= _public(keras_ratn.layers)


@pytest.mark.parametrize("value", list(_documented()))
def test_every_public_name_is_documented(value):
    text = inspect.getdoc(value)
    assert text and text.splitlines()[0].endswith((".", ":"))
    call = value
    if inspect.isclass(value):
        # What is inherited is explained by the class that it is from.
        call = vars(value).get("__init__", lambda self: None)
    for name, parameter in inspect.signature(call).parameters.items():
        if name != "self" and parameter.kind not in (
            parameter.VAR_POSITIONAL,
            parameter.VAR_KEYWORD,
        ):
            assert f"{name}:" in text, f"argument {name} is not explained"


@pytest.mark.parametrize("value", list(_documented()))
def test_examples_in_docstrings_run(value):
    finder = doctest.DocTestFinder(recurse=False)
    globals_ = {"keras": keras, "keras_ratn": keras_ratn, "np": np}
    runner = doctest.DocTestRunner(
        optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    )
    for test in finder.find(value, value.__name__, globs=globals_):
        runner.run(test)
    assert runner.failures == 0


@pytest.mark.parametrize("name", sorted(BUILDERS))
def test_signature_is_that_of_keras_applications(name):
    signature = inspect.signature(BUILDERS[name])
    ours = list(signature.parameters.items())
    theirs = list(
        inspect.signature(keras.applications.ResNet50).parameters.items()
    )
    assert [key for key, _ in ours[:8]] == [key for key, _ in theirs[:8]]
    assert ours[7][1].default == name.lower()
    assert signature.parameters["weights"].default is None
    rest = dict(ours[8:])
    assert {k: p.default for k, p in rest.items()} == KEYWORDS
    assert all(p.kind == p.KEYWORD_ONLY for p in rest.values())


def test_list_models_takes_wildcards():
    assert keras_ratn.list_models("*next*") == [
        "AttentionNeXt56",
        "AttentionNeXt92",
    ]
    assert keras_ratn.list_models("cifar*56") == ["CifarAttention56"]
    assert keras_ratn.list_models("*EANet*") == ["EANet101", "EANet50"]
    functions = {*BUILDERS, *FAMILY_BUILDERS}
    assert functions < set(keras_ratn.list_models())
    assert {"narrow", "resnet164", "CifarResNet18"} < set(
        keras_ratn.list_models()
    ) - functions


def test_weights_are_listed_by_the_names_that_load_them():
    names = keras_ratn.list_weights()
    networks = {name.partition(":")[0] for name in names}
    assert networks == set(keras_ratn.list_models(pretrained=True))
    assert keras_ratn.list_weights("nothing*") == []
    for name in names:
        assert len(keras_ratn.class_names(keras_ratn.create_model(name))) > 1


def test_create_model_finds_builders_whatever_the_case():
    model = keras_ratn.create_model("CIFARattention56", classes=3)
    assert model.name == "cifarattention56"
    assert model.output_shape == (None, 3)
    with pytest.raises(ValueError, match=r"list_weights\(\)` \(CifarAttention"):
        keras_ratn.create_model("CifarAtention56")
    with pytest.raises(ValueError, match="none that is like it"):
        keras_ratn.create_model("xyz")
    with pytest.raises(ValueError, match="name of a registered checkpoint"):
        keras_ratn.create_model("Attention56:nothing")


@pytest.mark.parametrize("folder", ["keras_ratn", "training", "export"])
def test_sources_keep_the_rules(folder):
    for path in (ROOT / folder).rglob("*.py"):
        text = path.read_text()
        assert "keras.src" not in text, path
        if folder == "keras_ratn":
            found = re.search(r"^\s*(import|from) tensorflow", text, re.M)
            assert not found, path


def test_import_prints_nothing_and_leaves_tensorflow_alone():
    # Keras may have imported TensorFlow itself; we must not be the one.
    code = (
        "import sys, keras; before = set(sys.modules); import keras_ratn;"
        "added = {name.split('.')[0] for name in set(sys.modules) - before};"
        "heavy = {'tensorflow', 'torch', 'jax', 'matplotlib', 'PIL'};"
        "assert not added & heavy, added & heavy"
    )
    result = subprocess.run(
        [sys.executable, "-c", code],
        env=_environment(KERAS_BACKEND="torch"),
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout == ""


def _environment(**changes):
    return {**os.environ, **changes}


def test_command_line(capsys):
    from keras_ratn.__main__ import main

    assert main(["--help"]) == 0
    assert "demo" in capsys.readouterr().out
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == keras_ratn.__version__
    assert main(["tarin"]) == 2
    assert "no command 'tarin'" in capsys.readouterr().err


def test_ctrl_c_is_one_line(monkeypatch, capsys):
    from keras_ratn import __main__ as command_line

    class Module:
        @staticmethod
        def main(arguments):
            raise KeyboardInterrupt

    monkeypatch.setattr(command_line, "_import", lambda name: Module)
    assert command_line.main(["reproduce", "label_noise"]) == 130
    assert capsys.readouterr().err == (
        "\nratn reproduce: interrupted. What was finished is kept.\n"
    )


def test_a_missing_extra_is_one_line(monkeypatch, capsys):
    from keras_ratn import __main__ as command_line

    class Module:
        @staticmethod
        def main(arguments):
            import no_such_library  # noqa: F401

    monkeypatch.setattr(command_line, "_import", lambda name: Module)
    assert command_line.main(["evaluate", "model.keras"]) == 1
    assert capsys.readouterr().err == (
        "ratn evaluate: No module named 'no_such_library'. The command needs "
        '`pip install "keras_ratn[train]"`.\n'
    )
