"""Every folder of the package is found: in a wheel, and in a bare checkout."""

import configparser
import importlib.machinery
import pathlib

import keras_ratn

ROOT = pathlib.Path(__file__).resolve().parents[1]
FOLDERS = {"keras_ratn": "keras_ratn", "keras_ratn.training": "training"}
FOLDERS["keras_ratn.export"] = "export"


def test_setup_cfg_lists_every_folder_of_modules():
    """One that is not listed is missing in the wheel, and only there."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    listed = config["options"]["packages"].split()
    found = set()
    for package, folder in FOLDERS.items():
        for path in (ROOT / folder).rglob("*.py"):
            parts = path.parent.relative_to(ROOT / folder).parts
            found.add(".".join((package, *parts)))
    assert sorted(listed) == sorted(found)


def test_training_and_export_have_one_name_everywhere():
    """Without an installation, too: Python's own finder on the package."""
    for name in ("training", "export"):
        spec = importlib.machinery.PathFinder.find_spec(
            f"keras_ratn.{name}", keras_ratn.__path__
        )
        assert pathlib.Path(spec.origin) == ROOT / name / "__init__.py"
