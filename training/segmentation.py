"""`ratn segment`: trains a network that says what each pixel shows.

Without data it learns shapes that it draws itself, which tells in two minutes
whether everything works. One's own data are pairs of an image and a mask.
"""

import dataclasses
import json
import pathlib
import sys
from collections.abc import Callable

import keras
import numpy as np

import keras_ratn
from keras_ratn import command
from keras_ratn.models import ResidualBackbone

from .batch_normalization import fused_batch_normalization
from .callbacks import lost_weight
from .checkpoint import publish_text
from .checkpoint import published
from .command_line import tyro
from .data import epoch_order
from .data import random
from .data.pixels import fit_image
from .data.pixels import open_image
from .data.places import IMAGE_SUFFIXES
from .errors import RunError
from .run_folder import make_folder
from .run_folder import refuse_foreign
from .runtime import keep_freed_memory

IGNORED = 255  # the mask's value for pixels that count neither way
OUTPUTS = ("best.keras", "results.json", "predictions.png")
NUM_SHAPES = 160
SHAPE_NAMES = ("background", "square", "disc")
TINY = ResidualBackbone(
    (1, 1), "basic", widths=(16, 32), stem_filters=16, dilations=((), (1, 2))
)
MODELS = (
    "tiny_danet",
    "tiny_eanet",
    "danet50",
    "danet101",
    "eanet50",
    "eanet101",
)


@dataclasses.dataclass(frozen=True)
class Arguments:
    """What is learned, by which network, and for how long."""

    data: str = "shapes"
    """`shapes` (drawn, for a trial), a folder that holds `images/` and
    `masks/` with files of the same names, or an .npz file with `images` and
    `masks`. A mask holds the number of the class at each pixel, from 0, and
    255 where a pixel does not count. Class names are the lines of
    `classes.txt` in the folder, or `class_names` in the file."""
    model: str = "tiny_danet"
    """`danet50`, `danet101`, `eanet50`, `eanet101`, or one of two small ones,
    `tiny_danet` and `tiny_eanet`."""
    init: str | None = None
    """A `.weights.h5` or `.keras` file of the same network to begin with."""
    image_size: int = 64
    """Height and width that images and masks are brought to (shorter side,
    then centre crop)."""
    batch_size: int = 8
    """Images of one step."""
    epochs: int = 10
    """Passes over the training images."""
    learning_rate: float = 3e-3
    """Of AdamW at the start; it falls to 0 by a cosine."""
    validation_share: float = 0.2
    """Part of the pairs whose mIoU chooses the best epoch."""
    test_share: float = 0.2
    """Part of the pairs on which the network of that epoch is measured; they
    play no other part."""
    flip: bool = True
    """Whether training images are mirrored at random."""
    seed: int = 0
    """Of weights, order, flips and which pairs are held out."""
    out: str = "runs/segment"
    """Where the network, the results and a picture of predictions go."""


@dataclasses.dataclass(frozen=True)
class Pairs:
    """Images and masks that are read by number.

    Args:
        class_names: List of strings.
        count: Integer.
        read: Function from a number to a pair of uint8 arrays: the image
            `(size, size, 3)` and the mask `(size, size)`.
        names: Optional list of strings, what the images are called.
    """

    class_names: list
    count: int
    read: Callable
    names: list | None = None


def main(arguments=None):
    """Runs `ratn segment` and returns its exit status."""
    parsed = command.parse(
        Arguments,
        prog="ratn segment",
        description=(
            "Trains a network that classifies every pixel, and measures "
            "its mean intersection over union.\n\n"
            "    ratn segment\n"
            "    ratn segment --data streets --model danet50 "
            "--image-size 513"
        ),
        args=arguments,
        config=(tyro.conf.FlagCreatePairsOff,),
    )
    try:
        segment(parsed)
    except (RunError, ValueError) as error:
        return command.fail("ratn segment", error)
    return 0


