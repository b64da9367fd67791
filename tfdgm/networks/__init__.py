"""Autoregressive networks, and the conditioners of coupling layers. Backend-neutral: `keras` and `keras.ops` only."""

from tfdgm.networks.autoregressive_likelihood import AutoregressiveLikelihood
from tfdgm.networks.autoregressive_network import AutoregressiveNetwork
from tfdgm.networks.colour_coupling import ColourCoupling
from tfdgm.networks.dense_network import DenseNetwork
from tfdgm.networks.gated_pixelcnn import GatedPixelCNN
from tfdgm.networks.image_network import ImageNetwork
from tfdgm.networks.image_transformer import ImageTransformer
from tfdgm.networks.made import MADE
from tfdgm.networks.multiscale_pixelcnn import MultiscalePixelCNN
from tfdgm.networks.of_levels import of_levels, parameters_of
from tfdgm.networks.pixelcnn import PixelCNN
from tfdgm.networks.pixelcnn_plus_plus import PixelCNNPlusPlus
from tfdgm.networks.pixelrnn import PixelRNN
from tfdgm.networks.pixelsnail import PixelSNAIL

__all__ = [
    "MADE",
    "AutoregressiveLikelihood",
    "AutoregressiveNetwork",
    "ColourCoupling",
    "DenseNetwork",
    "GatedPixelCNN",
    "ImageNetwork",
    "ImageTransformer",
    "MultiscalePixelCNN",
    "PixelCNN",
    "PixelCNNPlusPlus",
    "PixelRNN",
    "PixelSNAIL",
    "of_levels",
    "parameters_of",
]
