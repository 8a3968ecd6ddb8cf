"""The figures of a ledger show the dataset's numbers, each term where it belongs, and mark what was only estimated."""

import io

import numpy as np
import pytest
import xarray as xr
from matplotlib.colors import to_hex
from matplotlib.image import imread

from mambascope.errors import ConfigError, OutputError
from mambascope.plots.ledger import ledger_figure, ledger_png
from mambascope.plots.ledger_mean import mean_ledger_figure
from mambascope.plots.ledger_page import ledger_html, plotly_ledger
from mambascope.results.ledger import ROUTES

LAYERS, SOURCES = 4, ["before", "subject_last"]
TERMS = [*ROUTES, "interaction", "total"]


def a_ledger(confirmed=None, **attrs):
    """A ledger without a model: every term another number, all of them summing to the total."""
    random = np.random.default_rng(0)
    cells = (LAYERS, len(SOURCES))
    by_route, by_cell = ("layer", "source", "route"), ("layer", "source")
    single, total = random.normal(size=(*cells, len(ROUTES))), random.normal(size=cells)
    confirmed = np.ones(cells, dtype=bool) if confirmed is None else confirmed
    unknown = np.where(confirmed, 0, np.nan)
    return xr.Dataset(
        {
            "single": (by_route, single + unknown[..., None]),
            "shapley": (by_route, single + (total - single.sum(-1))[..., None] / 5),
            "screened": (by_route, single * 0.5),
            "total": (by_cell, total + unknown),
            "interaction": (by_cell, total - single.sum(-1) + unknown),
            "screened_total": (by_cell, total * 0.5),
            "confirmed": (by_cell, confirmed),
            "whole": ("source", [1.5, 2.5]),
            "agreement": ("route", np.ones(len(ROUTES))),
        },
        coords={"layer": np.arange(LAYERS), "source": SOURCES, "route": list(ROUTES)},
        attrs={
            "method": "ledger", "prompt": "The capital of $France$ is", "answer": " Paris", "clean_score": -0.5,
            "measure": "log_probability", "unit": "nats", "model": "atlas-mamba1", "config": "{}", **attrs,
        },
    )  # fmt: skip


def a_mean(form="single"):
    """A mean ledger whose effect of (layer, source, term) is their sum, the last layer alone significant."""
    names = TERMS if form == "single" else [*ROUTES, "total"]
    effect = np.add.outer(np.add.outer(np.arange(LAYERS), [0.0, 10.0]), np.arange(len(names)))
    q = np.ones(effect.shape)
    q[-1] = 0.01
    n = np.full(effect.shape, 20)
    n[:, 1] = 12
    dims = ("layer", "source", "term")
    values = {"effect": effect, "low": effect - 1, "high": effect + 2, "n": n, "p": q, "q": q}
    nothing = np.full(effect.shape, np.nan)
    return xr.Dataset(
        {name: (dims, each) for name, each in values.items()}
        | {f"above_{name}": (dims, nothing) for name in values},
        coords={"layer": np.arange(LAYERS), "source": SOURCES, "term": names},
        attrs={
            "method": "aggregate.ledger", "form": form, "measure": "log_probability", "unit": "nats",
            "facts": 20, "confidence": 0.95, "model": "atlas-mamba1",
        },
    )  # fmt: skip


def test_every_term_is_drawn_with_its_numbers_on_one_scale():
    result = a_ledger()
    panels = ledger_figure(result).axes[: len(TERMS)]
    titles = [axes.get_title() for axes in panels]
    assert titles == [
        "state", "+ conv", "+ gate", "+ skip", "+ query", "+ interaction", "= total",
    ]  # fmt: skip
    for number, axes in enumerate(panels):
        drawn = axes.collections[0].get_array()
        if number < len(ROUTES):
            np.testing.assert_array_equal(drawn, result["single"].values[..., number])
    shown = [axes.collections[0].get_array() for axes in panels]
    np.testing.assert_allclose(sum(shown[:-1]), shown[-1])
    largest = max(np.abs(each).max() for each in shown)
    assert {axes.collections[0].get_clim() for axes in panels} == {(-largest, largest)}


def test_layers_go_up_and_sources_are_named():
    axes = ledger_figure(a_ledger()).axes[0]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["0", "1", "2", "3"]
    assert axes.get_ylim() == (0, LAYERS)
    assert [text.get_text() for text in axes.get_xticklabels()] == ["before", "subject last"]


def test_titles_say_what_is_seen_and_dollars_are_dollars():
    figure = ledger_figure(a_ledger(), form="shapley")
    title = figure.get_suptitle()
    assert title.startswith("The capital of $France$ is\n")
    assert (
        "Shapley values of the routes" in title and "'Paris' with nothing changed: -0.500" in title
    )
    assert [axes.get_title() for axes in figure.axes[:6]] == [
        "state", "+ conv", "+ gate", "+ skip", "+ query", "= total",
    ]  # fmt: skip
    assert figure.axes[-1].get_ylabel() == "fall of the log-probability of 'Paris' (nats)"
    figure = ledger_figure(a_ledger(measure="probability", unit="probability"))
    assert figure.axes[-1].get_ylabel() == "fall of the probability of 'Paris'"


