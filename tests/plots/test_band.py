"""The area around a line goes along the upper end and back along the lower one, in the line's colour."""

import numpy as np

from mambascope.plots.band import band


def test_the_area_lies_between_the_ends():
    area = band([0, 1, 2], np.array([1.0, 2.0, 3.0]), np.array([4.0, 5.0, 6.0]), "#ff8000", "last")
    assert list(area.x) == [0, 1, 2, 2, 1, 0]
    assert list(area.y) == [4, 5, 6, 3, 2, 1]
    assert (area.fill, area.fillcolor) == ("toself", "rgba(255,128,0,0.18)")
    assert (area.legendgroup, area.showlegend) == ("last", False)
