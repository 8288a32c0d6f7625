"""One image gives the same pixels to every command, and the right ones."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from export import images as export_images
from training import demo
from training.config import DataConfig
from training.data import load_source
from training.data.pixels import fit_image
from training.data.pixels import read_image

SIZE = 32


def photo(height, width, seed=0):
    """Smooth colours with an edge and a little grain."""
    rows, columns = np.mgrid[:height, :width]
    red = 255 * rows / height
    green = 255 * columns / width
    blue = 128 + 100 * np.sign(rows / height + columns / width - 1)
    image = np.stack([red, green, blue], axis=-1)
    image += np.random.default_rng(seed).normal(0, 8, image.shape)
    return np.clip(image, 0, 255).astype("uint8")


def png(path, pixels, depth, kind, *chunks):
    """Writes a PNG without an imaging library; rows of big-endian bytes."""
    height, width = pixels.shape[:2]
    lines = b"".join(b"\0" + row.tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)
    parts = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(lines))]
    data = b"\x89PNG\r\n\x1a\n"
    for name, body in [*parts, (b"IEND", b"")]:
        check = struct.pack(">I", zlib.crc32(name + body))
        data += struct.pack(">I", len(body)) + name + body + check
    path.write_bytes(data)


def rotated(path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by a quarter, clockwise
    Image.fromarray(photo(170, 270)).save(path, exif=exif, quality=90)


def jpeg_of_tensorflow(path):
    tf = pytest.importorskip("tensorflow")
    data = tf.io.encode_jpeg(
        photo(150, 401), format="rgb", chroma_downsampling=False
    )
    path.write_bytes(data.numpy())


def grey_jpeg(path):
    Image.fromarray(photo(90, 70)[..., 0]).save(path, progressive=True)


def cmyk(path):
    Image.fromarray(photo(64, 100)).convert("CMYK").save(path)


def sixteen_bits(path):
    grey = photo(50, 40)[..., 1].astype(">u2") * 257
    png(path, grey, depth=16, kind=0)


def sixteen_bits_of_colour(path):
    pixels = (photo(40, 90).astype(">u2") << 8) + 200
    png(path, pixels, depth=16, kind=2)


def palette(path):
    """Its colours are half transparent."""
    colours = np.random.default_rng(1).integers(0, 256, (256, 3), "uint8")
    chunks = (b"PLTE", colours.tobytes()), (b"tRNS", bytes(range(256)))
    png(path, photo(60, 33)[..., 0], 8, 3, *chunks)


def alpha(path):
    opacity = photo(45, 80, seed=2)[..., :1]
    png(path, np.concatenate([photo(45, 80), opacity], -1), depth=8, kind=6)


def strip(path):
    png(path, photo(9, 1200), depth=8, kind=2)


def webp(path):
    Image.fromarray(photo(77, 50)).save(path, lossless=True)


FILES = {
    "alpha.png": alpha,
    "cmyk.jpg": cmyk,
    "grey.jpg": grey_jpeg,
    "palette.png": palette,
    "rotated.jpg": rotated,
    "sixteen.png": sixteen_bits,
    "sixteen_colour.png": sixteen_bits_of_colour,
    "strip.png": strip,
    "tensorflow.jpg": jpeg_of_tensorflow,
    "webp.webp": webp,
}


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Each file in a class of its own."""
    root = tmp_path_factory.mktemp("photos")
    for name, write in FILES.items():
        folder = root / name.partition(".")[0]
        folder.mkdir()
        write(folder / name)
    return root


