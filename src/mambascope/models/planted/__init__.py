"""Mambas whose weights are written by hand, so that the mechanism is known: what methods are scored on."""

from mambascope.models.planted.mechanisms import MECHANISMS, Planted, plant

__all__ = ["MECHANISMS", "Planted", "plant"]
