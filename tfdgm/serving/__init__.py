"""SavedModels: written with TF Serving's signatures, and read back as the same Keras model."""

from tfdgm.serving.artifact import ArtifactError
from tfdgm.serving.client import Client
from tfdgm.serving.graph import load_graph
from tfdgm.serving.saved_model import export, find_saved_model, load, restore
from tfdgm.serving.serving_error import ServingError

__all__ = ["ArtifactError", "Client", "ServingError", "export", "find_saved_model", "load", "load_graph", "restore"]
