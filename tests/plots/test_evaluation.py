"""The figure of capabilities draws the means and their intervals."""

import numpy as np
import pytest

from mambascope.errors import OutputError
from mambascope.methods.evaluation.aggregate import by_category
from mambascope.plots.evaluation import capability_figure
from tests.methods.evaluations import evaluation


def test_the_figure_shows_the_means_and_their_intervals():
    means = [by_category(evaluation({"two_hop": [1, 0, 0, 0]}, model=name)) for name in ("a", "b")]
    figure = capability_figure(*means)
    panel = figure.axes[0]
    bars = [bar for bar in panel.patches if bar.get_height() > 0]
    assert [bar.get_height() for bar in bars] == [0.25] * 4  # the category and all, for two models
    low, high = (
        float(means[0][part].sel(category="two_hop", score="exact")) for part in ("low", "high")
    )
    ends = [segment[:, 1] for line in panel.collections for segment in line.get_segments()]
    assert any(np.allclose(sorted(end), [low, high]) for end in ends)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "b"]
    with pytest.raises(OutputError, match="'logprob' is no score"):
        capability_figure(*means, scores=["logprob"])
