"""Autoregressive networks, and the conditioners of coupling layers. Backend-neutral: `keras` and `keras.ops` only."""

from tfdgm.networks.autoregressive_network import AutoregressiveNetwork
from tfdgm.networks.dense_network import DenseNetwork
from tfdgm.networks.made import MADE

__all__ = ["MADE", "AutoregressiveNetwork", "DenseNetwork"]
