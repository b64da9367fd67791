"""Folders and images as people have them. What is in an image PIL says, and NumPy what becomes of it."""

import io
import os
import re
import struct
import subprocess
import warnings
import zlib

import numpy as np
import PIL.Image
import PIL.ImageFile
import PIL.ImageOps
import pytest

from tfdgm import data

RNG = np.random.RandomState(0)
GREY, COLOR = RNG.randint(256, size=(6, 4)).astype(np.uint8), RNG.randint(256, size=(6, 4, 3)).astype(np.uint8)
CSV = "a,b\n1,2\n3,4\n"


def read(source, **options):
    """The rows of a source, the same by every road, and what was said."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        x = np.concatenate(list(data.stream(source, 3, **options)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        parts = data.load_arrays(source, valid_fraction=0.0, test_fraction=0.0, **options).parts
        assert len(data.files_of(source)) >= 1
    loaded = np.concatenate([parts[split].x[parts[split].rows] for split in ("train", "valid", "test")])
    np.testing.assert_array_equal(loaded, x)
    return x, [str(warning.message) for warning in caught]


def refused(source, message, **options):
    """Every road ends with this error."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for road in (lambda: list(data.stream(source, 3, **options)), lambda: data.load_arrays(source, **options)):
            with pytest.raises(data.DataError, match=message) as error:
                road()
            assert "\n" not in str(error.value)


def write(path, content=CSV, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, np.ndarray):
        content = PIL.Image.fromarray(content)
    if isinstance(content, PIL.Image.Image):
        content.save(path, **options)
    else:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


#: What lies beside a.csv and its 2 rows: files, the rows of all that is read, and what is said.
BESIDE = {
    "jupyter": ([".ipynb_checkpoints/a-checkpoint.csv"], 2, ""),
    "macos": (["._a.csv", ".DS_Store", "__MACOSX/a.csv", "__MACOSX/._a.csv"], 2, ""),
    "hidden_below": (["more/.old/b.csv", "more/.b.csv"], 2, ""),
    "git": ([".git/objects/aa/bb", ".gitignore"], 2, ""),
    "below": (["more/b.csv", "more/still/c.CSV"], 6, ""),
    "notes": (["notes.txt", "more/README"], 2, r": 2 other files left out: more/README, notes.txt$"),
    "spark": (["_SUCCESS", ".a.csv.crc"], 2, r": 1 other file left out: _SUCCESS$"),
    "many": ([f"{i:03}.log" for i in range(200)], 2, r": 200 other files left out: 000.log, 001.log, .* \.\.\.$"),
    "a_split_alone": (["train/b.csv"], 4, ""),
    "splits_and_others": (["train/b.csv", "test/c.csv"], 6, r"test, train are no splits here, .* beside them: a.csv$"),
}


@pytest.mark.parametrize("beside", BESIDE)
def test_what_lies_beside(tmp_path, beside):
    names, rows, said = BESIDE[beside]
    for name in ["a.csv", *names]:
        write(tmp_path / name)
    x, warned = read(tmp_path)
    assert x.shape == (rows, 2)
    assert re.search(said, "\n".join(warned)) if said else warned == []


#: Entries of a folder with splits, 2 rows each, and the rows of train, valid and test.
SPLITS = {
    "hidden_beside": (["train/a.csv", "test/a.csv", ".ipynb_checkpoints/test-checkpoint.csv", "__MACOSX/._x"], (2, 0, 2)),
    "capitals": (["Train/a.csv", "TEST/a.csv"], (2, 0, 2)),
    "other_names": (["training.csv", "val.csv", "testing.csv"], (2, 2, 2)),
    "shards": (["train-00000-of-00002.csv", "train-00001-of-00002.csv", "validation-00000-of-00001.csv"], (4, 2, 0)),
    "notes_beside": (["train/a.csv", "test/a.csv", "LICENSE", "docs/paper.pdf"], (2, 0, 2)),
}


@pytest.mark.filterwarnings("ignore:.*other file")
@pytest.mark.parametrize("entries", SPLITS)
def test_splits(tmp_path, entries):
    names, expected = SPLITS[entries]
    for name in names:
        write(tmp_path / name)
    parts = data.load_arrays(tmp_path, valid_fraction=0.0, test_fraction=0.0).parts
    assert tuple(len(parts[split].rows) for split in ("train", "valid", "test")) == expected


