"""What a model shows of itself: text, a table in a notebook, pictures."""

import html
import io
import itertools
import math
import os
from collections.abc import Callable

import PIL.Image
from numpy.typing import ArrayLike

from tfdgm.arguments import check_whole
from tfdgm.training import pictures
from tfdgm.written_aside import written_aside


class Display:
    """Of a `DensityModel`: `repr`, `summary`, and pictures as `PIL.Image`s, which a notebook shows by themselves."""

    def __repr__(self):
        facts = ", ".join(f"{name}={value}" for name, value in {"name": self.name, **self._facts()}.items())
        return f"<{type(self).__name__} {facts}>"

    def _repr_html_(self):
        facts = {"name": self.name, **self._facts(), "weights": f"{_count(self.trainable_weights):,} trainable"}
        facts |= {name: ", ".join(map(str, of)) for name in ("column_names", "condition_names") if (of := getattr(self, name))}
        rows = "".join(f"<tr><th>{name}</th><td>{html.escape(str(value))}</td></tr>" for name, value in facts.items())
        return f"<table><caption>{type(self).__name__}</caption>{rows}</table>"

    def _facts(self):
        if getattr(self, "distribution", None) is None:
            return {}  # In a subclass's `__init__`.
        special = {name: value for name in ("end", "missing") if (value := getattr(self.event, name)) not in (None, False)}
        shapes = {"event_shape": self.event_shape, "levels": self.levels, **special, "condition_shape": self.condition_shape}
        return {**shapes, "log_prob": self.kind}

    def summary(self, print_fn: Callable[[str], None] = print) -> None:
        """Prints the model, its layers with the shapes and numbers of their weights, and what they add up to."""
        lines = []
        for layer, weights in itertools.groupby(self.weights, key=lambda weight: weight.path.rpartition("/")[0]):
            weights = list(weights)
            shapes = ", ".join(f"{weight.path.rpartition('/')[2]} {tuple(weight.shape)}" for weight in weights)
            fixed = "" if any(weight.trainable for weight in weights) else "  not trained"
            lines.append((layer, shapes, f"{_count(weights):,}", fixed))
        widths = [max(len(line[i]) for line in lines) for i in range(3)]
        print_fn(repr(self))
        for layer, shapes, count, fixed in lines:
            print_fn(f"  {layer:{widths[0]}}  {shapes:{widths[1]}}  {count:>{widths[2]}}{fixed}")
        trained, others = _count(self.trainable_weights), _count(self.non_trainable_weights)
        print_fn(f"  {trained + others:,} numbers: {trained:,} trained, {others:,} not trained")

    def plot_samples(
        self,
        n: int | None = None,
        *,
        data: ArrayLike | None = None,
        condition: ArrayLike | None = None,
        seed: int = 0,
        path: str | os.PathLike | None = None,
    ) -> PIL.Image.Image:
        """Samples as a picture: a grid of images, or of vectors the pairs of dimensions, beside those of `data`.

        Args:
          n: how many; by default 64 images, or as many vectors as `data` has, up to 1000.
          data: rows [m, *event_shape] to draw beside samples of vectors, as the test set.
          condition: as in `sample`.
          seed: as in `sample`.
          path: a .png file to write as well.

        Raises:
          ValueError: for `data` beside images, and what `sample` refuses.
        """
        is_image = pictures.is_image(self.event_shape)
        if n is None:
            n = 64 if is_image else 1000 if data is None else min(len(data), 1000)
        check_whole(n=n)
        samples = self.sample(n, seed=seed, condition=condition).numpy()
        if is_image:
            if data is not None:
                raise ValueError("`data` is drawn beside vectors alone. Received: it, and samples that are images")
            return _shown(lambda file: pictures.save_image(file, pictures.image_grid(samples, levels=self.levels)), path)
        data = None if data is None else self.check_x(data)
        return _shown(
            lambda file: pictures.vectors(file, samples, data, names=self.column_names, title=self.name, of_data="data"), path
        )

    def plot_history(self, path: str | os.PathLike | None = None) -> PIL.Image.Image:
        """The losses of the last `fit`, epoch by epoch, as a picture; `path` is a .png file to write as well.

        Raises:
          ValueError: before the first `fit`.
        """
        history = getattr(self, "history", None)
        if history is None or not history.history.get("loss"):
            raise ValueError("There is no history to draw: call `fit` first.")
        return _shown(lambda file: pictures.curves(file, history.history, title=self.name), path)


def _count(weights):
    return sum(math.prod(weight.shape) for weight in weights)


def _shown(draw, path):
    """What `draw` writes to a file, as an image; in `path`, too."""
    file = io.BytesIO()
    draw(file)
    if path is not None:
        with written_aside(path) as written:
            written.write(file.getvalue())
    return PIL.Image.open(file)
