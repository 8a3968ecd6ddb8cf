"""The figures of an aggregate show its numbers: effects, intervals, counts, and what is not significant."""

import io
import re

import numpy as np
import pytest
import xarray as xr
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex, to_rgba
from matplotlib.image import imread

from mambascope.errors import OutputError
from mambascope.plots.aggregate import read_effects
from mambascope.plots.effect_files import effect_files
from mambascope.plots.effect_heatmap import effect_heatmap
from mambascope.plots.effect_lines import effect_lines
from mambascope.plots.effect_page import effect_html, plotly_effects

ROLES = ("before", "subject_first", "subject_last", "last")


def aggregate(layers=6, scale=1.0, sites=("state",), model="atlas-mamba1", **attrs):
    """Effects that rise with the layer and fall below zero at first; no fact has a subject_first."""
    dims = ("site", "layer", "role")
    shape = (len(sites), layers, len(ROLES))
    effect = scale * np.linspace(-0.2, 0.6, np.prod(shape)).reshape(shape)
    n = np.broadcast_to([30, 0, 28, 30], shape).copy()
    n[:, 0, 2] = 25
    effect[..., 1] = np.nan
    q = np.where(effect > 0.1 * scale, 0.01, 0.3)
    q[..., 1] = np.nan
    parts = {"effect": effect, "low": effect - 0.05, "high": effect + 0.1, "n": n, "p": q, "q": q}
    return xr.Dataset(
        {name: (dims, part) for name, part in parts.items()},
        coords={
            "site": list(sites),
            "layer": np.arange(layers),
            "role": list(ROLES),
            "window": ("site", [5] * len(sites)),
        },
        attrs={
            "method": "aggregate.trace",
            "statistic": "mean_effect",
            "quantity": "effect",
            "title": f"restoring in {model}",
            "unit": "probability of the answer",
            "confidence": 0.9,
            "facts": 30,
            "left_out": 2,
            **attrs,
        },
    )


def drawn(result):
    """What must be seen: the effects of one site without the role that no fact has."""
    return result["effect"].squeeze("site").sel(role=["before", "subject_last", "last"]).values


def crosses(axes):
    """(layer, column) of every cell that is crossed out."""
    return {(int(y), int(x)) for x, y in axes.collections[1].get_offsets()}


def test_every_cell_is_drawn_and_the_scale_is_even_about_zero():
    result = aggregate()
    axes = effect_heatmap(result).axes[0]
    np.testing.assert_allclose(axes.collections[0].get_array(), drawn(result))
    assert axes.collections[0].get_clim() == pytest.approx((-0.6, 0.6))
    assert axes.get_ylim() == (0, 6)
    white = axes.collections[0].to_rgba(0.0)
    assert min(white[:3]) > 0.93


def test_cells_that_are_not_significant_are_crossed_out():
    result = aggregate()
    expected = {
        (layer, column) for layer, column in zip(*np.nonzero(drawn(result) <= 0.1), strict=True)
    }
    assert 0 < len(expected) < 18
    figure = effect_heatmap(result)
    assert crosses(figure.axes[0]) == expected
    assert "not significant (q ≥ 0.1)" in figure.get_supxlabel()


def test_the_labels_say_role_and_how_many_facts():
    labels = [text.get_text() for text in effect_heatmap(aggregate()).axes[0].get_xticklabels()]
    assert labels == ["before\nn = 30", "subject\nlast\nn = 25 to 28", "last\nn = 30"]


def test_title_and_bar_say_what_is_seen():
    figure = effect_heatmap(aggregate())
    title = figure.axes[0].get_title()
    assert "state over 5 layers: restoring in atlas-mamba1" in title
    assert "30 facts (2 more left out), 90 % intervals over facts" in title
    assert figure.axes[1].get_ylabel() == "mean effect\n(probability of the answer)"


def test_models_side_by_side_share_one_scale_and_keep_their_own_layers():
    shallow, deep = aggregate(4, model="small"), aggregate(9, scale=2.0, model="deep")
    figure = effect_heatmap(shallow, deep)
    first, second = figure.axes[:2]
    assert first.collections[0].get_clim() == second.collections[0].get_clim() == (-1.2, 1.2)
    assert (first.get_ylim(), second.get_ylim()) == ((0, 4), (0, 9))
    assert ["small" in axes.get_title() for axes in (first, second)] == [True, False]
    np.testing.assert_allclose(second.collections[0].get_array(), drawn(deep))
    assert len(figure.axes) == 3


def test_no_label_touches_another():
    """Drawn, no two texts of a panel overlap, nor do those of two panels."""
    figure = effect_heatmap(*(aggregate(48, model=f"a-model-with-a-name-{n}") for n in range(3)))
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw(renderer)
    boxes = []
    for axes in figure.axes[:3]:
        texts = [axes.title, axes.yaxis.label, *axes.get_xticklabels(), *axes.get_yticklabels()]
        boxes += [text.get_window_extent(renderer) for text in texts if text.get_text()]
    for n, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[n + 1 :])


