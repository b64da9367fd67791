"""Pictures of a training and of samples, as .png files, or written to an `io.BytesIO`. matplotlib is imported when one is drawn,
and needs no display."""

import contextlib
import io
import math
import pathlib
import textwrap
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from tfdgm.written_aside import written_aside

_BLUE, _ORANGE, _GREY = "#2a6fbb", "#e07b39", "#8a8a8a"
_BLUE_RGB, _ORANGE_RGB = (42, 111, 187), (224, 123, 57)


def is_image(event_shape: Sequence[int]) -> bool:
    """Whether events of this shape are drawn as images: (h, w), (h, w, 1) or (h, w, 3)."""
    return len(event_shape) == 2 or (len(event_shape) == 3 and event_shape[-1] in (1, 3))


def image_grid(
    x: ArrayLike,
    *,
    levels: int | None = None,
    columns: int | None = None,
    pixels: int | None = None,
    gap: int = 1,
    captions: Sequence[str] | None = None,
) -> np.ndarray:
    """x [n, h, w] or [n, h, w, 1 or 3] -> one uint8 image, with `columns` images a row (default: as square as may be).

    Integers 0..levels-1 span black to white; real values their own range. Each pixel becomes a square of `pixels` (default:
    so that the grid is some 800 wide); `gap` of these lie between images. `captions` stand above the images, as far
    as they go.
    """
    x = np.asarray(x, np.float64)
    n, h, w = x.shape[:3]
    x = x.reshape(n, h, w, -1)
    low, high = (0, levels - 1) if levels else (x.min(), x.max())
    x = np.clip((x - low) / ((high - low) or 1), 0, 1)
    columns = columns or math.ceil(math.sqrt(n))
    rows = math.ceil(n / columns)
    pixels = pixels or max(1, round(800 / (columns * (w + gap))))
    grid = np.full((rows * (h + gap) + gap, columns * (w + gap) + gap, x.shape[-1]), 0.25)
    for i, image in enumerate(x):
        top, left = (i // columns) * (h + gap) + gap, (i % columns) * (w + gap) + gap
        grid[top : top + h, left : left + w] = image
    grid = np.round(255 * grid).astype(np.uint8).repeat(pixels, axis=0).repeat(pixels, axis=1)
    if captions is not None:
        lines = np.split(grid, range((h + gap) * pixels, len(grid), (h + gap) * pixels))
        for i in range(0, len(captions), columns):
            strip = _strip(captions[i : i + columns], grid.shape, gap * pixels, w * pixels)
            lines[i // columns] = np.concatenate([strip, lines[i // columns]])
        grid = np.concatenate(lines)
    return grid[..., 0] if grid.shape[-1] == 1 else grid


def _strip(captions, shape, gap, width):
    """A line of captions above a grid of this shape, each cut off where its image ends."""
    import matplotlib
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.truetype(pathlib.Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf"), 11)
    strip = Image.new("L", (shape[1], 15), 64)
    for i, caption in enumerate(captions):
        while caption and font.getlength(caption) > width:
            caption = caption[:-1]
        ImageDraw.Draw(strip).text((gap + i * (gap + width), 1), caption, 255, font)
    return np.repeat(np.asarray(strip)[..., None], shape[-1], axis=-1)


def completions(
    x: ArrayLike,
    known: ArrayLike,
    completed: ArrayLike,
    *,
    levels: int | None = None,
    columns: int | None = None,
    pixels: int | None = None,
) -> np.ndarray:
    """Before and after, as one uint8 image: each image, what is known of it, and its completions, side by side.

    x [n, h, w] or [n, h, w, 1 or 3], known of one image's shape or of x's, completed [n, k, *image]; the unknown part is blue.
    The rest as in `image_grid`.
    """
    x, completed = np.asarray(x, np.float64), np.asarray(completed, np.float64)
    low, high = (0, levels - 1) if levels else (min(x.min(), completed.min()), max(x.max(), completed.max()))

    def rgb(images):
        return 255 * (images.reshape(*images.shape[:3], -1) - low) / ((high - low) or 1) * np.ones(3)

    before, known = rgb(x), np.broadcast_to(known, x.shape)
    unknown = (known == 0).reshape(*before.shape[:3], -1).any(axis=-1, keepdims=True)
    parts = [before, np.where(unknown, _BLUE_RGB, before), *(rgb(completed[:, i]) for i in range(completed.shape[1]))]
    line = np.full((len(x), x.shape[1], 1, 3), 64.0)
    strips = np.concatenate([piece for part in parts for piece in (part, line)][:-1], axis=2)
    columns = columns or max(1, round(math.sqrt(1.5 * len(x) * strips.shape[1] / strips.shape[2])))  # Some 3:2.
    return image_grid(strips, levels=256, columns=columns, pixels=pixels, gap=3)


def interpolations(
    first: ArrayLike, between: ArrayLike, last: ArrayLike, *, levels: int | None = None, pixels: int | None = None
) -> np.ndarray:
    """Images first [n, ...], those between [n, k, ...] and last [n, ...], a row for each pair, as in `image_grid`."""
    rows = np.concatenate([np.asarray(first)[:, None], np.asarray(between), np.asarray(last)[:, None]], axis=1)
    return image_grid(rows.reshape(-1, *rows.shape[2:]), levels=levels, columns=rows.shape[1], pixels=pixels)


def receptive_field(
    event_shape: Sequence[int], position: tuple[int, ...], seen: set[tuple[int, ...]], *, pixels: int | None = None
) -> np.ndarray:
    """One position (orange), what it sees (blue), and what comes before it in raster order unseen (grey), as a uint8 image.

    event_shape: (h, w) or (h, w, 1 or 3), position: a tuple, seen: a set of tuples; channels stand side by side.
    """
    colors = np.zeros((*event_shape, 3), np.uint8)
    colors.reshape(-1, 3)[: np.ravel_multi_index(position, event_shape)] = 138
    for index in seen:
        colors[index] = _BLUE_RGB
    colors[position] = _ORANGE_RGB
    colors = np.moveaxis(colors.reshape(*event_shape[:2], -1, 3), 2, 0)
    return image_grid(colors, levels=256, columns=len(colors), pixels=pixels)


def heat_maps(
    path: pathlib.Path,
    values: ArrayLike,
    images: ArrayLike | None = None,
    *,
    levels: int | None = None,
    unit: str = "bits",
    columns: int | None = None,
) -> None:
    """values [n, h, w] or [n, h, w, 1 or 3] as maps of one colour scale, each beside its image where images are given.

    Channels of a pixel are added up. `levels` as in `image_grid`.
    """
    values = np.asarray(values, np.float64)
    maps = values.reshape(*values.shape[:3], -1).sum(axis=-1)
    beside = 1 if images is None else 2
    columns = columns or max(1, round(math.sqrt(1.5 * len(maps) / beside)))
    rows = math.ceil(len(maps) / columns)
    figure = _figure(1.4 * columns * beside + 1, 1.45 * rows)
    axes = figure.subplots(rows, columns * beside, squeeze=False)
    for a in axes.flat:
        a.axis("off")
    for i, a in enumerate(axes.reshape(-1, beside)[: len(maps)]):
        drawn = a[-1].imshow(maps[i], cmap="magma", vmin=min(0.0, maps.min()), vmax=maps.max())
        if images is not None:
            a[0].imshow(image_grid(images[i : i + 1], levels=levels, pixels=1, gap=0), cmap="gray", vmin=0, vmax=255)
    figure.colorbar(drawn, ax=axes, label=f"{unit} a pixel", fraction=0.05, aspect=30)
    _save(path, figure)


def save_image(path: pathlib.Path, image: np.ndarray) -> None:
    """A uint8 image [h, w] or [h, w, 3], pixel by pixel."""
    import matplotlib.image

    image = image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=-1)
    with _file(path) as file:
        matplotlib.image.imsave(file, image, format="png")


def curves(
    path: pathlib.Path, history: dict[str, list[float]], *, best_epoch: int | None = None, title: str = "", unit: str = "nats"
) -> None:
    """Train and validation loss over epochs, the best epoch marked."""
    figure = _figure(7, 4.2)
    axes = figure.subplots()
    for name, label, color in (("loss", "train", _BLUE), ("val_loss", "validation", _ORANGE)):
        if history.get(name):
            marker = "o" if len(history[name]) == 1 else None  # Of one epoch there is no line.
            axes.plot(range(1, len(history[name]) + 1), history[name], color=color, label=label, linewidth=1.6, marker=marker)
    values = np.array([v for name in ("loss", "val_loss") for v in history.get(name, [])])
    values = values[np.isfinite(values)]
    if len(values):
        # The first epochs would hide all the rest.
        low, high = values.min(), np.quantile(values, 0.9)
        spread = (high - low) or 1.0
        axes.set_ylim(low - 0.1 * spread, max(high + 0.6 * spread, history["loss"][-1]))
    if best_epoch and history.get("val_loss"):
        axes.plot(best_epoch, history["val_loss"][best_epoch - 1], "o", color=_ORANGE, label=f"best, epoch {best_epoch}")
    axes.set(xlabel="epoch", ylabel=f"negative log-likelihood, {unit}", title=title)
    axes.xaxis.get_major_locator().set_params(integer=True)
    if len(history.get("loss", [])) == 1:
        axes.set_xticks([1])
    axes.grid(color="#e6e6e6")
    axes.set_axisbelow(True)
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    _save(path, figure)


def vectors(
    path: pathlib.Path,
    samples: ArrayLike,
    data: ArrayLike | None = None,
    *,
    names: Sequence[str] | None = None,
    title: str = "",
    of_data: str = "data (test)",
    most: int = 5,
) -> None:
    """Samples [n, D], beside data where it is given (`of_data` says what data): a pair plot of up to `most`
    dimensions, and histograms of the further ones (up to 20). `names` are those of the dimensions, x0, x1, ... by default."""
    clouds = ((data, _GREY, of_data), (samples, _BLUE, "samples"))
    clouds = [(np.asarray(x, np.float64).reshape(len(x), -1), color, label) for x, color, label in clouds if x is not None]
    size = clouds[0][0].shape[1]
    names = [f"x{i}" for i in range(size)] if names is None else names
    names = [textwrap.shorten(str(name), 20, placeholder="...") for name in names]
    paired, further = min(size, most), range(most, min(size, 20))
    columns = max(paired, 1)
    rows = paired + math.ceil(len(further) / columns)
    figure = _figure(max(2.1 * columns, 5), max(2.1 * rows, 3.6) + 0.6)
    axes = figure.subplots(rows, columns, squeeze=False)
    limits = [_limits(clouds[0][0][:, i]) for i in range(size)]
    for row in range(paired):
        for column in range(paired):
            a = axes[row, column]
            if row == column:
                _histogram(a, clouds, row, limits[row])
            elif row > column:
                for x, color, _ in clouds:
                    a.scatter(x[:1000, column], x[:1000, row], s=9 if len(x) < 300 else 3, color=color, alpha=0.55, linewidths=0)
                a.set(xlim=limits[column], ylim=limits[row])
            else:
                a.axis("off")
            if row == paired - 1 or row == column:
                a.set_xlabel(names[column], fontsize=8)
            if column == 0 and row > 0:
                a.set_ylabel(names[row], fontsize=8)
    for k, i in enumerate(further):
        a = axes[paired + k // columns, k % columns]
        _histogram(a, clouds, i, limits[i])
        a.set_xlabel(names[i], fontsize=8)
    for a in axes.flat[paired * columns + len(further) :]:
        a.axis("off")
    for a in axes.flat:
        a.tick_params(labelsize=6)
        a.spines[["top", "right"]].set_visible(False)
    handles = [_patch(color, label) for _, color, label in clouds]
    figure.suptitle(title, fontsize=10)
    figure.legend(handles=handles, loc="upper right", frameon=False, fontsize=9)
    _save(path, figure)


def _histogram(axes, clouds, dimension, limits):
    bins = np.linspace(*limits, 1 + int(np.clip(1.5 * math.sqrt(len(clouds[0][0])), 8, 40)))
    for x, color, _ in clouds:
        weights = np.full(len(x), 1 / max(len(x), 1))
        axes.hist(np.clip(x[:, dimension], *limits), bins, weights=weights, color=color, alpha=0.55)
    axes.set(xlim=limits, yticks=[])


def _limits(x):
    low, high = np.quantile(x, (0.002, 0.998))
    margin = 0.08 * ((high - low) or 1.0)
    return low - margin, high + margin


def _patch(color, label):
    from matplotlib.patches import Patch

    return Patch(color=color, label=label, alpha=0.7)


def _figure(width, height):
    from matplotlib.figure import Figure  # Not pyplot, which looks for a display and keeps every figure.

    return Figure(figsize=(width, height), dpi=110, layout="constrained")


def _save(path, figure):
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        text.set_parse_math(False)  # A "$" in a column's name begins no formula.
    with _file(path) as file:
        figure.savefig(file, format="png")


def _file(path):
    return contextlib.nullcontext(path) if isinstance(path, io.BytesIO) else written_aside(path)