def test_cells_that_were_screened_only_show_their_estimate_and_a_cross():
    confirmed = np.ones((LAYERS, len(SOURCES)), dtype=bool)
    confirmed[2, 1] = False
    result = a_ledger(confirmed)
    figure = ledger_figure(result)
    for number, axes in enumerate(figure.axes[: len(TERMS)]):
        mesh, crosses = axes.collections
        assert crosses.get_offsets().tolist() == [[1.5, 2.5]]
        drawn = mesh.get_array()
        assert np.isfinite(drawn).all()
        if number < len(ROUTES):
            assert drawn[2, 1] == result["screened"].values[2, 1, number]
    assert "screened only" in figure._supxlabel.get_text()
    assert "screened only" not in ledger_figure(a_ledger())._supxlabel.get_text()
    page = plotly_ledger(result)
    assert page.data[0].text[2, 1] == "×" and page.data[0].customdata[2, 1, 1] == "(estimate)"
    assert (page.data[0].text == "×").sum() == 1


def test_the_png_is_a_picture():
    picture = imread(io.BytesIO(ledger_png(a_ledger(), dpi=50)))
    assert picture.shape[0] > 100 and picture[..., :3].std() > 0.05


def test_hovering_tells_the_total_and_what_the_source_is_worth_in_all_layers():
    result = a_ledger()
    figure = plotly_ledger(result)
    assert len(figure.data) == len(TERMS)
    for number, trace in enumerate(figure.data):
        shown = trace.z
        told = trace.customdata
        np.testing.assert_array_equal(told[..., 2].astype(float), result["total"].values)
        assert told[0, :, 0].tolist() == ["before", "subject last"]
        assert told[3, :, 3].tolist() == [1.5, 2.5]
        if number < len(ROUTES):
            np.testing.assert_array_equal(shown, result["single"].values[..., number])
    assert sum(bool(trace.showscale) for trace in figure.data) == 1
    html = ledger_html(a_ledger(prompt="<script>is"))
    assert "&lt;script&gt;is" in html or "\\u0026lt;script\\u0026gt;is" in html


def test_a_mean_has_a_row_for_each_source_with_bands_and_significance():
    result = a_mean()
    figure = mean_ledger_figure(result)
    panels = np.array(figure.axes).reshape(len(SOURCES), len(TERMS))
    assert [axes.get_title() for axes in panels[0]][-2:] == ["+ interaction", "= total"]
    assert [row[0].get_ylabel() for row in panels] == ["before\n(n = 20)", "subject last\n(n = 12)"]
    for row, source in zip(panels, SOURCES, strict=True):
        assert len({axes.get_ylim() for axes in row}) == 1
        for axes, term in zip(row, TERMS, strict=True):
            cell = result.sel(source=source, term=term)
            line = axes.lines[-1]
            np.testing.assert_array_equal(line.get_ydata(), cell["effect"].values)
            band, points = axes.collections
            heights = band.get_paths()[0].vertices[:, 1]
            assert heights.min() == cell["low"].min() and heights.max() == cell["high"].max()
            filled = [to_hex(colour) != "#ffffff" for colour in points.get_facecolors()]
            assert filled == [False, False, False, True]
    assert "20 facts, 95 % intervals over facts" in figure.get_suptitle()
    assert "Shapley" in mean_ledger_figure(a_mean("shapley")).get_suptitle()


def test_a_control_is_drawn_in_grey_beside_its_source_and_significance_is_that_of_the_difference():
    plain = a_mean()
    control = plain.sel(source=["subject_last"]).assign_coords(source=["random:subject_last"])
    result = xr.concat([plain, control - 20], "source").assign_attrs(plain.attrs)
    beside = {"source": "subject_last", "layer": 1}
    result["above_q"].loc[beside] = 0.01
    figure = mean_ledger_figure(result)
    panels = np.array(figure.axes).reshape(len(SOURCES), len(TERMS))  # no row for the control
    for axes, term in zip(panels[1], TERMS, strict=True):
        grey, own = axes.lines[-2:]
        drawn = result["effect"].sel(source="random:subject_last", term=term)
        np.testing.assert_array_equal(grey.get_ydata(), drawn)
        assert grey.get_color() == "0.45" and own.get_color() != "0.45"
        filled = [to_hex(each) != "#ffffff" for each in axes.collections[-1].get_facecolors()]
        assert filled == [False, True, False, False]
    filled = [to_hex(c) != "#ffffff" for c in panels[0, 0].collections[-1].get_facecolors()]
    assert filled == [False, False, False, True]
    assert "as many random other positions" in figure._supxlabel.get_text()
    assert "random" not in mean_ledger_figure(plain)._supxlabel.get_text()


def test_what_is_no_ledger_is_refused():
    with pytest.raises(OutputError, match="result of 'trace', but one of 'ledger' is needed"):
        ledger_figure(a_ledger(method="trace"))
    with pytest.raises(OutputError, match=r"one of 'aggregate\.ledger' is needed"):
        mean_ledger_figure(a_ledger())
    with pytest.raises(ConfigError, match="unknown form 'ordered'"):
        ledger_figure(a_ledger(), form="ordered")