class TestPlaces:
    def test_a_hidden_folder_that_is_asked_for(self, tmp_path):
        write(tmp_path / ".cache" / "a.csv")
        write(tmp_path / ".cache" / "train" / "b.csv")
        assert len(read(tmp_path / ".cache")[0]) == 4
        assert len(read(write(tmp_path / ".hidden.csv"))[0]) == 2

    @pytest.mark.parametrize("name", ["a.csv", "data[1]", "with space", "ümläut"])
    def test_names_of_folders(self, tmp_path, name):
        write(tmp_path / name / "part.csv")
        assert len(read(tmp_path / name)[0]) == 2

    def test_links(self, tmp_path):
        write(tmp_path / "elsewhere" / "b.csv")
        write(tmp_path / "here" / "a.csv")
        (tmp_path / "here" / "linked").symlink_to(tmp_path / "elsewhere")
        (tmp_path / "elsewhere" / "back").symlink_to(tmp_path / "here")
        assert len(read(tmp_path / "here")[0]) == 4

    def test_a_glob(self, tmp_path):
        for name in ("a.csv", "b/c.csv", "__MACOSX/d.csv", ".x/e.csv"):
            write(tmp_path / name)
        assert len(read(tmp_path / "**" / "*.csv")[0]) == 4
        refused(tmp_path / "b*", "No file matches .*Folders do, such as .*b")


#: Files of a folder, and how it is refused.
BAD_FOLDERS = {
    "empty": ({}, r"has no data files. Expected: .csv, .*\.gif\.$"),
    "nothing_visible": ({".a.csv": CSV}, r"has no data files"),
    "other_kinds": ({"a.xlsx": "1", "b/c.txt": "1"}, r"has no data files. Expected: .* It holds a.xlsx, b/c.txt\.$"),
    "two_kinds": (
        {"a.csv": CSV, "b.csv": CSV, "c.npy": "x"},
        r"of one kind. Received: 2 of .csv \(.*a.csv\) and 1 of .npy \(.*c.npy\). A glob .*\*\*/\*.csv",
    ),
    "labels_beside_images": (
        {"cat/a.png": GREY, "labels.csv": CSV},
        r"one kind. Received: 1 of .csv \(.*labels.csv\) and 1 of images \(.*a.png\)",
    ),
    "kinds_of_splits": ({"train/a.png": GREY, "test/a.csv": CSV}, "of one (kind|shape)"),
    "no_byte": ({"a.csv": CSV, "b.csv": ""}, r"b.csv is empty"),
}


@pytest.mark.parametrize("folder", BAD_FOLDERS)
def test_bad_folders(tmp_path, folder):
    files, message = BAD_FOLDERS[folder]
    for name, content in files.items():
        write(tmp_path / name, content)
    refused(tmp_path, message)


def test_what_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "a.csv")
    refused(tmp_path, "a.csv is no regular file")
    refused(tmp_path / "a.csv", "a.csv is neither a file nor a folder")
    (tmp_path / "a.csv").unlink()
    (tmp_path / "b.csv").symlink_to(tmp_path / "gone.csv")
    refused(tmp_path, "b.csv cannot be read: No such file")


