"""`ratn demo`: the main job, on real images, in a few minutes on a CPU.

Without arguments it learns the handwritten digits that come inside
scikit-learn; `--data-directory` takes one's own folder, with a sub-folder of
images for each class. Nothing is downloaded.
"""

import argparse
import collections
import json
import math
import pathlib
import sys
import time

import keras
import numpy as np

import keras_ratn
from keras_ratn import command
from keras_ratn.keras_settings import standard_settings

from .batch_normalization import fused_batch_normalization
from .config import DataConfig
from .data.pixels import read_image
from .data.places import image_files
from .data.places import part_folders
from .data.places import report_unread
from .data.places import sub_folders
from .data.sources import digits
from .errors import RunError

SIZE = 32  # pixels, of the images as the network sees them
# A small member of the CIFAR family: half its width, shorter trunks.
ARCHITECTURE = keras_ratn.Architecture(
    stem="cifar",
    stem_filters=16,
    stage_filters=(32, 64, 128),
    mask_depths=(2, 2, 1),
    num_trunk_units=1,
    num_tail_units=0,
)
TEST_SHARE = 0.2
BATCH_SIZE = 32
EPOCHS = 8
LEARNING_RATE = 2e-3
WEIGHT_DECAY = 0.02
MIN_IMAGES_PER_CLASS = 5


def main(arguments=None):
    """Trains, evaluates, saves, reloads and draws; prints what it made.

    Args:
        arguments: Optional list of strings. Defaults to the command line's.

    Returns:
        Integer exit status: 0, or 1 if the images cannot be used.
    """
    options = _parser().parse_args(arguments)
    with standard_settings():
        return _run(options)


def _run(options):
    folder = pathlib.Path(options.output)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        images, labels, names, skipped = _load(options.data_directory)
    except (OSError, RunError, ValueError) as error:
        return command.fail("ratn demo", error)
    keras.utils.set_random_seed(options.seed)
    train, test = _split(images, labels, options.seed)
    print(
        f"{len(train[0])} training and {len(test[0])} test images, "
        f"{len(names)} classes, on Keras's {keras.backend.backend()} backend"
    )

    model = keras_ratn.ResidualAttentionNetwork(
        ARCHITECTURE,
        input_shape=images.shape[1:],
        classes=len(names),
        class_names=names,
        name="demo",
    )
    start = time.perf_counter()
    history = _train(model, train, test, options.epochs)
    seconds = time.perf_counter() - start
    _, accuracy = model.evaluate(*test, verbose=0)

    model.save(folder / "model.keras")
    reloaded = keras.saving.load_model(folder / "model.keras")
    scores = reloaded.predict(test[0], verbose=0)
    results = {
        "test_accuracy": float(accuracy),
        "reloaded_test_accuracy": float(
            np.mean(scores.argmax(axis=1) == test[1])
        ),
        "majority_class_rate": float(np.bincount(test[1]).max() / len(test[1])),
        "train_images": len(train[0]),
        "test_images": len(test[0]),
        "classes": names,
        "skipped_files": skipped,
        "epochs": options.epochs,
        "training_seconds": round(seconds, 1),
        "parameters": model.count_params(),
        "macs": keras_ratn.count_macs(model),
        "keras": keras.version(),
        "backend": keras.backend.backend(),
        "seed": options.seed,
    }
    (folder / "results.json").write_text(json.dumps(results, indent=2) + "\n")
    _draw_curves(history, folder / "curves.png")
    _draw_attention(reloaded, test[0][:3], folder / "attention.png")
    _print_summary(results, folder, reloaded, test, scores)
    return 0


def _parser():
    parser = command.Parser(
        prog="ratn demo",
        description="Train, evaluate and look at a small residual attention "
        "network on real images.",
    )
    parser.add_argument(
        "--data-directory",
        metavar="DIR",
        help="folder with a sub-folder of images for each class "
        "(default: scikit-learn's handwritten digits)",
    )
    parser.add_argument(
        "--output",
        metavar="DIR",
        default="ratn_demo",
        help="folder for what the demo makes (default: ratn_demo)",
    )
    parser.add_argument(
        "--epochs", type=_positive, default=EPOCHS, help=f"default: {EPOCHS}"
    )
    parser.add_argument("--seed", type=_seed, default=0, help="default: 0")
    return parser


def _seed(text):
    value = int(text)
    if not 0 <= value < 2**32:
        raise argparse.ArgumentTypeError(
            f"must be from 0 to {2**32 - 1}, not {value}"
        )
    return value


def _positive(text):
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, not {value}")
    return value


def _load(directory):
    """`uint8` images `(n, SIZE, SIZE, channels)`, labels, names, skipped."""
    if directory is None:
        return (*_digits(), [])
    return _folder(pathlib.Path(directory))


def _digits():
    source = digits.load(DataConfig("digits", image_size=SIZE))
    images, labels = [], []
    for split in (source.train, source.test):
        # All three channels are the same.
        images.append(split.read(np.arange(len(split)))[0][..., :1])
        labels.append(split.labels)
    return np.concatenate(images), np.concatenate(labels), source.class_names