def segment(arguments):
    """Trains, keeps the best network, and measures it.

    Args:
        arguments: `Arguments`.

    Returns:
        Dictionary, as written to `results.json`.
    """
    _check(arguments)
    keep_freed_memory()
    keras.utils.set_random_seed(arguments.seed)
    pairs = load_pairs(arguments)
    folder = pathlib.Path(arguments.out)
    _refuse_foreign(folder)
    make_folder(folder, "--out")
    parts = split(pairs, arguments)
    network = build(arguments, pairs.class_names)
    training, validation, test = _batches(
        pairs, parts, arguments, len(network.outputs)
    )
    counts = {part: len(numbers) for part, numbers in parts.items()}
    print(
        ", ".join(f"{n} {part}" for part, n in counts.items())
        + f" images, classes: {', '.join(pairs.class_names)}",
        flush=True,
    )
    best, validation_miou = fit(
        network, training, validation, arguments, folder
    )
    # Validation images chose the epoch: of all epochs, the one that suits them.
    matrix = pixel_confusion(best, test, len(pairs.class_names))
    results = {
        "arguments": dataclasses.asdict(arguments),
        "images": counts,
        "test_images": _called(pairs, parts["test"]),
        "validation_miou": validation_miou,
        **report(matrix, pairs.class_names),
    }
    publish_text(folder / "results.json", json.dumps(results, indent=2) + "\n")
    _draw(best, test, pairs.class_names, folder / "predictions.png")
    _print(results, folder)
    return results


def _refuse_foreign(folder):
    """Earlier results are replaced, and nothing else is."""
    try:
        earlier = json.loads((folder / "results.json").read_text())
        if "miou" in earlier:
            return
    except (OSError, TypeError, ValueError):
        pass
    refuse_foreign(folder, "--out", OUTPUTS)


def _check(arguments):
    if arguments.model.lower() not in MODELS:
        raise RunError(
            f"There is no network {arguments.model!r} that segments. Known: "
            f"{', '.join(MODELS)}"
        )
    for field in ("batch_size", "epochs"):
        if getattr(arguments, field) < 1:
            raise RunError(
                f"--{field.replace('_', '-')} must be at least 1. Received: "
                f"{getattr(arguments, field)}"
            )
    shares = {
        "--validation-share": arguments.validation_share,
        "--test-share": arguments.test_share,
    }
    for option, share in shares.items():
        if not 0 < share < 1:
            raise RunError(
                f"{option} must be between 0 and 1. Received: {share}"
            )
    if sum(shares.values()) >= 1:
        raise RunError(
            f"{' and '.join(shares)} must leave images to train on. Received: "
            f"{' and '.join(map(str, shares.values()))}, 1 or more together."
        )


def shapes(number, size=64, seed=0):
    """Draws bright squares and dark discs on a noisy grey ground.

    Args:
        number: Integer. How many images.
        size: Integer. Height and width, at least 32. Defaults to `64`.
        seed: Integer. Defaults to `0`.

    Returns:
        Pair of uint8 arrays: images `(number, size, size, 3)` and masks
        `(number, size, size)` of 0 (ground), 1 (square) and 2 (disc).
    """
    generator = np.random.default_rng(seed)
    images = generator.normal(128, 20, (number, size, size, 3))
    masks = np.zeros((number, size, size), np.uint8)
    rows, columns = np.mgrid[:size, :size]
    side, radius = size * 3 // 8, size // 5
    for mask in masks:
        row, column = generator.integers(0, size - side, 2)
        mask[row : row + side, column : column + side] = 1
        row, column = generator.integers(radius, size - radius, 2)
        disc = (rows - row) ** 2 + (columns - column) ** 2 < radius**2
        mask[disc] = 2
    images[masks == 1] += 70
    images[masks == 2] -= 70
    return np.clip(images, 0, 255).astype(np.uint8), masks


def load_pairs(arguments):
    """The `Pairs` that `--data` stands for."""
    size = arguments.image_size
    path = pathlib.Path(arguments.data).expanduser()
    if arguments.data == "shapes":
        images, masks = shapes(NUM_SHAPES, max(size, 32), arguments.seed)
        names = list(SHAPE_NAMES)
        return Pairs(names, NUM_SHAPES, lambda i: (images[i], masks[i]))
    if path.is_dir():
        return _folder_pairs(path, size)
    if path.suffix == ".npz" and path.is_file():
        return _array_pairs(path, size)
    raise RunError(
        f"--data is nothing to segment: {arguments.data!r}. Wanted: `shapes`, "
        "a folder with images/ and masks/, or an .npz file with `images` and "
        "`masks`."
    )


