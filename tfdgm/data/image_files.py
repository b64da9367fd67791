"""Folders of pictures, of one size or brought to it."""

import pathlib
import warnings
from collections.abc import Iterator, Sequence

import numpy as np

from tfdgm.data.data_error import DataError
from tfdgm.data.reading import PLAIN, Reading

#: What PIL opens, whatever the suffix: of the formats that it knows beside these, some start programs (EPS: Ghostscript).
FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "TIFF", "GIF")
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".gif")
_CHUNK_BYTES = 2**24


def chunks(paths: Sequence[pathlib.Path], reading: Reading = PLAIN) -> Iterator[np.ndarray]:
    """Yields uint8 arrays [k, height, width, 1] (grey) or [k, height, width, 3] (colour), in order.

    Images stand upright, as EXIF says. Palettes become colour, black-and-white becomes grey 0 and 255. An alpha channel is
    dropped, and of several frames the first is read, each with a warning. More than 8 bits a channel are refused.

    `reading.size`: what all are brought to, by `reading.fit`: "resize" alone, which may distort, or "crop", the largest part
    around the centre that has the shape of the size, resized; both bicubic. `reading.color`: three channels, or one (ITU-R 601).
    """
    first, batch, said = None, [], {}
    for path in paths:
        image, remarks = _read(path, reading, first and (first, paths[0]))
        for remark in remarks - said.keys():
            warnings.warn(f"{path}: {remark} So of all such images.", stacklevel=2)
            said[remark] = path
        first = first or image.shape
        batch.append(image)
        if len(batch) * image.nbytes >= _CHUNK_BYTES:
            yield np.stack(batch)
            batch = []
    if batch:
        yield np.stack(batch)


def _read(path, reading, first):
    """An array [height, width, 1 or 3], and a set of remarks."""
    import PIL.Image
    import PIL.ImageOps

    remarks = set()
    try:
        # As a file: by its path PIL (12.3) maps an uncompressed grey TIFF that EXIF turns into memory by its turned size.
        with open(path, "rb") as file, PIL.Image.open(file, formats=FORMATS) as image:
            _check_depth(path, image)
            if first is not None and reading.size is None and sorted(image.size) != sorted(first[0][:2]):
                _check_shape(path, (*image.size[::-1], first[0][2]), *first)  # Before it is decoded.
            if getattr(image, "n_frames", 1) > 1 and image.format != "MPO":  # Cameras keep a preview in those.
                remarks.add("of several frames or pages the first is read.")
            upright = PIL.ImageOps.exif_transpose(image)
            if upright.has_transparency_data and upright.convert("RGBA").getchannel("A").getextrema()[0] < 255:
                remarks.add("it is transparent in places: the colours beneath are read.")
            is_color = upright.mode not in ("1", "L", "LA", "La") if reading.color is None else reading.color
            upright = upright.convert("RGB" if is_color else "L")
            if reading.size is not None:
                height, width = reading.size
                fit = PIL.ImageOps.fit if reading.fit == "crop" else PIL.Image.Image.resize
                upright = fit(upright, (width, height), PIL.Image.Resampling.BICUBIC)
            array = np.asarray(upright)
    except (DataError, MemoryError):
        raise
    except PIL.Image.DecompressionBombError as e:
        raise DataError(f"{path} is too large: {e}") from None
    except Exception as e:  # PIL's readers raise what they meet: struct.error, IndexError, ...
        why = "" if isinstance(e, PIL.UnidentifiedImageError) else f": {' '.join(str(e).split())}"
        raise DataError(f"{path} is damaged, or none of {', '.join(FORMATS)}{why}.") from None
    array = array.reshape(*array.shape[:2], -1)
    if first is not None:
        _check_shape(path, array.shape, *first)
    return array, remarks


def _check_depth(path, image):
    # PIL takes the upper 8 bits of colours of 16; of PNG and TIFF its raw mode, as "RGB;16B", tells.
    deep = image.format in ("PNG", "TIFF") and any(";16" in str(tile[3]) for tile in image.tile)
    if deep or image.mode.startswith(("I", "F")) or image.mode == "LAB":
        what = "16 bits" if deep else f"mode {image.mode}"
        raise DataError(f"{path}: expected 8 bits per channel, grey or RGB. Received: {what}.")


def _check_shape(path, shape, expected, as_in):
    if shape != expected:
        flag = "--size=HEIGHTxWIDTH (`size`)" if shape[:2] != expected[:2] else "--color or --nocolor (`color`)"
        raise DataError(
            f"{path}: all images must have one size, {_size(expected)} (width x height) as {as_in}. Received: {_size(shape)}. "
            f"{flag} brings all to one."
        )


def _size(shape):
    height, width, channels = shape
    return f"{width} x {height} {'grey' if channels == 1 else 'colour'}"
