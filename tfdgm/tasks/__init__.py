"""What one does with a density: verifying it, and looking into it."""

from tfdgm.tasks.bits_per_dim_map import bits_per_dim_map
from tfdgm.tasks.check import Check
from tfdgm.tasks.fisher_embedding import FisherEmbedding
from tfdgm.tasks.fisher_scores import fisher_scores
from tfdgm.tasks.receptive_field import receptive_field
from tfdgm.tasks.report import Report
from tfdgm.tasks.verification import verify

__all__ = ["Check", "FisherEmbedding", "Report", "bits_per_dim_map", "fisher_scores", "receptive_field", "verify"]