def _folder_pairs(root, size):
    images = _files(root / "images", IMAGE_SUFFIXES)
    masks = _files(root / "masks", {".png"})
    alone = sorted(set(images) ^ set(masks))
    if alone:
        raise RunError(
            f"Images and masks in {root} must have the same names. Without "
            f"its other half: {', '.join(alone[:3])} ({len(alone)} in all)"
        )
    stems = sorted(images)

    def read(number):
        stem = stems[number]
        try:
            image, whole = open_image(images[stem], size)
            mask = _open_mask(masks[stem])
        except ValueError as error:
            raise RunError(
                f"{images[stem]} or its mask is empty or no image: {error}. "
                "Mend or remove the pair."
            ) from error
        return _sized(image, whole, mask, stem, size)

    return _checked(_names(root / "classes.txt"), len(stems), read, stems)


def _open_mask(path):
    from PIL import Image

    try:
        with Image.open(path) as mask:
            # Colours of a palette stand for the numbers behind them.
            mask.load()
            return Image.fromarray(np.asarray(mask))
    except Exception as error:  # decoders raise almost anything
        raise ValueError(str(error) or type(error).__name__) from error


def _checked(names, count, read, image_names=None):
    """The pairs, each of which was read once: errors come before training."""
    if count < 3:
        raise RunError(
            "Three pairs of image and mask at least are wanted: to train on, "
            f"to choose the best epoch by, and to test on. Received: {count}"
        )
    highest = max(_highest(read(number)[1]) for number in range(count))
    names = names or [str(number) for number in range(highest + 1)]
    if highest >= len(names):
        raise RunError(
            f"There are {len(names)} class names, but a mask holds the number "
            f"{highest}. Numbers go from 0 to {len(names) - 1}; {IGNORED} "
            "does not count."
        )
    return Pairs(names, count, read, image_names)


def _files(folder, suffixes):
    """Paths by name without ending."""
    found = {}
    if folder.is_dir():
        found = {
            path.stem: path
            for path in sorted(folder.iterdir())
            if path.suffix.lower() in suffixes
        }
    if not found:
        raise RunError(
            f"There are no files ending in {', '.join(sorted(suffixes))} in "
            f"{folder}. Wanted: images/NAME and masks/NAME.png."
        )
    return found


def _names(path):
    if not path.is_file():
        return None
    # Editors end files with blank lines, and some begin them with a mark.
    names = path.read_text(encoding="utf-8-sig").rstrip().splitlines()
    names = [name.strip() for name in names]
    if "" in names:
        raise RunError(
            f"{path} must hold a class name in each line. Received: nothing "
            f"in line {names.index('') + 1}"
        )
    return names or None


def _highest(mask):
    known = mask[mask != IGNORED]
    return int(known.max()) if known.size else 0


def _array_pairs(path, size):
    from PIL import Image

    with np.load(path) as file:
        missing = {"images", "masks"} - set(file.files)
        if missing:
            raise RunError(
                f"{path} must hold `images` and `masks`. Received: "
                f"{', '.join(file.files) or 'nothing'}"
            )
        images, masks = file["images"], file["masks"]
        names = None
        if "class_names" in file.files:
            names = [str(name) for name in file["class_names"]]
    if images.shape[3:] != (3,) or images.shape[:3] != masks.shape:
        raise RunError(
            f"{path} must hold `images` of shape (n, height, width, 3) and "
            "`masks` of shape (n, height, width). Received: "
            f"{images.shape} and {masks.shape}"
        )
    if images.dtype != np.uint8:
        raise RunError(
            f"`images` in {path} must be of type uint8, pixels 0-255. "
            f"Received: {images.dtype}"
        )
    if not np.issubdtype(masks.dtype, np.integer) or (
        masks.size and not 0 <= masks.min() <= masks.max() <= IGNORED
    ):
        raise RunError(
            f"`masks` in {path} must be integers from 0 to {IGNORED}."
        )
    masks = masks.astype(np.uint8)

    def read(number):
        image = Image.fromarray(images[number])
        return _sized(
            image,
            image.size,
            Image.fromarray(masks[number]),
            f"{path}, number {number}",
            size,
        )

    return _checked(names, len(images), read)


def _sized(image, whole, mask, name, size):
    """Both as arrays of the wanted size; `whole` is the stored image's."""
    if whole != mask.size or mask.mode not in ("L", "P"):
        raise RunError(
            f"The mask of {name} must have one number for each pixel of its "
            f"image. Received: an image of {whole}, a mask of "
            f"{mask.size} pixels and mode {mask.mode!r}"
        )
    mask = fit_image(mask, size, size, bilinear=False)
    return fit_image(image, size, size), mask[..., 0]


