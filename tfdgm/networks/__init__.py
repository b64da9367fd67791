"""Autoregressive networks, and the conditioners of coupling layers. Backend-neutral: `keras` and `keras.ops` only."""

from tfdgm.networks.autoregressive_network import AutoregressiveNetwork
from tfdgm.networks.colour_coupling import ColourCoupling
from tfdgm.networks.dense_network import DenseNetwork
from tfdgm.networks.gated_pixelcnn import GatedPixelCNN
from tfdgm.networks.image_network import ImageNetwork
from tfdgm.networks.made import MADE
from tfdgm.networks.pixelcnn import PixelCNN
from tfdgm.networks.pixelcnn_plus_plus import PixelCNNPlusPlus

__all__ = [
    "MADE",
    "AutoregressiveNetwork",
    "ColourCoupling",
    "DenseNetwork",
    "GatedPixelCNN",
    "ImageNetwork",
    "PixelCNN",
    "PixelCNNPlusPlus",
]
