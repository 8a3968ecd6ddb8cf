"""Figures of knockouts show the numbers of the result."""

import json
import re

import numpy as np
import pytest
import xarray as xr
from matplotlib.colors import to_hex

from mambascope.errors import OutputError
from mambascope.methods.knockout.aggregate import mean_flow, model_flows, source_contrast
from mambascope.plots.knockout import knockout_figure, knockout_png, models_figure
from mambascope.plots.knockout_curves import read_knockout
from mambascope.plots.knockout_page import knockout_html, plotly_knockout
from tests.methods.knockouts import knockouts

TOKENS = ["The", " capital", " of", " Fra<nce", " $is"]
ATTRS = {
    "method": "knockout", "prompt": "The capital of Fra<nce $is", "answer": " Paris", "clean_score": 0.9,
    "clean_rank": 1, "target": "last", "window": 2, "route": "scan", "mode": "zero", "features": "slow", "model": "m",
}  # fmt: skip


@pytest.fixture
def single():
    """Two sources and three windows of one prompt."""
    score = np.array([[0.9, 0.5, 0.1], [0.8, 0.85, 0.95]])
    return made(score, "source", {"source": ["subject", "random:subject"]})


@pytest.fixture
def each():
    """Every position of one prompt; the first has no score."""
    score = np.linspace(0.1, 1.0, 15).reshape(5, 3)
    score[0] = np.nan
    roles = ["before", "before", "before", "subject_last", "last"]
    labels = {"token": ("position", TOKENS), "role": ("position", roles)}
    return made(score, "position", {"position": range(5), **labels})


@pytest.fixture
def sweep():
    """Forty facts and two sources; the second changes nothing on average."""
    random = np.random.default_rng(0)
    clean = random.uniform(0.7, 0.9, 40)
    noise = random.normal(0, 0.02, (40, 1, 3))
    noise -= noise.mean(0)
    score = np.concatenate(
        [clean[:, None, None] * [[[0.9, 0.4, 0.6]]], clean[:, None, None] + noise], 1
    )
    return knockouts(score, clean, sources=["subject", "random:subject"])


def made(score, dim, coords):
    values = {"score": score, "change": 100 * (score / 0.9 - 1), "hit": (score > 0.5).astype(float)}
    starts = {
        "start": [0, 1, 2],
        "first_layer": ("start", [0, 1, 2]),
        "last_layer": ("start", [1, 2, 3]),
    }
    dims = (dim, "start")
    return xr.Dataset({k: (dims, v) for k, v in values.items()}, {**coords, **starts}, ATTRS)


def lines(figure):
    """Each curve by its label: (x, y, colour, style)."""
    return {
        line.get_label(): (
            line.get_xdata(),
            line.get_ydata(),
            to_hex(line.get_color()),
            line.get_linestyle(),
        )
        for line in figure.axes[0].lines
    }


def test_the_curves_of_one_prompt_are_its_scores(single):
    figure = knockout_figure(single)
    found = lines(figure)
    assert list(found) == ["nothing cut", "subject", "random:subject"]
    np.testing.assert_array_equal(found["subject"][1], [0.9, 0.5, 0.1])
    np.testing.assert_array_equal(found["subject"][0], [0, 1, 2])
    assert found["subject"][3] == "-"
    assert found["random:subject"][3] == "--"
    assert set(found["nothing cut"][1]) == {0.9}
    title = figure.axes[0].get_title()
    assert "target last, route scan, features slow, windows of 2 layers, in m" in " ".join(
        title.split()
    )
    assert "probability of 'Paris' 0.900 clean" in " ".join(title.split())
    assert knockout_png(single).startswith(b"\x89PNG")


def test_one_source_alone_is_drawn_too(single):
    alone = single.isel(source=0, drop=True).assign_attrs(source="subject")
    assert list(lines(knockout_figure(alone))) == ["nothing cut", "subject"]


def test_every_position_is_a_heatmap_of_the_change(each):
    figure = knockout_figure(each)
    mesh = figure.axes[0].collections[0]
    shown = np.ma.filled(mesh.get_array(), np.nan).reshape(3, 5)
    np.testing.assert_allclose(shown, (each["score"].values - 0.9).T)
    assert mesh.get_clim() == pytest.approx(
        (-mesh.get_clim()[1], np.nanmax(np.abs(each["score"] - 0.9)))
    )
    labels = [text.get_text() for text in figure.axes[0].get_xticklabels()]
    assert labels == ["The", "·capital", "·of", "·Fra<nce*", "·$is"]
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()] == [
        "0 to 1",
        "1 to 2",
        "2 to 3",
    ]


