"""SavedModels: written with TF Serving's signatures, and read back as the same Keras model."""

from tfdgm.serving.client import Client
from tfdgm.serving.saved_model import ArtifactError, export, find_saved_model, load, restore
from tfdgm.serving.serving_error import ServingError

__all__ = ["ArtifactError", "Client", "ServingError", "export", "find_saved_model", "load", "restore"]