def _folder(directory):
    if not directory.is_dir():
        raise ValueError(f"--data-directory: there is no folder {directory}")
    parts = part_folders(directory)
    if parts:
        raise ValueError(
            f"--data-directory: {directory} has training and test images of "
            f"its own. Pass {parts['train']}, or train on the whole by "
            f"`ratn train folder --data.location {directory}`."
        )
    names = [folder.name for folder in sub_folders(directory)]
    if len(names) < 2:
        raise ValueError(
            f"--data-directory: {directory} must hold one sub-folder of "
            f"images for each of at least two classes, but has {len(names)}"
        )
    images, labels, skipped = [], [], []
    unread = collections.Counter()
    for label, name in enumerate(names):
        for path in image_files(directory / name, unread):
            try:
                images.append(read_image(path, (SIZE, SIZE, 3)))
                labels.append(label)
            except ValueError as error:  # empty, cut off, or not an image
                skipped.append(str(path))
                print(f"skipped {path}: {error}", file=sys.stderr)
    report_unread(directory, unread)
    if skipped:
        print(f"{len(skipped)} files skipped", file=sys.stderr)
    counts = np.bincount(labels, minlength=len(names))
    for name, count in zip(names, counts):
        if count < MIN_IMAGES_PER_CLASS:
            raise ValueError(
                f"--data-directory: class {name!r} has {count} readable "
                f"images; at least {MIN_IMAGES_PER_CLASS} are needed"
            )
    return np.stack(images), np.array(labels, "int32"), names, skipped


def _split(images, labels, seed):
    """Training and test part, each class in both in the same share."""
    order = np.random.default_rng(seed).permutation(len(labels))
    test = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        members = order[labels[order] == label]
        test[members[: max(1, round(TEST_SHARE * len(members)))]] = True
    train = order[~test[order]]
    held_out = order[test[order]]
    return (images[train], labels[train]), (images[held_out], labels[held_out])


def _train(model, train, test, epochs):
    steps = epochs * math.ceil(len(train[0]) / BATCH_SIZE)
    schedule = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=LEARNING_RATE / 20,
        decay_steps=steps - steps // 5,
        warmup_target=LEARNING_RATE,
        warmup_steps=steps // 5,
    )
    model.compile(
        keras.optimizers.AdamW(schedule, weight_decay=WEIGHT_DECAY),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
        # On TensorFlow compiling takes longer than it saves here; JAX without
        # it would run operation by operation.
        jit_compile=keras.backend.backend() == "jax",
    )
    # Built inside the first step, the optimizer's variables would make
    # TensorFlow trace that step twice.
    model.optimizer.build(model.trainable_variables)
    with fused_batch_normalization(model):
        history = model.fit(
            *train,
            batch_size=BATCH_SIZE,
            epochs=epochs,
            validation_data=test,
            verbose=1,
        )
    return history.history


def _draw_curves(history, path):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3))
    for axis, quantity in zip(figure.subplots(1, 2), ("loss", "accuracy")):
        for key, label in ((quantity, "training"), (f"val_{quantity}", "test")):
            epochs = range(1, len(history[key]) + 1)
            axis.plot(epochs, history[key], label=label)
        axis.set_xlabel("epoch")
        axis.set_ylabel(quantity)
        axis.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def _draw_attention(model, images, path):
    """Each image, then for each stage its mask and the mask laid over it."""
    from matplotlib.figure import Figure

    masks = keras_ratn.attention_masks(model, images)
    overlays = keras_ratn.overlay_masks(images, masks)
    columns = [("input", images.squeeze())]
    for name, mask in masks.items():
        stage = name.partition("_")[0]
        columns.append((f"{stage} mask", mask.mean(axis=-1)))
        columns.append((f"{stage} overlay", overlays[name]))

    figure = Figure(figsize=(1.6 * len(columns), 1.7 * len(images)))
    axes = figure.subplots(len(images), len(columns), squeeze=False)
    for index, row in enumerate(axes):
        for axis, (title, pictures) in zip(row, columns):
            colours = "gray" if title == "input" else "viridis"
            axis.imshow(pictures[index], cmap=colours)
            axis.set_axis_off()
            if index == 0:
                axis.set_title(title, fontsize=9)
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def _print_summary(results, folder, model, test, scores):
    import rich.console
    import rich.table

    table = rich.table.Table(title="ratn demo", show_header=False)
    table.add_row("test accuracy", f"{results['test_accuracy']:.2%}")
    table.add_row("after reloading", f"{results['reloaded_test_accuracy']:.2%}")
    table.add_row("majority class", f"{results['majority_class_rate']:.2%}")
    table.add_row("training", f"{results['training_seconds']} s")
    table.add_row("parameters", f"{results['parameters']:,}")
    first = keras_ratn.decode_predictions(scores[:1], top=1, model=model)[0][0]
    truth = results["classes"][test[1][0]]
    table.add_row(
        "first test image", f"{first[1]} ({first[2]:.0%}), in truth {truth}"
    )
    for name, what in (
        ("model.keras", "the trained network"),
        ("curves.png", "loss and accuracy"),
        ("attention.png", "images, masks and overlays"),
        ("results.json", "these numbers"),
    ):
        table.add_row(what, str(folder / name))
    rich.console.Console(markup=False).print(table)


if __name__ == "__main__":
    sys.exit(main())