class Batches(keras.utils.PyDataset):
    """Some of the pairs, in batches of pixels 0-255 and numbers of classes.

    Args:
        pairs: `Pairs`.
        numbers: Integers. Which of them.
        batch_size: Integer. A last batch may be smaller.
        seed: Integer, or `None` for their own order without flips.
        flip: Boolean. Whether images are mirrored at random.
        copies: Integer. How often masks are given: once for each output.
    """

    def __init__(
        self, pairs, numbers, batch_size, seed=None, flip=False, copies=1
    ):
        super().__init__()
        self.pairs, self.numbers, self.batch_size = pairs, numbers, batch_size
        self.seed, self.flip, self.copies = seed, flip, copies
        self.epoch = 0

    def __len__(self):
        return -(-len(self.numbers) // self.batch_size)

    def __getitem__(self, index):
        order = np.arange(len(self.numbers))
        if self.seed is not None:
            order = epoch_order(len(order), self.seed, self.epoch)
        chosen = order[index * self.batch_size :][: self.batch_size]
        images, masks = zip(*(self._pair(self.numbers[n]) for n in chosen))
        masks = np.stack(masks).astype("int32")
        return np.stack(images), (masks,) * self.copies

    def _pair(self, number):
        image, mask = self.pairs.read(number)
        if self.flip and random(self.seed, number, self.epoch).random() < 0.5:
            image, mask = image[:, ::-1], mask[:, ::-1]
        return image, mask

    def on_epoch_end(self):
        self.epoch += 1


def split(pairs, arguments):
    """Which pairs play which part, the same for a seed.

    Returns:
        Dictionary from `"training"`, `"validation"` and `"test"` to arrays of
        numbers, one at least in each.
    """
    numbers = random(arguments.seed).permutation(pairs.count)
    sizes = [
        max(round(pairs.count * share), 1)
        for share in (arguments.test_share, arguments.validation_share)
    ]
    while sum(sizes) >= pairs.count:  # of few pairs, rounded up
        sizes[sizes.index(max(sizes))] -= 1
    test, validation, training = np.split(numbers, np.cumsum(sizes))
    return {"training": training, "validation": validation, "test": test}


def _batches(pairs, parts, arguments, copies):
    """Batches of the three parts; the last two in their order, as they are."""
    size, seed = arguments.batch_size, arguments.seed
    training = Batches(
        pairs, parts["training"], size, seed, arguments.flip, copies
    )
    others = [parts["validation"], parts["test"]]
    return training, *(Batches(pairs, n, size, copies=copies) for n in others)


def _called(pairs, numbers):
    """What images are called, or else their numbers, as JSON takes them."""
    numbers = sorted(map(int, numbers))
    return [pairs.names[n] for n in numbers] if pairs.names else numbers


def build(arguments, class_names):
    """The network that `--model` names; a DANet has its auxiliary outputs."""
    name = arguments.model.lower()
    options = {
        "input_shape": (arguments.image_size, arguments.image_size, 3),
        "classes": len(class_names),
        "class_names": class_names,
        "weights": arguments.init,
        "data_format": "channels_last",
        "name": name,
    }
    if "danet" in name:
        options["auxiliary_outputs"] = True
    if name.startswith("tiny_"):
        return keras_ratn.SegmentationNetwork(TINY, name[5:], **options)
    return keras_ratn.create_model(name, **options)


def serving(network):
    """The network without the outputs that only training needs."""
    return keras.Model(network.inputs, network.outputs[0], name=network.name)


class KeepBest(keras.callbacks.Callback):
    """Publishes the network whenever its mIoU on validation images is best."""

    def __init__(self, network, path):
        super().__init__()
        self.network, self.path, self.best = network, path, -1.0

    def on_epoch_end(self, epoch, logs=None):
        # The loss can stay finite over weights that are not (`StopAtNaN`).
        lost = "The loss" if not np.isfinite(logs["loss"]) else None
        lost = lost or lost_weight(self.network)
        if lost is not None:
            raise RunError(
                f"{lost} became nan or infinite in epoch {epoch + 1}; the "
                "best network before that is kept. Choose a smaller "
                "--learning-rate."
            )
        # Of several outputs, only the first is measured.
        (value,) = (
            value
            for key, value in logs.items()
            if key.startswith("val_") and key.endswith("miou")
        )
        if value > self.best:
            self.best = float(value)
            with published(self.path) as temporary:
                self.network.save(temporary)


def fit(network, training, validation, arguments, folder):
    """Trains; returns the network with the best mIoU, and that."""
    outputs = len(network.outputs)
    optimizer = keras.optimizers.AdamW(
        keras.optimizers.schedules.CosineDecay(
            arguments.learning_rate, len(training) * arguments.epochs
        )
    )
    miou = keras.metrics.MeanIoU(
        len(training.pairs.class_names),
        name="miou",
        ignore_class=IGNORED,
        sparse_y_pred=False,
    )
    losses = [
        keras.losses.SparseCategoricalCrossentropy(
            from_logits=True, ignore_class=IGNORED
        )
        for _ in range(outputs)
    ]
    metrics = [[miou]] + [[]] * (outputs - 1)
    network.compile(
        optimizer,
        loss=losses if outputs > 1 else losses[0],
        metrics=metrics if outputs > 1 else metrics[0],
        jit_compile=keras.backend.backend() == "jax",
    )
    optimizer.build(network.trainable_variables)
    # What is kept has no outputs that only training needs.
    served = keras.Model(network.inputs, network.outputs[0], name=network.name)
    keeper = KeepBest(served, folder / "best.keras")
    with fused_batch_normalization(network):
        network.fit(
            training,
            validation_data=validation,
            epochs=arguments.epochs,
            verbose=2,
            callbacks=[keeper],
        )
    best = keras.saving.load_model(keeper.path, compile=False)
    return best, keeper.best


def pixel_confusion(network, batches, classes):
    """Counts pixels `(classes, classes)`: true class by row."""
    counts = np.zeros((classes, classes), np.int64)
    for index in range(len(batches)):
        images, masks = batches[index]
        logits = network.predict_on_batch(images)
        counts += confusion(masks[0], logits.argmax(axis=-1), classes)
    return counts


def confusion(truth, predicted, classes):
    """The same for two arrays of class numbers; ignored pixels left out."""
    known = truth != IGNORED
    pairs = classes * truth[known].astype(np.int64) + predicted[known]
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)