class TestClasses:
    @pytest.fixture
    def pets(self, tmp_path):
        for i, name in enumerate(["dog/1.png", "cat/0.png", "cat/old/2.png", "ant/3.png", ".trash/x.png"]):
            write(tmp_path / name, np.full((2, 3), i, np.uint8))
        return tmp_path

    def test_one_hot_in_the_order_of_their_names(self, pets):
        what = data.load_arrays(pets, condition="label", valid_fraction=0.0, test_fraction=0.0)
        train = what.parts["train"]
        assert what.classes == ("ant", "cat", "dog")
        assert train.x[:, 0, 0, 0].tolist() == [3, 1, 2, 0]
        np.testing.assert_array_equal(train.condition, np.eye(3)[[0, 1, 1, 2]])
        assert data.load_arrays(pets).classes is None

    def test_of_training(self, pets):
        options = {"condition": "label", "classes": ["dog", "cow", "cat", "ant"], "valid_fraction": 0.0, "test_fraction": 0.0}
        what = data.load_arrays(pets, **options)
        np.testing.assert_array_equal(what.parts["train"].condition, np.eye(4)[[3, 2, 2, 0]])
        assert what.classes == ("dog", "cow", "cat", "ant")
        one = data.load_arrays(pets / "cat" / "0.png", **options).parts["train"]
        np.testing.assert_array_equal(one.condition, np.eye(4)[[2]])
        refused_classes = {**options, "classes": ["dog", "cats"]}
        with pytest.raises(data.DataError, match=r"ant/3.png: There is no class 'ant'\. .*Known: cats, dog"):
            data.load_arrays(pets, **refused_classes)

    def test_of_a_glob(self, pets):
        what = data.load_arrays(pets / "*" / "*.png", condition="label", valid_fraction=0.0, test_fraction=0.0)
        assert what.classes == ("ant", "cat", "dog") and len(what.parts["train"].rows) == 3

    def test_in_splits(self, tmp_path):
        for name in ("train/cat/a.png", "train/dog/a.png", "test/dog/a.png"):
            write(tmp_path / name, GREY)
        what = data.load_arrays(tmp_path, condition="label", valid_fraction=0.0)
        assert what.classes == ("cat", "dog")
        np.testing.assert_array_equal(what.parts["test"].condition, [[0, 1]])
        write(tmp_path / "test" / "cow" / "a.png", GREY)
        with pytest.raises(data.DataError, match=r"test/cow/a.png: There is no class 'cow'"):
            data.load_arrays(tmp_path, condition="label")

    def test_with_tensorflow(self, pets):
        splits = data.load(pets, condition="label", batch_size=9, shuffle=False, valid_fraction=0.0, test_fraction=0.0)
        assert (splits.classes, splits.condition_shape) == (("ant", "cat", "dog"), (3,))
        np.testing.assert_array_equal(next(iter(splits.train))["condition"], np.eye(3)[[0, 1, 1, 2]])

    @pytest.mark.parametrize(
        ("files", "condition", "message"),
        [
            (["cat/a.png", "dog/a.png", "b.png"], "label", r"b.png lies in no class's folder. Expected: .*/CLASS/b.png"),
            (["a.png", "b.png"], "label", "lies in no class's folder"),
            (["cat/a.png"], "label", "two folders at least, one for each class. Received: cat"),
            (["cat/a.png", "dog/a.png"], "age", "images have the condition 'label', the name of their folder. Received: 'age'"),
        ],
    )
    def test_bad(self, tmp_path, files, condition, message):
        for name in files:
            write(tmp_path / name, GREY)
        with pytest.raises(data.DataError, match=message):
            data.load_arrays(tmp_path, condition=condition)

    def test_of_a_named_set(self):
        assert data.load_arrays("digits", condition="label").classes == tuple("0123456789")


def png_16(array):
    """A PNG of 16 bits a channel, [h, w, 1 to 4], which PIL writes for grey alone."""
    head = struct.pack(">IIBBBBB", array.shape[1], array.shape[0], 16, {1: 0, 2: 4, 3: 2, 4: 6}[array.shape[2]], 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in array)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def tiff_16(array):
    """A TIFF of 16 bits a channel, [h, w, 3], uncompressed."""
    height, width, channels = array.shape
    body = array.astype("<u2").tobytes()
    bits_at, body_at = 8 + 2 + 9 * 12 + 4, 8 + 2 + 9 * 12 + 4 + 6
    tags = [(256, 3, 1, width), (257, 3, 1, height), (258, 3, 3, bits_at), (259, 3, 1, 1), (262, 3, 1, 2), (273, 4, 1, body_at),
            (277, 3, 1, channels), (278, 3, 1, height), (279, 4, 1, len(body))]  # fmt: skip
    entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    return b"II*\0" + struct.pack("<IH", 8, 9) + entries + struct.pack("<I3H", 0, 16, 16, 16) + body


def png_header(width, height):
    """The first bytes of a PNG of this size, and of its pixels."""
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


def encoded(image, suffix, **options):
    buffer = io.BytesIO()
    image = PIL.Image.fromarray(image) if isinstance(image, np.ndarray) else image
    image.save(buffer, PIL.Image.registered_extensions()[suffix], **options)
    return buffer.getvalue()


