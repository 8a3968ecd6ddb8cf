"""The figures of a trace show the dataset's numbers, with each label where it belongs."""

import io
import re

import numpy as np
import pytest
from matplotlib.image import imread

from mambascope.errors import OutputError
from mambascope.plots.trace import trace_figure, trace_png
from mambascope.plots.trace_page import plotly_trace, trace_html


def test_every_cell_is_drawn_with_its_score(trace_result):
    result = trace_result()
    mesh = trace_figure(result).axes[0].collections[0]
    np.testing.assert_allclose(mesh.get_array(), result["score"].values)
    assert mesh.get_clim() == (0.1, 0.95)


def test_layers_go_up_and_the_subject_alone_is_marked(trace_result):
    axes = trace_figure(trace_result()).axes[0]
    assert axes.get_ylim() == (0, 12)
    assert [text.get_text() for text in axes.get_yticklabels()] == [str(n) for n in range(12)]
    labels = axes.get_xticklabels()
    assert [text.get_text() for text in labels] == ["The", "·capital", "·of", "·France*", "·is"]
    assert [text.get_fontweight() == "bold" for text in labels] == [
        False,
        False,
        False,
        True,
        False,
    ]


def test_title_and_bar_say_what_is_seen(trace_result):
    figure = trace_figure(trace_result(site="mixer_out", window=5))
    assert figure.get_suptitle() == "The capital of France is"
    title = figure.axes[0].get_title()
    assert "restoring mixer_out over 5 layers in atlas-mamba1" in title
    assert "clean 0.950, corrupted 0.100" in title
    assert figure.axes[1].get_ylabel() == "probability of 'Paris' after restoring"


def test_the_scale_reaches_a_cell_above_the_clean_run(trace_result):
    mesh = trace_figure(trace_result(clean_score=0.5)).axes[0].collections[0]
    assert mesh.get_clim() == pytest.approx((0.1, 0.9))


def test_normalised_scores_run_from_the_corrupted_run_to_the_clean_one(trace_result):
    result = trace_result()
    figure = trace_figure(result, normalise=True)
    mesh = figure.axes[0].collections[0]
    np.testing.assert_allclose(mesh.get_array(), (result["score"].values - 0.1) / 0.85)
    assert mesh.get_clim() == (0.0, 1.0)
    assert "0 as corrupted, 1 as clean" in figure.axes[1].get_ylabel()
    with pytest.raises(OutputError, match=r"both 0\.1, so scores cannot be normalised"):
        trace_figure(trace_result(clean_score=0.1), normalise=True)


def test_a_trace_without_any_effect_can_be_drawn(trace_result):
    flat = trace_result()
    flat["score"][:] = 0.3
    trace_png(flat.assign_attrs(clean_score=0.3, corrupted_score=0.3))
    low, high = (
        trace_figure(flat.assign_attrs(clean_score=0.3, corrupted_score=0.3))
        .axes[0]
        .collections[0]
        .get_clim()
    )
    assert low < high


def test_a_large_trace_gets_a_large_figure_and_fewer_labels(trace_result):
    tokens = tuple(f" word{n}" for n in range(300))
    small, large = trace_figure(trace_result()), trace_figure(trace_result(64, tokens))
    assert (large.get_size_inches() > small.get_size_inches()).all()
    axes = large.axes[0]
    assert len(axes.get_yticks()) == 32
    shown = [text.get_text() for text in axes.get_xticklabels()]
    assert len(shown) <= 65
    assert "·word298*" in shown


def test_dollars_and_foreign_scripts_do_not_disturb_the_png(trace_result, recwarn):
    tokens = ("$x_", "^{", "\u6771", "\n", "$")
    content = trace_png(trace_result(2, tokens, prompt="$x_^{\u6771\n$"), dpi=80)
    height, width, _ = imread(io.BytesIO(content)).shape
    assert width > height > 100
    assert not recwarn.list


def test_the_page_holds_the_same_numbers_and_marks(trace_result):
    result = trace_result()
    heat = plotly_trace(result).data[0]
    np.testing.assert_allclose(heat.z, result["score"].values)
    assert list(heat.y) == list(range(12))
    assert heat.customdata[3][3][1] == "subject_last"
    axis = plotly_trace(result).layout.xaxis
    assert [("*" in text, "<b" in text) for text in axis.ticktext] == [(False, False)] * 3 + [
        (True, True),
        (False, False),
    ]


def test_the_page_needs_nothing_from_elsewhere_and_runs_no_token(trace_result):
    page = trace_html(trace_result(2, ("<script>", "alert(1)", "</script>", " a", " b")))
    assert re.findall(r"<(?:script|link)[^>]+(?:src|href)=", page) == []
    assert "alert(1)</script>" not in page
    assert "<script>alert" not in page


def test_other_results_are_refused(trace_result):
    with pytest.raises(OutputError, match="one of 'trace' is needed"):
        trace_figure(trace_result(method="knockout"))
    with pytest.raises(OutputError, match="has 'role', but this one does not"):
        trace_figure(trace_result().drop_vars("role"))
    without = trace_result()
    del without.attrs["answer"]
    with pytest.raises(OutputError, match="lacks attrs: answer"):
        plotly_trace(without)
