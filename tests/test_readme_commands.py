"""The READMEs' `ratn` lines name commands and options that exist."""

import pathlib
import re
import shlex

import pytest

from keras_ratn.__main__ import COMMANDS
from keras_ratn.__main__ import main

pytest.importorskip("tyro")
ROOT = pathlib.Path(__file__).resolve().parents[1]
READMES = [
    ROOT / folder / "README.md" for folder in (".", "training", "export")
]


def _lines():
    text = "\n".join(path.read_text() for path in READMES)
    blocks = re.findall(r"```bash\n(.*?)```", text, re.DOTALL)
    for line in "".join(blocks).replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        words = [word for word in words if "=" not in word or "--" in word]
        if words[:1] == ["ratn"]:
            yield words[1:]


LINES = [list(words) for words in dict.fromkeys(map(tuple, _lines()))]


def test_every_command_is_in_the_readme():
    assert COMMANDS.keys() - {words[0] for words in LINES} <= {"demo"}


@pytest.mark.parametrize("words", LINES, ids=" ".join)
def test_options_exist(words, capsys):
    command, *rest = words
    asked = {word.split("=")[0] for word in rest if word.startswith("--")}
    # A config of `ratn train` has options of its own, a file another command.
    kept = [w for w in rest[:1] if command == "train" or "tflite" in w]
    with pytest.raises(SystemExit) as caught:
        main([command, *kept, "--help"])
    assert caught.value.code == 0
    known = set(re.findall(r"--[a-z0-9.-]+", capsys.readouterr().out))
    assert asked <= known