PALETTE = PIL.Image.fromarray(COLOR).quantize(24)
POSTSCRIPT = "%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n"
NOISE = RNG.randint(256, size=(64, 64, 3)).astype(np.uint8)
DEEP = RNG.randint(65536, size=(6, 4, 4))
SEE_THROUGH = np.dstack([COLOR, np.full((6, 4), 255, np.uint8)])
SEE_THROUGH[0, 0, 3] = 0
#: An image's name and content, and the array that it is; a text is the error.
IMAGES = {
    "bmp": ("a.bmp", COLOR, COLOR),
    "webp": ("a.webp", encoded(COLOR, ".webp", lossless=True), COLOR),
    "tif": ("a.tif", COLOR, COLOR),
    "tiff_compressed": ("a.TIFF", encoded(GREY, ".tif", compression="tiff_lzw"), GREY),
    "gif": ("a.gif", PALETTE, np.asarray(PALETTE.convert("RGB"))),
    "another_suffix": ("a.png", encoded(COLOR, ".bmp"), COLOR),
    "palette": ("a.png", PALETTE, np.asarray(PALETTE.convert("RGB"))),
    "black_and_white": ("a.png", PIL.Image.fromarray(GREY > 99), 255 * (GREY > 99)),
    "grey_with_alpha": ("a.png", PIL.Image.merge("LA", [PIL.Image.fromarray(GREY), PIL.Image.new("L", (4, 6), 255)]), GREY),
    "opaque": ("a.png", np.dstack([COLOR, np.full((6, 4), 255, np.uint8)]), COLOR),
    "grey_16_png": ("a.png", png_16(DEEP[..., :1]), "expected 8 bits per channel, .* Received: 16 bits"),
    "grey_alpha_16_png": ("a.png", png_16(DEEP[..., :2]), "Received: 16 bits"),
    "color_16_png": ("a.png", png_16(DEEP[..., :3]), "Received: 16 bits"),
    "color_alpha_16_png": ("a.png", png_16(DEEP), "Received: 16 bits"),
    "color_16_tif": ("a.tif", tiff_16(DEEP[..., :3]), "Received: 16 bits"),
    "grey_16_tif": ("a.tif", DEEP[..., 0].astype(np.uint16), "expected 8 bits per channel"),
    "grey_32_tif": ("a.tif", DEEP[..., 0].astype(np.int32), "expected 8 bits per channel"),
    "real_tif": ("a.tif", DEEP[..., 0].astype(np.float32), "expected 8 bits per channel"),
    "lab_tif": ("a.tif", PIL.Image.new("LAB", (4, 6)), "Received: mode LAB"),
    "postscript": ("a.png", POSTSCRIPT, "a.png is damaged, or none of PNG"),
    "page": ("a.jpg", "<!DOCTYPE html><html>404</html>", "a.jpg is damaged, or none of PNG, JPEG"),
    "one_byte": ("a.gif", "G", "a.gif is damaged, or none of PNG"),
    "vector": ("a.png", "<svg xmlns='http://www.w3.org/2000/svg'/>", "a.png is damaged, or none of PNG"),
    "portable_map": ("a.png", b"P5 4 6 255\n" + GREY.tobytes(), "a.png is damaged, or none of PNG"),
    "bomb": ("a.png", png_header(2**15, 2**15), "a.png is too large: .*1073741824 pixels"),
    "pixels_missing": ("a.png", png_header(400, 400), "a.png is damaged, or none of PNG"),
    **{
        f"cut_{suffix[1:]}": (f"a{suffix}", encoded(NOISE, suffix)[:1500], "a.* is damaged")
        for suffix in (".png", ".jpg", ".bmp", ".webp", ".tif", ".gif")
    },
}  # fmt: skip


@pytest.mark.parametrize("image", IMAGES)
def test_images(tmp_path, image, monkeypatch):
    programs = []
    monkeypatch.setattr(subprocess, "Popen", lambda *arguments, **_: programs.append(arguments))
    name, content, expected = IMAGES[image]
    write(tmp_path / name, content)
    if isinstance(expected, str):
        refused(tmp_path, expected)
    else:
        x, said = read(tmp_path)
        np.testing.assert_array_equal(x, expected.reshape(1, 6, 4, -1))
        assert said == []
    assert programs == []


#: Images of which a part is left out: the rest, and what is said of it.
FRAMES = [PIL.Image.fromarray(COLOR), PIL.Image.new("RGB", (4, 6))]
IN_PART = {
    "animated_gif": ("a.gif", PALETTE, {"save_all": True, "append_images": FRAMES}, PALETTE.convert("RGB"), "several frames"),
    "animated_png": ("a.png", FRAMES[0], {"save_all": True, "append_images": FRAMES}, FRAMES[0], "several frames"),
    "animated_webp": ("a.webp", FRAMES[0], {"save_all": True, "append_images": FRAMES, "lossless": True}, FRAMES[0], "frames"),
    "pages": ("a.tif", FRAMES[0], {"save_all": True, "append_images": FRAMES}, FRAMES[0], "frames or pages the first is read"),
    "see_through": ("a.png", SEE_THROUGH, {}, FRAMES[0], "transparent in places: the colours beneath are read"),
    "see_through_colour": ("a.png", PALETTE, {"transparency": 3}, PALETTE.convert("RGB"), "transparent in places"),
}


