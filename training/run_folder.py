"""The folder of a run: whose it is, what stands in it, and how it is read."""

import contextlib
import dataclasses
import hashlib
import json
import os
import pathlib

from .checkpoint import publish_text
from .config import differences
from .config import Experiment
from .data.fingerprint import as_far_as_known
from .errors import RunError

CONFIG = "config.json"
RESULTS = "results.json"
INPUTS = "inputs.json"
ENVIRONMENT = "environment.json"
COMPARISON = "comparison.json"
# By which `ratn compare-attention` dealt the images of all its runs before
# they noted it.
_DATA_SEED_OF_OLD_COMPARISONS = 1704
# What `ratn train` writes, beside TensorBoard's log.
FILES = (
    CONFIG,
    INPUTS,
    ENVIRONMENT,
    "profile.json",
    "checkpoint.npz",
    "log.csv",
    "curves.png",
    "best.keras",
    "last.keras",
    "model_card.json",
    "README.md",
    RESULTS,
)


def check_folder(folder, config, option="--run-dir"):
    """Refuses a folder that holds another run, or something else than a run.

    Args:
        folder: Path, which need not be there.
        config: `Experiment` of the run that is to go there.
        option: String. What chooses another folder, for the error. Defaults
            to `"--run-dir"`.
    """
    folder = pathlib.Path(folder)
    if (folder / CONFIG).exists():
        remedy = f"Put it back as it was, or choose another {option}."
        kept = _read_config(folder, remedy)
        if kept.seed_of_images == config.seed_of_images:
            kept = dataclasses.replace(kept, data_seed=config.data_seed)
        changed = differences(kept.to_dict(), config.to_dict())
        if changed:
            lines = "\n  ".join(changed)
            raise RunError(
                f"{folder} holds a run with another config:\n  {lines}\n"
                f"Give the same options to resume it, or another {option}."
            )
        return
    refuse_foreign(folder, option)


def refuse_foreign(folder, option, own=()):
    """Refuses a folder with other things than what a command writes itself.

    Args:
        folder: `pathlib.Path`, which need not be there.
        option: String. What chooses another folder, for the error.
        own: Names of the files that the command may replace.
    """
    try:
        names = sorted(os.listdir(folder)) if folder.is_dir() else []
    except OSError as error:
        raise RunError(f"Cannot read {folder}: {error.strerror}.") from error
    # What a killed process left is its own, too.
    others = [n for n in names if n not in own and _writer(n) is None]
    if others:
        names = ", ".join(others[:3]) + (", ..." if len(others) > 3 else "")
        raise RunError(
            f"{folder} is not empty and holds no run that could go on or be "
            f"replaced there, but {names}. Nothing in it was touched. Choose "
            f"an empty folder or a new one by {option}."
        )


def open_run(folder, config, option="--run-dir"):
    """Makes the run's folder, or finds that it holds this very run.

    Args:
        folder: Where.
        config: `Experiment`.
        option: As for `check_folder`.

    Returns:
        `pathlib.Path` of the folder.
    """
    folder = pathlib.Path(folder)
    check_folder(folder, config, option)
    path = folder / CONFIG
    if not path.exists():
        make_folder(folder, option)
        _publish_json(path, config.to_dict())
    return folder


