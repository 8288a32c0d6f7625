"""Random folders of images are read as they were made, or refused.

The expectation is worked out from how a folder was made: each image has a
colour of its own, which says of which class and part it is.
"""

import collections
import contextlib
import itertools
import pathlib
import tempfile

import hypothesis.strategies as st
import numpy as np
from fuzz import profile
from hypothesis import given
from PIL import Image

from training.config import DataConfig
from training.data import load_source
from training.errors import RunError

SIZE = 32
NAMES = ("cat", "Dog", "a b", "train", "2", "käfer", "x.y", "O'Neill", "猫")
GREYS = [(v, v, v) for v in range(8, 250, 30)]
COLOURS = [c for c in itertools.product(range(10, 250, 40), repeat=3)]
COLOURS = [c for c in COLOURS if len(set(c)) > 1]
# Ending -> modes that it can hold.
KINDS = {
    ".jpg": ("RGB", "L", "CMYK"),
    ".JPEG": ("RGB", "L"),
    ".png": ("RGB", "L", "RGBA", "P", "I;16"),
    ".PNG": ("RGB", "LA"),
    ".bmp": ("RGB", "L"),
    ".gif": ("P",),
    ".webp": ("RGB", "RGBA"),
    ".tif": ("RGB", "CMYK", "RGBA"),
}
PARTS = {
    "train": ("train", "Training", "TRAIN"),
    "validation": ("val", "validation", "Valid"),
    "test": ("test", "Testing"),
}


@st.composite
def pictures(draw):
    """How an image file is made: ending, mode, size, where in its class."""
    ending = draw(st.sampled_from(sorted(KINDS)))
    return {
        "ending": ending,
        "mode": draw(st.sampled_from(KINDS[ending])),
        "size": draw(st.tuples(st.integers(1, 70), st.integers(1, 70))),
        "place": draw(st.sampled_from(("", "", "", "more", "more/deep"))),
        "linked": draw(st.integers(0, 9)) == 0,
        "damaged": draw(st.integers(0, 14)) == 0,
    }


@st.composite
def folders(draw):
    """A description of a folder: parts, classes, images and what else is."""
    classes = draw(
        st.lists(st.sampled_from(NAMES), min_size=1, max_size=4, unique=True)
    )
    parts = draw(
        st.sampled_from(
            (None, None, ("train",), ("train", "test"), ("train", "validation"))
            + (("train", "validation", "test"), ("test",))
        )
    )
    if parts is None:
        classes = [name for name in classes if name != "train"] or ["cat"]
    images = {
        (part, name): draw(
            st.lists(pictures(), min_size=0 if part == "test" else 1)
            if draw(st.integers(0, 19))
            else st.just([])
        )[:5]
        for part in parts or (None,)
        for name in classes
    }
    return {
        "classes": classes,
        "parts": {p: draw(st.sampled_from(PARTS[p])) for p in parts or ()},
        "images": images,
        "others": draw(
            st.sets(
                st.sampled_from(
                    ("notes", "hidden", "hidden class", "eval", "new class")
                )
                if draw(st.integers(0, 2)) == 0
                else st.sampled_from(("notes", "hidden", "hidden class")),
                max_size=2,
            )
        ),
        "linked class": draw(st.integers(0, 4)) == 0,
    }


def write_image(path, colour, picture):
    """An image of one colour, or what no reader can read."""
    if picture["damaged"]:
        path.write_bytes(b"\x89PNG\r\n no image")
        return
    mode = picture["mode"]
    if mode == "I;16":
        pixels = np.full(picture["size"][::-1], colour[0] * 257, np.uint16)
        Image.fromarray(pixels).save(path)
        return
    image = Image.new("RGB", picture["size"], colour)
    # A palette of the image's own; the usual one has other colours.
    image = image.quantize(2) if mode == "P" else image.convert(mode)
    options = {}
    if path.suffix.lower() in (".jpg", ".jpeg", ".webp"):
        options = {"quality": 100}
    image.save(path, **options)