def by_hand(path):
    """Pillow, step by step, with NumPy where it can be."""
    with Image.open(path) as image:
        if path.suffix == ".jpg":
            image.draft("RGB", (2 * SIZE, 2 * SIZE))
        if path.name == "sixteen.png":
            pixels = np.asarray(image).astype("uint16")
            pixels = np.repeat((pixels // 256)[..., None], 3, -1)
        else:
            image.info.pop("transparency", None)
            pixels = np.asarray(image.convert("RGB"))
    if path.name == "rotated.jpg":
        pixels = np.rot90(pixels, -1)
    height, width = pixels.shape[:2]
    short = min(height, width)
    height, width = (round(x * SIZE / short) for x in (height, width))
    image = Image.fromarray(pixels.astype("uint8"))
    image = image.resize((width, height), Image.Resampling.BILINEAR)
    top, left = (height - SIZE) // 2, (width - SIZE) // 2
    return np.asarray(image)[top : top + SIZE, left : left + SIZE]


def of_train(photos, tmp_path, monkeypatch):
    config = DataConfig("folder", str(photos), test_fraction=0.0)
    train = load_source(config, 1).train
    images, readable = train.read(np.arange(len(train)))
    assert readable.all()
    return images


def of_export(photos, tmp_path, monkeypatch):
    images, labels, _ = export_images.load_images(photos, (SIZE, SIZE, 3))
    return images[np.argsort(labels)]


def of_segment(photos, tmp_path, monkeypatch):
    pytest.importorskip("tyro")
    from training import segmentation

    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    for path in sorted(photos.rglob("*.*")):
        (tmp_path / "images" / path.name).write_bytes(path.read_bytes())
        with Image.open(path) as image:
            size = image.size
        size = size[::-1] if path.stem == "rotated" else size
        Image.new("L", size).save(tmp_path / "masks" / f"{path.stem}.png")
    arguments = segmentation.Arguments(data=str(tmp_path), image_size=SIZE)
    pairs = segmentation.load_pairs(arguments)
    return np.stack([pairs.read(number)[0] for number in range(pairs.count)])


def of_demo(photos, tmp_path, monkeypatch):
    monkeypatch.setattr(demo, "MIN_IMAGES_PER_CLASS", 1)
    images, labels, _, skipped = demo._load(photos)
    assert list(labels) == list(range(len(FILES))) and not skipped
    return images


@pytest.mark.parametrize("reader", [of_train, of_export, of_segment, of_demo])
def test_every_command_sees_the_same(photos, reader, tmp_path, monkeypatch):
    found = reader(photos, tmp_path, monkeypatch)
    paths = sorted(photos.rglob("*.*"))
    for path, pixels in zip(paths, found, strict=True):
        # What is cut before it is enlarged may be rounded otherwise.
        tolerance = 1 if path.stem == "strip" else 0
        expected = by_hand(path).astype("float32")
        difference = np.abs(pixels.astype("float32") - expected).max()
        assert difference <= tolerance, (path.name, difference)


def test_tensorflow_reads_nearly_the_same(photos):
    """Another decoder and another resize, of what both can read."""
    tf = pytest.importorskip("tensorflow")
    for stem in ("tensorflow", "grey", "alpha", "palette", "sixteen_colour"):
        (path,) = photos.glob(f"{stem}/*")
        image = tf.io.decode_image(path.read_bytes(), channels=3)
        short = min(image.shape[:2])
        size = [round(x * SIZE / short) for x in image.shape[:2]]
        image = tf.image.resize(image, size, antialias=True)
        image = tf.image.resize_with_crop_or_pad(image, SIZE, SIZE).numpy()
        found = read_image(path, (SIZE, SIZE, 3)).astype("float32")
        assert np.abs(found - image).mean() < 1.5, stem


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation(tmp_path, orientation):
    """By the standard's own words: where row 0 and column 0 lie."""
    upright = photo(SIZE, SIZE)
    stored = {
        1: upright,  # top, left
        2: upright[:, ::-1],  # top, right
        3: upright[::-1, ::-1],  # bottom, right
        4: upright[::-1],  # bottom, left
        5: upright.transpose(1, 0, 2),  # left, top
        6: upright[:, ::-1].transpose(1, 0, 2),  # right, top
        7: upright[::-1, ::-1].transpose(1, 0, 2),  # right, bottom
        8: upright[::-1].transpose(1, 0, 2),  # left, bottom
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "photo.png"
    Image.fromarray(np.ascontiguousarray(stored)).save(path, exif=exif)
    found = read_image(path, (SIZE, SIZE, 3))
    np.testing.assert_array_equal(found, upright)


@pytest.mark.filterwarnings("error")  # Pillow's on opacity
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("size", [(32, 32), (20, 32), (32, 20)])
def test_shapes(photos, size, channels):
    for path in sorted(photos.rglob("*.*")):
        found = read_image(path, (*size, channels))
        assert found.shape == (*size, channels) and found.dtype == np.uint8


def test_opacity_does_not_touch_the_colours(photos):
    """Pillow clears colours where nothing is opaque when it resizes RGBA."""
    path = photos / "alpha" / "alpha.png"
    np.testing.assert_array_equal(
        read_image(path, (SIZE, SIZE, 4))[..., :3],
        read_image(path, (SIZE, SIZE, 3)),
    )


def test_a_long_strip_is_cut_before_it_is_enlarged(monkeypatch):
    """Enlarged whole, 1 x 5000 pixels would be 224 x 1,120,000."""
    made = []
    resize = Image.Image.resize

    def spy(image, size, *arguments):
        made.append(size)
        return resize(image, size, *arguments)

    monkeypatch.setattr(Image.Image, "resize", spy)
    for shape in ((5000, 1), (1, 5000)):
        column = np.arange(5000, dtype="uint32").reshape(shape) % 251
        found = fit_image(Image.fromarray(column.astype("uint8")), 224, 224)
        assert found.shape == (224, 224, 1)
        # 224 times as large, its centre is one pixel or the seam of two.
        assert set(np.unique(found)) <= set(range(2499 % 251, 2502 % 251))
    assert made == [(224, 224)] * 2


def test_a_reason_for_each_file_that_is_no_image(tmp_path, monkeypatch):
    for name, data in (("empty.jpg", b""), ("text.png", b"not an image")):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(ValueError, match="cannot identify image file"):
            read_image(tmp_path / name, (SIZE, SIZE, 3))
    # A bomb is an error of its own in Pillow, neither OSError nor ValueError.
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    png(tmp_path / "bomb.png", photo(60, 60), depth=8, kind=2)
    with pytest.raises(ValueError, match="decompression bomb"):
        read_image(tmp_path / "bomb.png", (SIZE, SIZE, 3))