def make_folder(folder, option):
    """Makes a folder; an error names the option that chooses another."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(
            f"Cannot make the run folder {folder}: {error.strerror}. Choose "
            f"another one by {option}."
        ) from error


def remove_leftovers(folder):
    """Removes the temporary files of processes that were killed."""
    if os.name == "nt":
        return  # there, asking for a process may end it
    for path in pathlib.Path(folder).glob(".*.*"):
        process = _writer(path.name)
        if process is not None and not _is_another(process):
            with contextlib.suppress(OSError):
                path.unlink()


def _writer(name):
    """The process that a temporary file of a run is of, else `None`.

    They are called as `checkpoint.published` calls them; other hidden files
    that begin with a number are not the run's.
    """
    _, process, *rest = [*name.split(".", 2), ""]
    is_ours = name.startswith(".") and process.isdecimal() and rest[0] in FILES
    return int(process) if is_ours else None


def _is_another(process):
    """Whether this number is that of a running process, but not of ours."""
    if process == os.getpid():
        return False  # a container gives the same numbers again
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass  # it runs, for somebody else
    return True


def read_experiment(folder, remedy):
    """The `Experiment` of a run folder, whose paths hold from anywhere.

    Relative ones, as the config has them, hold where the run was started.

    Args:
        folder: Path of the run's folder.
        remedy: String. What to do about a damaged file, for the error.
    """
    experiment = _read_config(folder, remedy)
    noted = read_inputs(folder).get("places", {})
    known = {field: path for field, path in noted.items() if _exists(path)}
    data = dataclasses.replace(experiment.data, **known)
    return dataclasses.replace(experiment, data=data)


def _places(data):
    """The paths in a `DataConfig`, as they hold from anywhere."""
    fields = ["tfds_directory", "label_file"]
    if data.source in ("folder", "npz"):
        fields.append("location")
    values = {field: getattr(data, field) for field in fields}
    return {
        field: os.path.abspath(os.path.expanduser(value))
        for field, value in values.items()
        if value
    }


def _exists(path):
    name, key, _ = path.partition(".npz:")
    return os.path.exists(f"{name}.npz" if key else path)


def same_images(one, other):
    """Whether two `DataConfig`s name the same images, however written."""
    paths = _places(one).get("location"), _places(other).get("location")
    return one.source == other.source and (
        paths[0] == paths[1] if paths[0] else one.location == other.location
    )


def _read_config(folder, remedy):
    """The `Experiment` as it was written.

    A field that an older run does not have means what was done before the
    field existed.
    """
    path = pathlib.Path(folder) / CONFIG
    try:
        values = _read_json(path)
        of_comparison = path.absolute().parents[1] / COMPARISON
        if "data_seed" not in values and of_comparison.exists():
            values["data_seed"] = _DATA_SEED_OF_OLD_COMPARISONS
        return Experiment.from_dict(values)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        reason = f"it lacks {error}" if isinstance(error, KeyError) else error
        raise RunError(
            f"{path} is no config of `ratn train`: {reason}. {remedy}"
        ) from error


def read_results(folder):
    """What a finished run found: its `results.json`, as a dictionary."""
    return _read_own(
        pathlib.Path(folder) / RESULTS,
        _are_results,
        "Remove it: the command that trained the run then tests its network "
        "anew.",
    )


def _are_results(value):
    test = value.get("test")
    has_test = test is None or isinstance(test["accuracy"], float)
    return has_test and isinstance(value.get("history", []), list)


def read_inputs(folder):
    """What `record_inputs` noted of a run; empty where it noted nothing."""
    return _read_own(
        pathlib.Path(folder) / INPUTS,
        lambda value: isinstance(value, dict),
        "Remove it if images and initial weights are surely those that the "
        "run began with.",
        missing={},
    )


def read_environments(folder):
    """What `runtime.record_environment` noted of each start of a run."""
    return _read_own(
        pathlib.Path(folder) / ENVIRONMENT,
        lambda value: isinstance(value, list),
        "Remove it: it only notes on what the run was started.",
        missing=[],
    )


def _read_own(path, is_right, remedy, missing=None):
    """A JSON file that only runs write: whatever is wrong is damage."""
    if missing is not None and not path.exists():
        return missing
    try:
        value = _read_json(path)
        if not is_right(value):
            raise ValueError("it is not what `ratn train` writes")
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        reason = f"it lacks {error}" if isinstance(error, KeyError) else error
        raise RunError(f"{path} is damaged: {reason}. {remedy}") from error
    return value


def _read_json(path):
    """What a JSON file holds; `ValueError` if it does not hold any."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"it cannot be read, {error.strerror}") from error


def check_inputs(folder, config, source=None, option="--run-dir"):
    """Refuses to go on with other images or weights than a run began with.

    Where images are held out, one file more would deal all of them anew, and
    the run would be tested on what it was trained on.

    Args:
        folder: `pathlib.Path` of the run.
        config: `Experiment`.
        source: Optional `Source`, where it is at hand.
        option: As for `check_folder`.

    Returns:
        Dictionary of what was found, for `inputs.json`.
    """
    found = {} if source is None else {"data": source.fingerprint()}
    if config.init is not None and pathlib.Path(config.init).is_file():
        with open(config.init, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        found["init"] = {"sha256": digest}
    kept = read_inputs(folder)
    common = found.keys() & kept.keys()
    # Images may move; what they are is compared.
    found["places"] = _places(config.data)
    changed = differences(
        {key: kept[key] for key in common},
        {key: as_far_as_known(found[key], kept[key]) for key in common},
    )
    if changed:
        lines = "\n  ".join(line[:200] for line in changed)
        raise RunError(
            f"{folder} holds a run that began with other images or weights:\n"
            f"  {lines}\nPut them back as they were, or choose another "
            f"{option}."
        )
    return {**kept, **found}


def record_inputs(folder, inputs):
    """Notes what `check_inputs` found, unless it stands there."""
    if inputs != read_inputs(folder):
        _publish_json(folder / INPUTS, inputs)


def _publish_json(path, value):
    publish_text(path, json.dumps(value, indent=2) + "\n")
