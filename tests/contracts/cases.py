"""Small models, and data for each."""

import dataclasses

import numpy as np
import pytest
from contracts.weights import randomize

import tfdgm


@dataclasses.dataclass(frozen=True)
class ModelCase:
    """A model of tiny size, made anew by `make()`, and data for it."""

    name: str
    cls: type
    config: dict
    x: np.ndarray
    condition: np.ndarray | None = None

    def make(self, *, seed=None, use_xla=False, **changes):
        """The model; with `seed`, of random weights. XLA takes seconds to compile, so only tests of XLA use it."""
        model = self.cls(**{**self.config, **changes})
        model.use_xla = use_xla
        if seed is not None:
            randomize(model, seed, scale=0.7)
            for layer in model._flatten_layers():
                if isinstance(layer, tfdgm.layers.MaskedDense):
                    layer.premask()  # As the export does: what cut connections hold is not part of the model.
        return model

    @property
    def given(self):
        return {} if self.condition is None else {"condition": self.condition}

    def first(self, n):
        """The first n rows, as arguments of log_prob."""
        return {"x": self.x[:n], **({} if self.condition is None else {"condition": self.condition[:n]})}


def _cases():
    random = np.random.default_rng(0)
    n = 48
    c = {"condition_shape": (2,)}
    real = (random.normal(size=(n, 3)) @ random.normal(size=(3, 3)) * [1, 3, 10] + [0, 5, -50]).astype("float32")
    condition = random.normal(size=(n, 2)).astype("float32")
    binary = random.integers(0, 2, (n, 2, 2))
    binary[:, 1, 1] = binary[:, 0, 0]
    larger = np.tile(binary, (1, 2, 2))
    levels = random.integers(0, 4, (n, 3))
    levels[:, 2] = levels[:, 0]  # Something to learn.
    small = {"hidden_units": (8, 8)}
    image = {"event_shape": (2, 2), "filters": 8, "num_layers": 1, "first_kernel_size": 3, "head_filters": 8}
    rgb = {**image, "event_shape": (1, 2, 3), "filters": 12, "head_filters": 12, "levels": 8, "num_components": 2}
    snail = {"event_shape": (2, 2), "filters": 8, "num_blocks": 1, "num_layers": 1, "key_size": 4}
    sizes = {"hidden_size": 8, "num_layers": 1, "num_heads": 2, "feed_forward_size": 8}
    transformer = {"event_shape": (1, 2, 3), "levels": 8, "num_components": 2, **sizes}
    colours = np.repeat(random.integers(0, 8, (n, 1, 2, 1)), 3, axis=-1)
    multiscale = {"num_scales": 1, "filters": 8, "num_layers": 1, "base_layers": 1, "head_filters": 8}
    rgb_of_two_rows = {"event_shape": (2, 2, 3), "levels": 8, "num_components": 2}
    flow = {**small, "num_layers": 2, "activation": "tanh"}
    models = tfdgm.models
    return [
        ModelCase("made_binary", models.MADE, {"event_shape": (2, 2), **small}, binary),
        ModelCase("made_binary_condition", models.MADE, {"event_shape": (2, 2), **small, **c}, binary, condition),
        ModelCase("made_categorical", models.MADE, {"event_shape": (3,), "levels": 4, **small}, levels),
        ModelCase("made_real", models.MADE, {"event_shape": (3,), "levels": None, "num_components": 3, **small}, real),
        ModelCase("maf", models.MAF, {"event_shape": (3,), **flow}, real),
        ModelCase("maf_condition", models.MAF, {"event_shape": (3,), **flow, **c}, real, condition),
        ModelCase("maf_levels_act_norm", models.MAF, {"event_shape": (3,), **flow, "levels": 4, "act_norm": True}, levels),
        ModelCase("iaf", models.IAF, {"event_shape": (3,), **flow}, real),
        ModelCase("realnvp", models.RealNVP, {"event_shape": (3,), **flow}, real),
        ModelCase("realnvp_condition", models.RealNVP, {"event_shape": (3,), **flow, **c}, real, condition),
        ModelCase("realnvp_levels", models.RealNVP, {"event_shape": (3,), **flow, "levels": 4}, levels),
        ModelCase("pixelcnn_binary", models.PixelCNN, {**image, "activation": "tanh"}, binary),
        ModelCase("pixelcnn_condition", models.PixelCNN, {**image, "activation": "tanh", **c}, binary, condition),
        ModelCase("gated_pixelcnn", models.GatedPixelCNN, {**image, **c, "levels": 3}, binary + binary[:, ::-1], condition),
        ModelCase("pixelrnn_row", models.PixelRNN, {**image, "kind": "row"}, binary),
        ModelCase("pixelrnn_diagonal", models.PixelRNN, {**image, **c, "levels": 3}, binary + binary[:, ::-1], condition),
        ModelCase("pixelcnn_mixture_rgb", models.PixelCNN, {**rgb, "activation": "tanh"}, colours),
        ModelCase(
            "multiscale_pixelcnn", models.MultiscalePixelCNN, {"event_shape": (4, 4), **multiscale, **c}, larger, condition
        ),
        ModelCase("pixelsnail", models.PixelSNAIL, {**snail, **c, "levels": 3}, binary + binary[:, ::-1], condition),
        ModelCase("image_transformer_rgb", models.ImageTransformer, transformer, colours),
        ModelCase(
            "pixelcnn_plus_plus",
            models.PixelCNNPlusPlus,
            {**rgb_of_two_rows, **c, "filters": 4, "num_downsamplings": 1, "dropout": 0.0},
            np.repeat(colours, 2, axis=1),
            condition,
        ),
        ModelCase("gaussian_mixture", models.GaussianMixture, {"event_shape": (3,), "num_components": 2}, real),
    ]


CASES = {case.name: case for case in _cases()}


#: Plain cases, of which another case of the class is a variation, and a third takes no condition either.
PLAIN = ("made_binary", "maf", "realnvp", "pixelcnn_binary")


#: A model of each kind: what is asked of every model is asked of these without --all, too.
FAST = ("made_categorical", "maf_condition", "maf_levels_act_norm", "pixelcnn_condition", "gaussian_mixture")


def model_cases(*names, fast=None):
    """Parametrizes a test over the named cases; by default over all that show something of their own. With `fast`, those that it
    does not name are slow."""
    chosen = [CASES[name] for name in names or CASES if name in names or name not in PLAIN]
    slow = [[] if fast is None or case.name in fast else [pytest.mark.slow] for case in chosen]
    return pytest.mark.parametrize(
        "case", [pytest.param(case, id=case.name, marks=marks) for case, marks in zip(chosen, slow, strict=True)]
    )
