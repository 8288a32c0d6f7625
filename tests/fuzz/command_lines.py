"""Random command lines, right and wrong ones, in a small world of files."""

import dataclasses
import json
import shutil

import hypothesis.strategies as st
import keras
import numpy as np
from PIL import Image
from tiny_models import SMALLEST

import keras_ratn
from keras_ratn.models.segmentation import SegmentationNetwork
from keras_ratn.training.config import DataConfig
from keras_ratn.training.config import Experiment
from keras_ratn.training.reproduce import TABLES
from keras_ratn.training.segmentation import TINY as SMALL_SEGMENTER

CLASSES = ["cat", "dog"]
JUNK = ("", "-", "--", "x", "--unknown", "-x", "é", "3", "a b", "--help=3")


def make_world(root):
    """Files that command lines name, of every kind and broken ones too."""
    rng = np.random.default_rng(0)
    _make_photos(root, rng)
    _make_arrays(root, rng)
    _make_models(root)
    _make_runs(root)
    _make_pairs(root, rng)
    (root / "empty").mkdir()
    (root / "notes.txt").write_text("nothing of interest\n")
    (root / "cats.txt").write_text("cat\ndog\n")
    (root / "latin.txt").write_bytes(b"caf\xe9\ndog\n")


def _make_photos(root, rng):
    for part in ("photos", "split/train", "split/test", "few"):
        for name in CLASSES:
            folder = root / part / name
            folder.mkdir(parents=True)
            for number in range(1 if part == "few" else 8):
                pixels = rng.integers(0, 256, (40, 36, 3), "uint8")
                Image.fromarray(pixels).save(folder / f"{number}.png")
    shutil.copytree(root / "photos", root / "damaged")
    for number in range(3):
        (root / "damaged/cat" / f"{number}.png").write_bytes(b"no image")


def _make_arrays(root, rng):
    images = rng.integers(0, 256, (40, 32, 32, 3), "uint8")
    labels = np.arange(40) % 2
    np.savez(root / "data.npz", x_train=images, y_train=labels)
    np.savez(
        root / "named.npz",
        x_train=images, y_train=labels, x_test=images[:9], y_test=labels[:9],
        class_names=np.array(CLASSES),
    )  # fmt: skip
    np.savez(root / "floats.npz", x_train=images / 255, y_train=labels)
    (root / "broken.npz").write_bytes(b"PK, but no more")
    np.save(root / "labels.npy", labels[:36])


