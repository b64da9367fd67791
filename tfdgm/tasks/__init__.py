"""What one does with a density: here, verifying it."""

from tfdgm.tasks.check import Check
from tfdgm.tasks.report import Report
from tfdgm.tasks.verification import verify

__all__ = ["Check", "Report", "verify"]