def test_the_curves_of_a_sweep_are_its_means_in_their_bands(sweep):
    flow = mean_flow(sweep, quantity="score")
    figure = knockout_figure(flow)
    found = lines(figure)
    np.testing.assert_array_equal(
        found["subject (n = 40)"][1], flow["effect"].sel(source="subject")
    )
    band = figure.axes[0].collections[0].get_paths()[0].vertices
    assert band[:, 1].min() == pytest.approx(float(flow["low"].sel(source="subject").min()))
    assert band[:, 1].max() == pytest.approx(float(flow["high"].sel(source="subject").max()))
    filled, hollow = (figure.axes[0].collections[place].get_facecolors() for place in (1, 3))
    assert len(filled) == 1 or (filled[:, :3] != 1).any(1).all()
    assert (hollow[:, :3] == 1).all()


def test_roles_are_a_heatmap_with_crosses_where_nothing_is_sure(sweep):
    by_role = knockouts(
        sweep["score"].values, sweep["clean_score"].values, roles=[["subject_last", "last"]] * 40
    )
    flow = mean_flow(by_role, quantity="change")
    curves = read_knockout(flow)
    assert curves.grid
    assert curves.labels == ["subject last (n = 40)", "last (n = 40)"]
    figure = knockout_figure(flow)
    mesh, crosses = figure.axes[0].collections[:2]
    np.testing.assert_allclose(mesh.get_array().reshape(3, 2), flow["effect"].values.T)
    assert {tuple(place) for place in np.asarray(crosses.get_offsets())} == {
        (1.5, 0.5),
        (1.5, 1.5),
        (1.5, 2.5),
    }


def test_models_are_drawn_by_relative_depth_one_panel_for_each_source(sweep):
    deep = knockouts(
        np.full((40, 2, 7), 0.4), np.full(40, 0.8), sources=["subject", "last"], model="deep"
    )
    figure = models_figure(*model_flows([sweep, deep]))
    (panel,) = [axes for axes in figure.axes if axes.axison]
    assert panel.get_title() == "subject"
    curves = {
        line.get_label(): line for line in panel.lines if not line.get_label().startswith("_")
    }
    np.testing.assert_allclose(curves["m"].get_xdata(), np.array([0.5, 1.5, 2.5]) / 3)
    np.testing.assert_allclose(curves["deep"].get_xdata(), (np.arange(7) + 0.5) / 7)
    np.testing.assert_allclose(curves["deep"].get_ydata(), 0.4)


def test_the_page_holds_the_numbers_and_escapes_texts(single, each, sweep):
    flow = mean_flow(sweep)
    drawn = [trace for trace in plotly_knockout(flow).data if trace.mode == "lines+markers"]
    np.testing.assert_array_equal(drawn[0].y, flow["effect"].sel(source="subject"))
    assert "q " in drawn[0].customdata[0][2]
    (heat,) = plotly_knockout(each).data
    np.testing.assert_allclose(heat.z, (each["score"].values - 0.9).T)
    page = knockout_html(each)
    assert "Fra<nce" not in page
    assert "Fra&lt;nce" in json.dumps(re.findall("Fra.{0,8}nce", page))
    assert "plotly" in knockout_html(single)
    assert "plotly" in knockout_html(source_contrast(sweep, "subject"))


def test_what_is_no_knockout_is_an_error(single, sweep):
    with pytest.raises(OutputError, match="is needed"):
        knockout_figure(single.assign_attrs(method="trace"))
    nothing = mean_flow(sweep).assign(n=mean_flow(sweep)["n"] * 0)
    with pytest.raises(OutputError, match="nothing to draw"):
        knockout_figure(nothing)
    by_role = knockouts(np.ones((3, 2, 2)), np.ones(3), roles=[["before", "last"]] * 3)
    with pytest.raises(OutputError, match="compared by sources"):
        models_figure(mean_flow(by_role), mean_flow(by_role))
