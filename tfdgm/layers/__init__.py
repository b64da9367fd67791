"""Keras 3 layers and functions that autoregressive models share. Backend-neutral: `keras` and `keras.ops` only."""

from tfdgm.layers.activations import bounded_log_scale, normal_quantile
from tfdgm.layers.causal_attention import CausalAttention
from tfdgm.layers.dropout import Dropout
from tfdgm.layers.exporting import exporting, is_exporting
from tfdgm.layers.masked_conv2d import MaskedConv2D
from tfdgm.layers.masked_dense import MaskedDense
from tfdgm.layers.noise_rows import first_noise_row, noise_from_row
from tfdgm.layers.update_slice import update_slice
from tfdgm.layers.vertical_conv2d import VerticalConv2D

__all__ = [
    "CausalAttention",
    "Dropout",
    "MaskedConv2D",
    "MaskedDense",
    "VerticalConv2D",
    "bounded_log_scale",
    "exporting",
    "first_noise_row",
    "is_exporting",
    "noise_from_row",
    "normal_quantile",
    "update_slice",
]