def _make_models(root):
    model = keras_ratn.ResidualAttentionNetwork(
        SMALLEST, classes=2, class_names=CLASSES
    )
    model.save(root / "model.keras")
    model.save_weights(root / "model.weights.h5")
    plain = keras.Sequential(
        [
            keras.Input((None, None, 1)),
            keras.layers.Conv2D(2, 3),
            keras.layers.GlobalMaxPooling2D(),
        ]
    )
    plain.save(root / "logits.keras")
    content = (root / "model.keras").read_bytes()
    (root / "broken.keras").write_bytes(content[: len(content) // 2])
    (root / "broken.tflite").write_bytes(b"TFL3")
    shutil.copy(
        keras_ratn.int8_file("CifarAttention56:cifar10"), root / "model.tflite"
    )
    segmenter = SegmentationNetwork(
        SMALL_SEGMENTER, "danet", input_shape=(64, 64, 3), classes=3
    )
    segmenter.save(root / "segmenter.keras")


def _make_runs(root):
    config = Experiment(
        model="smallest",
        epochs=1,
        batch_size=8,
        data=DataConfig("npz", str(root / "named.npz")),
    )
    results = {
        "epochs": 1,
        "history": [],
        "test": {"accuracy": 0.5, "loss": 1.0},
        "majority_class": 0.5,
        "environment": {"commit": None},
    }
    for name in ("run", "unfinished", "damaged_run"):
        folder = root / name
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps(config.to_dict()))
        (folder / "log.csv").write_text("epoch,loss,accuracy\n1,0.7,0.5\n")
        shutil.copy(root / "model.keras", folder / "best.keras")
    (root / "run/results.json").write_text(json.dumps(results))
    shutil.copy(root / "model.keras", root / "run/last.keras")
    (root / "damaged_run/config.json").write_text('{"model": "smallest"')
    (root / "damaged_run/results.json").write_text("[]")


def _make_pairs(root, rng):
    for number in range(4):
        for kind in ("images", "masks"):
            folder = root / "streets" / kind
            folder.mkdir(parents=True, exist_ok=True)
            pixels = rng.integers(0, 3, (40, 40), "uint8")
            image = Image.fromarray(pixels)
            image = image.convert("RGB") if kind == "images" else image
            image.save(folder / f"{number}.png")
    (root / "streets/classes.txt").write_text("road\ncar\nsky\n")
    shutil.copytree(root / "streets", root / "alone")
    (root / "alone/masks/0.png").unlink()


# === Values ===


@dataclasses.dataclass(frozen=True)
class Values:
    """What an option may be given.

    Args:
        right: Tuple of strings, each right in some command at least.
        wrong: Tuple of strings, mostly wrong.
        least, most: Integers. How many words at a time.
    """

    right: tuple
    wrong: tuple = ("other", "")
    least: int = 1
    most: int = 1

    def words(self, is_careful):
        """Strategy of a list of words."""
        word = st.sampled_from(self.right)
        if not is_careful:
            word = st.one_of(word, st.sampled_from(self.wrong))
        return st.lists(word, min_size=self.least, max_size=self.most)


NUMBERS = Values(
    ("1", "2", "8", "16"), ("0", "-1", "1.5", "x", "", "1e3", "9" * 20, "64")
)
SIZES = Values(("32", "40"), ("33", "0", "-1", "31", "x", "1.5"))
SHARES = Values(
    ("0", "0.1", "0.25"), ("0.5", "1", "-0.1", "2", "x", "nan", "inf", "1e-9")
)
RATES = Values(("0.1", "1e-3", "1"), ("0", "-1", "x", "nan", "inf", "3"))
FLAGS = Values(("True", "False"), ("true", "maybe", "1"))
FOLDERS = ("few", "damaged", "empty", "nowhere", "notes.txt")
ARRAYS = ("floats.npz", "broken.npz", "nowhere.npz")
PLACES = Values(
    ("photos", "split", "named.npz", "data.npz", "digits"),
    (*FOLDERS, *ARRAYS, "./nowhere", "streets", "", "~/nowhere", "model.keras"),
)
FOLDER = Values(("photos", "damaged"), FOLDERS)
MODELS = Values(
    (
        "model.keras",
        "run/best.keras",
        "run/last.keras",
        "unfinished/best.keras",
    ),
    (
        "damaged_run/best.keras",
        "logits.keras",
        "segmenter.keras",
        "broken.keras",
        "nowhere.keras",
        "notes.txt",
        "model.tflite",
        "broken.tflite",
        "model.weights.h5",
        "Nothing:cifar10",
        "CifarAttention56:nothing",
        "empty",
        "",
        ":",
        "a:b:c",
    ),
)
NETWORKS = Values(
    ("smallest", "SMALLEST"),
    ("tiny", "Attention56", "resnet18", "nothing", "", "danet50", "rest_lite"),
)
OUTS = Values(
    ("out", "out/deep/er", "new"),
    (
        "run",
        "unfinished",
        "photos",
        "notes.txt",
        "notes.txt/x",
        "",
        "/proc/x",
        "empty",
        "out.png",
        "damaged_run",
        ".",
        "model.keras",
    ),
)
LABELS = Values(
    ("data.npz:y_train",),
    (
        "labels.npy",
        "data.npz:y",
        "broken.npz:y",
        "nowhere.npy",
        "notes.txt",
        "",
        "data.npz",
        "data.npz:x_train",
    ),
)
DATA = {
    "--data.source": Values(("npz",), ("folder", "digits", "tfds", "zip")),
    "--data.location": PLACES,
    "--data.image-size": SIZES,
    "--data.validation-fraction": SHARES,
    "--data.test-fraction": SHARES,
    "--data.max-images": Values(("16", "24"), NUMBERS.wrong),
    "--data.label-noise": SHARES,
    "--data.label-file": LABELS,
    "--data.max-corrupt-images": NUMBERS,
    "--data.workers": Values(("1", "2"), ("0", "-3", "x")),
    "--data.tfds-directory": Values(("empty",), ("nowhere", "")),
    "--data.test-split": Values(("test", "validation")),
}
EXPERIMENT = {
    **DATA,
    "--model": NETWORKS,
    "--attention": Values(("none", "eca", "None"), ("psa", "dual", "se", "")),
    "--attention-learning": Values(("residual", "naive", "None")),
    "--mask-activation": Values(("mixed", "channel", "spatial")),
    "--mask-structure": Values(("encoder_decoder", "local_convolution")),
    "--init": Values(
        ("None",),
        ("model.keras", "model.weights.h5", "broken.keras", "a.h5", "cifar10"),
    ),
    "--freeze-until": Values(("stage2", "predictions", "None")),
    "--epochs": NUMBERS,
    "--batch-size": NUMBERS,
    "--label-smoothing": SHARES,
    "--seed": NUMBERS,
    "--augmentation.flip": FLAGS,
    "--augmentation.no-flip": None,
    "--augmentation.shift": SHARES,
    "--augmentation.min-area": Values(("0.5", "1"), SHARES.wrong),
    "--augmentation.color": SHARES,
    "--augmentation.cutout": SHARES,
    "--augmentation.mixup": RATES,
    "--augmentation.cutmix": FLAGS,
    "--optimizer.name": Values(("sgd", "adamw")),
    "--optimizer.learning-rate": RATES,
    "--optimizer.learning-rate-batch": NUMBERS,
    "--optimizer.schedule": Values(("step", "cosine", "constant")),
    "--optimizer.step-at": Values(("0.4", "0.6"), SHARES.wrong, 0, 3),
    "--optimizer.warmup-epochs": Values(("0", "1"), RATES.wrong),
    "--optimizer.momentum": SHARES,
    "--optimizer.weight-decay": RATES,
    "--optimizer.layer-decay": Values(("0.5", "1"), SHARES.wrong),
    "--optimizer.ema": SHARES,
    "--optimizer.clip-norm": RATES,
    "--runtime.precision": Values(
        ("float32", "mixed_bfloat16", "mixed_float16")
    ),
    "--runtime.jit-compile": FLAGS,
    "--runtime.steps-per-execution": Values(("1",), NUMBERS.wrong),
    "--runtime.accumulation": NUMBERS,
    "--runtime.remat": FLAGS,
    "--runtime.deterministic": FLAGS,
    "--runtime.devices": Values(("0", "1"), NUMBERS.wrong),
    "--runtime.resident": Values(("False",), ("True", "maybe")),
}
TRAIN = {
    **EXPERIMENT,
    "--run-dir": OUTS,
    "--dry-run": None,
    "--time-limit": RATES,
    "--profile": None,
}
CONFIGS = Values(
    ("smoke", "folder"), ("cifar10", "cifar10_modern", "imagenet", "none", "")
)
TYPES = Values(("uint8", "int8", "float32"))
# command -> (values of its positional arguments, those of its options)
COMMANDS = {
    "demo": (
        (),
        {
            "--data-directory": FOLDER,
            "--output": OUTS,
            "--epochs": NUMBERS,
            "--seed": NUMBERS,
        },
    ),
    "train": ((CONFIGS,), TRAIN),
    "evaluate": (
        (MODELS,),
        {
            **DATA,
            "--part": Values(("test", "train"), ("validation", "all")),
            "--model": NETWORKS,
            "--attention": Values(("none", "se")),
            "--mask-activation": Values(("mixed", "channel")),
            "--batch-size": NUMBERS,
            "--seed": NUMBERS,
            "--out": OUTS,
        },
    ),
    "compare": (
        (
            Values(
                ("run", "unfinished"),
                ("damaged_run", "photos", "nowhere", "notes.txt", ""),
                1,
                3,
            ),
        ),
        {
            "--out": Values(
                ("out/c.png", "c.svg", "c.jpg", "c.pdf"),
                ("c", "out", "notes.txt", "/proc/c.png", "photos", ""),
            )
        },
    ),
    "compare-attention": (
        (),
        {
            "--data": PLACES,
            "--budget": NUMBERS,
            "--attentions": Values(
                ("none", "soft_mask", "se", "eca"), ("psa", "dual", "x"), 0, 3
            ),
            "--model": NETWORKS,
            "--image-size": SIZES,
            "--batch-size": NUMBERS,
            "--learning-rate": RATES,
            "--seeds": NUMBERS,
            "--max-images": NUMBERS,
            "--out": OUTS,
        },
    ),
    "segment": (
        (),
        {
            "--data": Values(
                ("shapes", "streets"),
                (
                    "alone", "photos", "empty", "data.npz", "nowhere",
                    "notes.txt", "broken.npz", "",
                ),
            ),
            "--model": Values(("tiny_danet", "tiny_eanet"), ("danet50", "x")),
            "--init": Values(
                ("segmenter.keras",),
                ("model.keras", "nowhere.keras", "broken.keras"),
            ),
            "--image-size": SIZES,
            "--batch-size": NUMBERS,
            "--epochs": NUMBERS,
            "--learning-rate": RATES,
            "--validation-share": Values(("0.1", "0.5"), SHARES.wrong),
            "--flip": FLAGS,
            "--no-flip": None,
            "--seed": NUMBERS,
            "--out": OUTS,
        },
    ),
    "reproduce": (
        (Values(tuple(TABLES)),),
        {
            "--scale": Values(("paper", "small")),
            "--epochs": NUMBERS,
            "--max-images": NUMBERS,
            "--label-file": LABELS,
            "--tfds-directory": Values(("empty", "nowhere")),
            "--out": OUTS,
        },
    ),
    "export": (
        (MODELS,),
        {
            "--format": Values(("tflite", "saved_model", "onnx")),
            "--quantize": Values(("none", "float16", "dynamic", "int8")),
            "--data": PLACES,
            "--num-images": NUMBERS,
            "--input-type": TYPES,
            "--output-type": TYPES,
            "--batch-size": NUMBERS,
            "--size": Values(("32", "40"), SIZES.wrong, 2, 2),
            "--with-mask": None,
            "--logits": None,
            "--labels": Values(
                ("cats.txt",),
                (
                    "notes.txt", "latin.txt", "nowhere.txt", "empty",
                    "model.keras", "",
                ),
            ),
            "--output": Values(
                ("out/m.tflite", "new.tflite"),
                (
                    "out/m.onnx", "out/m", "notes.txt", "photos", "",
                    "/proc/x.tflite", "notes.txt/m.tflite", "run",
                ),
            ),
        },
    ),
    "quantize": (
        (MODELS,),
        {
            **TRAIN,
            "--data": PLACES,
            "--engine": Values(("keras", "tfmot")),
        },
    ),
    "verify": (
        (MODELS, Values(("model.tflite",), MODELS.wrong)),
        {
            "--data": PLACES,
            "--num-images": NUMBERS,
            "--max-difference": RATES,
            "--min-agreement": SHARES,
        },
    ),
    "benchmark": (
        (Values(("model.tflite",), ("broken.tflite", "nowhere.tflite"), 1, 2),),
        {"--runs": NUMBERS, "--output": OUTS},
    ),
    "benchmark ": (
        (CONFIGS,),
        {
            "--data": None,
            "--steps": NUMBERS,
            "--rounds": NUMBERS,
            "--data.source": DATA["--data.source"],
            "--data.location": PLACES,
            "--batch-size": NUMBERS,
        },
    ),
}  # fmt: skip
# Right images, without which most command lines would not get far.
SOURCES = (
    ("--data.source", "npz", "--data.location", "named.npz"),
    ("--data.source", "folder", "--data.location", "photos"),
    ("--data.source", "digits"),
)


@st.composite
def command_lines(draw):
    """A command and its arguments, as words."""
    name = draw(st.sampled_from(tuple(COMMANDS)))
    is_careful = draw(st.integers(0, 3)) > 0
    positionals, options = COMMANDS[name]
    words = []
    for values in positionals:
        words += draw(values.words(is_careful))
    if is_careful or draw(st.booleans()):
        words += _foundation(draw, name, options)
    names = st.lists(st.sampled_from(tuple(options)), max_size=4, unique=True)
    for option in draw(names):
        words += _option(draw, option, options[option], is_careful)
    if not is_careful and draw(st.integers(0, 3)) == 0:
        place = draw(st.integers(0, len(words)))
        words.insert(place, draw(st.sampled_from(JUNK)))
    return [name.strip(), *words]


def _foundation(draw, name, options):
    """What most command lines need to get far."""
    words = []
    if "--data.source" in options:
        words += draw(st.sampled_from(SOURCES))
    elif name in ("export", "verify"):
        words += ["--data", draw(st.sampled_from(("photos", "named.npz")))]
    if name in ("train", "benchmark "):
        words += ["--model", "smallest", "--batch-size", "8"]
    return words


def _option(draw, option, values, is_careful):
    if values is None:
        return [option]
    words = draw(values.words(is_careful))
    if len(words) == 1 and draw(st.integers(0, 4)) == 0:
        return [f"{option}={words[0]}"]
    return [option, *words]