def make(root, folder):
    """Writes the folder.

    Returns:
        Dictionary from a colour to its (part, class), of images that can be
        read; and the number of those that cannot.
    """
    greys, colours = iter(GREYS), iter(COLOURS)
    expected, damaged = {}, 0
    elsewhere = root.parent / "elsewhere"
    elsewhere.mkdir()
    for (part, name), images in folder["images"].items():
        place = root / folder["parts"][part] / name if part else root / name
        if folder["linked class"] and name == folder["classes"][0]:
            target = elsewhere / f"{part} {name}"
            target.mkdir()
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(target, target_is_directory=True)
        place.mkdir(parents=True, exist_ok=True)
        for number, picture in enumerate(images):
            grey = picture["mode"] in ("L", "LA", "I;16")
            try:
                colour = next(greys if grey else colours)
            except StopIteration:
                continue
            file = place / picture["place"] / f"{number}{picture['ending']}"
            file.parent.mkdir(parents=True, exist_ok=True)
            if picture["linked"]:
                target = elsewhere / f"{part} {name} {file.name}"
                write_image(target, colour, picture)
                file.symlink_to(target)
            else:
                write_image(file, colour, picture)
            if picture["damaged"]:
                damaged += 1
            else:
                expected[colour] = (part, name)
    add_others(root, folder)
    return expected, damaged


def add_others(root, folder):
    """What is no image of a class, or makes the folder one to refuse."""
    first = next(iter(folder["parts"].values()), "")
    image = Image.new("RGB", (9, 9))
    for other in folder["others"]:
        if other == "notes":
            (root / first / folder["classes"][0] / "notes.txt").write_text("x")
        elif other == "hidden":
            image.save(root / first / folder["classes"][0] / "._1.png")
        else:
            name = {"hidden class": ".ipynb_checkpoints"}.get(other, other)
            place = root / name
            if other == "new class" and "test" in folder["parts"]:
                place = root / folder["parts"]["test"] / name
            place.mkdir(parents=True, exist_ok=True)
            image.save(place / "1.png")


def is_refused(folder):
    """Whether a reader must say no, by the README's words."""
    parts, others = folder["parts"], folder["others"]
    trained = {"train"} if parts else {None}
    count = collections.Counter(
        name
        for (p, name), images in folder["images"].items()
        if p in trained
        for _ in images
    )
    if parts and "train" not in parts:
        return True  # test images only
    if len(count) < len(folder["classes"]):
        return True  # an empty class
    beside = others & {"eval", "new class"}
    if parts and beside:
        return True
    if len(count) + len(beside) < 2:
        return True  # a single class
    for part in parts:
        images = [i for (p, _), i in folder["images"].items() if p == part]
        if not any(images):
            return True
    return False


def found_in(source):
    """(part, class) of each readable image, by its colour."""
    found = {}
    for part in ("train", "validation", "test"):
        split = getattr(source, part)
        if split is None:
            continue
        images, readable = split.read(np.arange(len(split)))
        for image, label, good in zip(images, split.labels, readable):
            if good:
                colour = tuple(int(v) for v in image.mean(axis=(0, 1)).round())
                assert image.std(axis=(0, 1)).max() < 3
                found[colour] = part, source.class_names[label]
    return found


def nearest(colour, known):
    """The colour of the palette that a lossy file meant."""
    return min(known, key=lambda k: max(abs(a - b) for a, b in zip(k, colour)))


@profile.cases(12)
@given(folder=folders(), seed=st.integers(0, 9))
def test_a_folder_is_read_as_it_was_made(folder, seed):
    with tempfile.TemporaryDirectory() as place:
        root = pathlib.Path(place) / "images"
        root.mkdir()
        expected, damaged = make(root, folder)
        config = DataConfig(
            source="folder",
            location=str(root),
            image_size=SIZE,
            validation_fraction=0.25,
            test_fraction=0.25,
            max_corrupt_images=10,
        )
        refused = is_refused(folder)
        with contextlib.ExitStack() as stack:
            stack.enter_context(np.errstate(all="raise"))
            try:
                source = load_source(config, seed)
                found = found_in(source)
            except RunError as error:
                assert refused or damaged > 10, (folder, str(error))
                profile.count("folders", "refused")
                return
        assert not refused, folder
    names = sorted(folder["classes"])
    if "new class" in folder["others"] or (
        "eval" in folder["others"] and not folder["parts"]
    ):
        extra = folder["others"] & {"new class", "eval"}
        names = sorted([*names, *extra])
        found = {c: w for c, w in found.items() if w[1] not in extra}
    assert source.class_names == names
    seen = {nearest(c, [*GREYS, *COLOURS]): where for c, where in found.items()}
    assert seen.keys() == expected.keys()
    for colour, (part, name) in expected.items():
        assert seen[colour][1] == name
        if part == "validation" or (part == "test"):
            assert seen[colour][0] == part
        if part == "train":
            assert seen[colour][0] == "train" or (
                seen[colour][0] not in folder["parts"]
            )
    profile.count("folders", "read")