def report(matrix, class_names):
    """Intersection over union of each class, their mean, and accuracy.

    Args:
        matrix: Integers `(classes, classes)`, true class by row.
        class_names: List of strings.

    Returns:
        Dictionary. A class that is neither there nor predicted has no IoU
        (`None`) and does not count in the mean.
    """
    both = np.diag(matrix)
    either = matrix.sum(0) + matrix.sum(1) - both
    ious = [int(b) / int(e) if e else None for b, e in zip(both, either)]
    known = [iou for iou in ious if iou is not None]
    return {
        "miou": float(np.mean(known)) if known else None,
        "pixel_accuracy": float(both.sum() / max(matrix.sum(), 1)),
        "pixels": int(matrix.sum()),
        "classes": [
            {"class": name, "iou": iou} for name, iou in zip(class_names, ious)
        ],
    }


def _draw(network, batches, class_names, path):
    """Images, what they show and what the network says, as a PNG."""
    from matplotlib.figure import Figure

    images, masks = batches[0]
    images, truth = images[:4], masks[0][:4]
    predicted = network.predict_on_batch(images).argmax(axis=-1)
    figure = Figure(figsize=(7.5, 2.5 * len(images)), layout="constrained")
    grid = figure.subplots(len(images), 3, squeeze=False)
    for row, image, mask, guess in zip(grid, images, truth, predicted):
        row[0].imshow(image)
        for axes, classes in zip(row[1:], (mask, guess)):
            axes.imshow(
                np.ma.masked_equal(classes, IGNORED),
                vmin=0,
                vmax=max(len(class_names) - 1, 1),
                interpolation="nearest",
            )
        for axes in row:
            axes.set_axis_off()
    for axes, title in zip(grid[0], ("image", "mask", "network")):
        axes.set_title(title)
    with published(path) as temporary:
        figure.savefig(temporary)


def _print(results, folder):
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"mean IoU on test images: {results['miou']:.1%}")
    table.add_column("class")
    table.add_column("IoU", justify="right")
    for row in results["classes"]:
        iou = row["iou"]
        table.add_row(row["class"], "-" if iou is None else f"{iou:.1%}")
    console = Console(markup=False)
    console.print(table)
    console.print(
        f"pixels right: {results['pixel_accuracy']:.1%}. Made in {folder}: "
        "best.keras, results.json, predictions.png",
        markup=False,
        highlight=False,
    )


if __name__ == "__main__":
    sys.exit(main())