def test_each_line_has_its_band_and_its_filled_points():
    result = aggregate()
    axes = effect_lines(result).axes[0]
    lines = axes.get_lines()[1:]
    assert [line.get_label() for line in lines] == [
        "before (n = 30)",
        "subject last (n = 25 to 28)",
        "last (n = 30)",
    ]
    bands, points = axes.collections[::2], axes.collections[1::2]
    for column, (line, band, dots) in enumerate(zip(lines, bands, points, strict=True)):
        effect = drawn(result)[:, column]
        np.testing.assert_allclose(line.get_ydata(), effect)
        edges = band.get_paths()[0].vertices
        for layer in range(6):
            ends = edges[edges[:, 0] == layer, 1]
            assert (ends.min(), ends.max()) == pytest.approx(
                (effect[layer] - 0.05, effect[layer] + 0.1)
            )
        hollow = [tuple(face) == to_rgba("white") for face in dots.get_facecolors()]
        assert hollow == (effect <= 0.1).tolist()
    assert len({to_hex(line.get_color()) for line in lines}) == 3
    assert axes.get_ylabel() == "mean effect\n(probability of the answer)"
    assert "q < 0.1" in axes.get_xlabel()


def test_routes_are_lines_of_one_role():
    result = aggregate().expand_dims(route=["scan", "conv", "mixer"])
    axes = effect_lines(result.sel(role="last")).axes[0]
    labels = [line.get_label() for line in axes.get_lines()[1:]]
    assert labels == ["scan (n = 30)", "conv (n = 30)", "mixer (n = 30)"]
    assert axes.get_title().startswith("state over 5 layers, last: restoring")
    assert read_effects(result.sel(route="conv")).columns == ["before", "subject_last", "last"]


def test_the_page_holds_the_same_numbers_and_tells_them_when_hovered():
    result = aggregate()
    figure = plotly_effects(result)
    heat, lines = figure.data[0], figure.data[2::2]
    np.testing.assert_allclose(heat.z, drawn(result))
    assert (heat.zmin, heat.zmax) == pytest.approx((-0.6, 0.6))
    for layer in range(6):
        for column, name in enumerate(("before", "subject last", "last")):
            told = heat.customdata[layer][column]
            effect = drawn(result)[layer, column]
            assert list(told[:2]) == [layer, name]
            assert list(told[2:5]) == pytest.approx([effect, effect - 0.05, effect + 0.1])
            assert (heat.text[layer][column] == "×") == (effect <= 0.1)
            assert lines[column].y[layer] == pytest.approx(effect)
            open_circle = lines[column].marker.symbol[layer] == "circle-open"
            assert open_circle == (effect <= 0.1)


def test_the_page_needs_nothing_from_elsewhere_and_runs_no_title():
    page = effect_html(aggregate(model="<script>alert(1)</script>"))
    assert re.findall(r"<(?:script|link)[^>]+(?:src|href)=", page) == []
    assert "<script>alert" not in page


def test_the_files_are_named_after_the_sites():
    files = effect_files(aggregate(sites=("u", "state / attn_out")), dpi=50)
    assert sorted(files) == sorted(
        f"effect-{site}{end}"
        for site in ("u", "state-and-attn_out")
        for end in (".png", "-lines.png", ".html")
    )
    height, width, _ = imread(io.BytesIO(files["effect-u.png"])).shape
    assert min(height, width) > 100


def test_an_aggregate_without_any_effect_can_be_drawn():
    flat = aggregate(scale=0.0)
    low, high = effect_heatmap(flat).axes[0].collections[0].get_clim()
    assert low < 0 < high
    effect_lines(flat)


def test_what_cannot_be_drawn_is_refused_with_what_to_do():
    with pytest.raises(
        OutputError, match=r"one site can be drawn at a time: result.sel\(site='u'\)"
    ):
        effect_heatmap(aggregate(sites=("u", "state")))
    with pytest.raises(OutputError, match=r"one route can be drawn .* result.sel\(route='scan'\)"):
        effect_lines(aggregate().expand_dims(route=["scan", "conv"]))
    with pytest.raises(OutputError, match="has no layers"):
        effect_lines(aggregate().isel(layer=0))
    with pytest.raises(OutputError, match=r"one of 'aggregate.trace' is needed"):
        effect_heatmap(aggregate(method="sweep.trace"))
    with pytest.raises(OutputError, match="lacks attrs: unit"):
        without = aggregate()
        del without.attrs["unit"]
        effect_heatmap(without)
    nothing = aggregate()
    nothing["n"][:] = 0
    with pytest.raises(OutputError, match="nothing to draw"):
        effect_lines(nothing)
