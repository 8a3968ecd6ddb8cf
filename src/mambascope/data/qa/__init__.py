"""Question sets as their authors publish them, each question with the category of what it demands. One file per data set."""

from mambascope.data.qa.build import Built, Source, build
from mambascope.data.qa.catalogue import QUESTION_SETS
from mambascope.data.qa.config import BuildConfig
from mambascope.data.qa.table import as_table

__all__ = ["QUESTION_SETS", "BuildConfig", "Built", "Source", "as_table", "build"]
