"""Keras 3 layers and functions that autoregressive models share. Backend-neutral: `keras` and `keras.ops` only."""

from tfdgm.layers.activations import bounded_log_scale, normal_quantile, unbounded_log_scale
from tfdgm.layers.causal_attention import CausalAttention
from tfdgm.layers.diagonal_bilstm import DiagonalBiLSTM
from tfdgm.layers.discretized_logistic import discretized_logistic_log_prob
from tfdgm.layers.down_right_conv2d import DownRightConv2D
from tfdgm.layers.dropout import Dropout
from tfdgm.layers.exporting import exporting, is_exporting
from tfdgm.layers.inverse_cdf import inverse_cdf
from tfdgm.layers.lstm_cell import lstm_cell
from tfdgm.layers.masked_conv2d import MaskedConv2D
from tfdgm.layers.masked_dense import MaskedDense, premask
from tfdgm.layers.moments import moments, scale_or_one
from tfdgm.layers.noise_rows import first_noise_row, noise_from_row
from tfdgm.layers.reorder import reorder
from tfdgm.layers.row_lstm import RowLSTM
from tfdgm.layers.scan import scan
from tfdgm.layers.shifted_conv2d_transpose import ShiftedConv2DTranspose
from tfdgm.layers.slices import take_row, take_rows, take_slice, update_slice
from tfdgm.layers.standardize import Standardize
from tfdgm.layers.vertical_conv2d import VerticalConv2D

__all__ = [
    "CausalAttention",
    "DiagonalBiLSTM",
    "DownRightConv2D",
    "Dropout",
    "MaskedConv2D",
    "MaskedDense",
    "RowLSTM",
    "ShiftedConv2DTranspose",
    "Standardize",
    "VerticalConv2D",
    "bounded_log_scale",
    "discretized_logistic_log_prob",
    "exporting",
    "first_noise_row",
    "inverse_cdf",
    "is_exporting",
    "lstm_cell",
    "moments",
    "noise_from_row",
    "normal_quantile",
    "premask",
    "reorder",
    "scale_or_one",
    "scan",
    "take_row",
    "take_rows",
    "take_slice",
    "unbounded_log_scale",
    "update_slice",
]
