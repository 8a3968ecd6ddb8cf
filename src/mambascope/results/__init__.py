"""Results: labelled datasets that say what they are, and that come back from disk as they went."""

from mambascope.results.folder import check_folder
from mambascope.results.store import load, save

__all__ = ["check_folder", "load", "save"]