@pytest.mark.parametrize("image", IN_PART)
def test_images_in_part(tmp_path, image):
    name, content, options, expected, said = IN_PART[image]
    for again in ("", "x"):
        write(tmp_path / f"{again}{name}", content, **options)
    x, warned = read(tmp_path)
    np.testing.assert_array_equal(x, np.stack([expected] * 2))
    assert len(warned) == 1 and said in warned[0]  # Once, not for each.


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_upright(tmp_path, suffix, orientation):
    stored = np.zeros((32, 48), np.uint8)
    stored[:16, :24], stored[:16, 24:], stored[16:, :24] = 250, 170, 90
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    write(tmp_path / f"a{suffix}", stored, exif=exif)
    x, _ = read(tmp_path)
    # Where EXIF says that row 0 and column 0 are to be seen.
    turned = {1: stored, 2: stored[:, ::-1], 3: stored[::-1, ::-1], 4: stored[::-1], 5: stored.T, 6: stored[::-1].T,
              7: stored[::-1, ::-1].T, 8: stored[:, ::-1].T}[orientation]  # fmt: skip
    np.testing.assert_allclose(x[0, ..., 0], turned, atol=6)


class TestOneSize:
    def test_a_grey_one_among_colours(self, tmp_path):
        write(tmp_path / "a.png", COLOR)
        write(tmp_path / "b.png", GREY)
        refused(tmp_path, r"b.png: all images must have one size, 4 x 6 colour .* Received: 4 x 6 grey. --color or --nocolor")
        x, _ = read(tmp_path, color=True)
        np.testing.assert_array_equal(x, [COLOR, np.dstack([GREY] * 3)])
        x, _ = read(tmp_path, color=False)
        np.testing.assert_array_equal(x[1, ..., 0], GREY)
        luma = COLOR @ [0.299, 0.587, 0.114]  # ITU-R 601-2.
        np.testing.assert_allclose(x[0, ..., 0], luma, atol=1)

    def test_many_sizes(self, tmp_path):
        write(tmp_path / "a.png", COLOR)
        wide = np.zeros((10, 30, 3), np.uint8)
        wide[:, 6:24] = 200
        write(tmp_path / "b.png", wide)
        refused(tmp_path, r"b.png: all images must have one size, 4 x 6 .* Received: 30 x 10 colour. --size=HEIGHTxWIDTH")
        x, _ = read(tmp_path, size=(6, 4))
        np.testing.assert_array_equal(x[0], COLOR)
        expected = np.asarray(PIL.Image.fromarray(wide).resize((4, 6), PIL.Image.Resampling.BICUBIC))
        np.testing.assert_array_equal(x[1], expected)
        x, _ = read(tmp_path, size=[5, 5], fit="crop")
        assert (x[1] == 200).all()  # The middle third, and what the filter sees beside it.
        x, _ = read(tmp_path, size=[5, 5], fit="resize", color=False)
        assert x.shape == (2, 5, 5, 1) and x[1].min() < 50  # Black at the sides.

    def test_turned_by_exif(self, tmp_path):
        exif = PIL.Image.Exif()
        exif[0x0112] = 6
        write(tmp_path / "a.jpg", np.zeros((6, 4), np.uint8))
        write(tmp_path / "b.jpg", np.zeros((4, 6), np.uint8), exif=exif)
        assert read(tmp_path)[0].shape == (2, 6, 4, 1)
        write(tmp_path / "c.jpg", np.zeros((6, 4), np.uint8), exif=exif)
        refused(tmp_path, "c.jpg: all images must have one size, 4 x 6 .* Received: 6 x 4")

    def test_another_size_is_refused_before_its_pixels_are_made(self, tmp_path, monkeypatch):
        write(tmp_path / "a.png", GREY)
        write(tmp_path / "b.png", png_header(10_000, 10_000))
        loaded = []
        load = PIL.ImageFile.ImageFile.load
        monkeypatch.setattr(PIL.ImageFile.ImageFile, "load", lambda image: loaded.append(image.size) or load(image))
        refused(tmp_path, "b.png: all images must have one size, .* Received: 10000 x 10000")
        assert set(loaded) == {(4, 6)}
