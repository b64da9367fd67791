"""Folders of pictures of one size."""

import pathlib
from collections.abc import Iterator, Sequence

import numpy as np

from tfdgm.data.data_error import DataError
from tfdgm.data.reading import PLAIN, Reading

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp")
_CHUNK_BYTES = 2**24


def chunks(paths: Sequence[pathlib.Path], reading: Reading = PLAIN) -> Iterator[np.ndarray]:
    """Yields uint8 arrays [k, height, width, 1] (grey) or [k, height, width, 3] (colour), in order.

    Palettes become colour, black-and-white becomes grey 0 and 255, an alpha channel is dropped.
    """
    first, batch = None, []
    for path in paths:
        image = _read(path)
        if first is None:
            first = image.shape
        elif image.shape != first:
            raise DataError(
                f"{path}: all images must have one size, {_size(first)} as {paths[0]}. Received: {_size(image.shape)}."
            )
        batch.append(image)
        if len(batch) * image.nbytes >= _CHUNK_BYTES:
            yield np.stack(batch)
            batch = []
    if batch:
        yield np.stack(batch)


def _read(path):
    import PIL.Image

    try:
        with PIL.Image.open(path) as image:
            if image.mode.startswith(("I", "F")):
                raise DataError(f"{path}: expected 8 bits per channel. Received: mode {image.mode}.")
            array = np.asarray(image.convert("L" if image.mode in ("1", "L", "LA") else "RGB"))
    except DataError:
        raise
    except (OSError, SyntaxError, ValueError, PIL.Image.DecompressionBombError) as e:
        raise DataError(f"{path} is damaged, or no image: {e}") from None
    return array[..., np.newaxis] if array.ndim == 2 else array


def _size(shape):
    height, width, channels = shape
    return f"{width} x {height} {'grey' if channels == 1 else 'colour'}"
