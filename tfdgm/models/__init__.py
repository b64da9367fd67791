"""Named models: compositions of a network or bijectors, a family or base, and `DensityModel`."""

from tfdgm.models.density_model import DensityModel
from tfdgm.models.gated_pixelcnn import GatedPixelCNN
from tfdgm.models.gaussian_mixture import GaussianMixture
from tfdgm.models.iaf import IAF
from tfdgm.models.image_transformer import ImageTransformer
from tfdgm.models.made import MADE
from tfdgm.models.maf import MAF
from tfdgm.models.multiscale_pixelcnn import MultiscalePixelCNN
from tfdgm.models.pixelcnn import PixelCNN
from tfdgm.models.pixelcnn_plus_plus import PixelCNNPlusPlus
from tfdgm.models.pixelrnn import PixelRNN
from tfdgm.models.pixelsnail import PixelSNAIL
from tfdgm.models.realnvp import RealNVP

__all__ = [
    "IAF",
    "MADE",
    "MAF",
    "DensityModel",
    "GatedPixelCNN",
    "GaussianMixture",
    "ImageTransformer",
    "MultiscalePixelCNN",
    "PixelCNN",
    "PixelCNNPlusPlus",
    "PixelRNN",
    "PixelSNAIL",
    "RealNVP",
]
