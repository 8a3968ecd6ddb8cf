"""Sites: the named tensors inside a model, and how they are read and changed while it runs."""

from mambascope.sites.cuts import Cut
from mambascope.sites.edits import Edit, Taken
from mambascope.sites.segments import Segments
from mambascope.sites.site import Site, shared_sites
from mambascope.sites.tap import LayerTap, Tap

__all__ = ["Cut", "Edit", "LayerTap", "Segments", "Site", "Taken", "Tap", "shared_sites"]
