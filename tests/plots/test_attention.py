"""Figures of effective attention and of memory: what they show is what the result says."""

import json
import re

import numpy as np
import pytest
import xarray as xr

from mambascope.errors import OutputError
from mambascope.plots.attention import attention_figure, attention_png
from mambascope.plots.attention_maps import read_attention
from mambascope.plots.attention_page import attention_html, plotly_attention
from mambascope.plots.memory import retention_figure, retention_png, spectrum_figure, spectrum_png
from mambascope.plots.memory_page import (
    plotly_retention,
    plotly_spectrum,
    retention_html,
    spectrum_html,
)
from mambascope.plots.memory_values import read_retention, read_spectrum

TOKENS = ["The", " $x$", " <b>", "日本", "."]
PNG = b"\x89PNG"
SHARED = {"prompt": "The $x$ <b>日本.", "model": "atlas-mamba1", "architecture": "mamba1"}


def maps(values=None, **attrs):
    """Three layers; the value of (layer, target, source) is layer + target / 10 + source / 100, by default."""
    if values is None:
        values = np.add.outer(np.add.outer([0.0, 1, 2], np.arange(5) / 10), np.arange(5) / 100)
        values = np.tril(values)
    coords = {
        "layer": [0, 4, 7],
        "target": np.arange(5),
        "source": np.arange(5),
        "target_token": ("target", TOKENS),
        "source_token": ("source", TOKENS),
    }
    told = {"method": "attention", "span": "scan", "reduce": "mean_abs", "rollout": False}
    dims = ("layer", "target", "source", "channel")[: values.ndim]
    return xr.Dataset({"attention": (dims, values)}, coords, {**told, **SHARED, **attrs})


def retained():
    surviving = np.array([[1e-9, 0.1, 0.2, 0.4, 0.8], [1, 2, 3, 4, 5.0]])
    by_token = {
        name: (("layer", "position"), surviving * factor)
        for name, factor in {"surviving": 1, "written": 2, "share": 0.5, "half_life": 10}.items()
    }
    return xr.Dataset(
        {**by_token, "state_norm": ("layer", [1.0, 10.0])},
        {"layer": [2, 3], "position": np.arange(5), "token": ("position", TOKENS)},
        {"method": "retention", **SHARED},
    )


def lives():
    values = np.array([[[1.0, 10.0], [10.0, 100.0]], [[3.0, 3.0], [3.0, 1000.0]]])
    return xr.Dataset(
        {"half_life": (("layer", "channel", "state"), values)},
        {"layer": [2, 3], "channel": [0, 1]},
        {"method": "half_lives", "tokens": 5, **SHARED},
    )


def test_each_panel_shows_its_layer_and_nothing_where_the_source_comes_after_the_target():
    result = maps()
    figure = attention_figure(result)
    panels = [axes for axes in figure.axes if axes.get_title()]
    assert [axes.get_title() for axes in panels] == ["layer 0", "layer 4", "layer 7"]
    for number, axes in enumerate(panels):
        shown = axes.get_images()[0]
        array = np.ma.filled(shown.get_array(), np.nan)
        lower = np.tril_indices(5)
        np.testing.assert_allclose(array[lower], result["attention"].values[number][lower])
        assert np.isnan(array[np.triu_indices(5, 1)]).all()
        assert shown.get_clim() == pytest.approx((0, number + 0.44))
    labels = [text.get_text() for text in panels[0].get_yticklabels()]
    assert labels == ["The", "·$x$", "·<b>", "日本", "."]
    assert "mean |attention|" in figure.get_suptitle()


def test_signed_maps_are_centred_on_zero_and_others_are_not():
    signed = maps()["attention"].values.copy()
    signed[1, 3, 2] = -7
    read = read_attention(maps(signed, reduce="share", span="mixer"))
    ends = [[panel.low, panel.high] for panel in read.panels]
    np.testing.assert_allclose(ends, [[-0.44, 0.44], [-7, 7], [-2.44, 2.44]])
    assert read.colours == "PuOr_r" and read.quantity == "share of the mixer's output"
    assert read_attention(maps()).colours == "Purples"


def test_a_map_of_zeros_and_one_of_a_rollout_can_be_drawn():
    read = read_attention(maps(np.zeros((3, 5, 5)), rollout=True))
    assert read.panels[0].high > read.panels[0].low
    assert read.what.startswith("rollout of the mean |attention|")
    assert attention_png(maps(np.zeros((3, 5, 5)))).startswith(PNG)


def test_a_result_with_many_maps_is_drawn_when_it_is_narrowed_to_one():
    several = maps(np.stack([maps()["attention"].values * sign for sign in (1, -1)], axis=3))
    several = several.assign_coords(channel=[11, 30]).assign_attrs(reduce="channel")
    with pytest.raises(OutputError, match="'attention' has dims"):
        read_attention(several)
    read = read_attention(several.sel(channel=30))
    assert "of channel 30" in read.what
    np.testing.assert_allclose(read.panels[2].values[4, :], -maps()["attention"].values[2, 4])


def test_the_page_has_a_layer_per_step_of_its_slider_and_tells_pairs_and_values():
    figure = plotly_attention(maps())
    assert [trace.visible for trace in figure.data] == [True, False, False]
    steps = figure.layout.sliders[0].steps
    assert [step.label for step in steps] == ["0", "4", "7"]
    assert steps[1].args[0]["visible"] == [False, True, False]
    np.testing.assert_allclose(figure.data[2].z[4], maps()["attention"].values[2, 4])
    assert figure.data[0].text[3][2] == "&#x27;日本&#x27; reads &#x27; &lt;b&gt;&#x27;"
    assert "mean |attention| %{z:.4g}" in figure.data[0].hovertemplate
    page = attention_html(maps())
    assert "<b>日本" not in re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)


def test_retention_curves_are_what_survives_in_parts_of_the_states_norm():
    figure = retention_figure(retained())
    curves = [line.get_ydata() for line in figure.axes[0].get_lines()]
    np.testing.assert_allclose(curves[0], [1e-6, 0.1, 0.2, 0.4, 0.8])  # the first is at the floor
    np.testing.assert_allclose(curves[1], [0.1, 0.2, 0.3, 0.4, 0.5])
    assert figure.axes[0].get_yscale() == "log"
    page = plotly_retention(retained())
    np.testing.assert_allclose(page.data[1].y, curves[1])
    assert page.data[1].name == "layer 3"
    assert page.data[1].customdata[2][1:] == [1.5, 30.0]
    assert read_retention(retained()).labels[1] == "·$x$"


def test_the_spectrum_counts_each_layers_half_lives_in_bins_of_a_log_axis():
    read = read_spectrum(lives())
    np.testing.assert_allclose(read.shares.sum(1), 1)
    np.testing.assert_allclose(np.diff(np.log10(read.edges)), 1 / 8)
    of_ten = read.shares[0, np.searchsorted(read.edges, 10.0, side="right") - 1]
    of_three = read.shares[1, np.searchsorted(read.edges, 3.0, side="right") - 1]
    assert (of_ten, of_three) == (0.5, 0.75)
    np.testing.assert_allclose(read.medians, [10, 3])
    figure = spectrum_figure(lives())
    mesh = figure.axes[0].collections[0].get_array()
    np.testing.assert_allclose(np.ma.filled(mesh), read.shares)
    assert figure.axes[0].get_xscale() == "log"
    page = plotly_spectrum(lives())
    np.testing.assert_allclose(page.data[0].z, read.shares)
    np.testing.assert_allclose(page.data[1].customdata, [10, 3])


def test_half_lives_of_heads_are_drawn_too_but_those_by_token_are_not():
    heads = lives().isel(state=0, drop=True).rename(channel="head")
    assert read_spectrum(heads).unit == "heads"
    with pytest.raises(OutputError, match="half-lives by token"):
        read_spectrum(heads.expand_dims(position=2))


def test_an_endless_half_life_is_in_no_bin():
    endless = lives()
    endless["half_life"][0, 0, 0] = np.inf
    assert read_spectrum(endless).shares[0].sum() == pytest.approx(0.75)


@pytest.mark.parametrize("read", [read_attention, read_retention, read_spectrum])
def test_a_result_of_something_else_is_refused(read, trace_result):
    with pytest.raises(OutputError, match="this is a result of 'trace', but one of"):
        read(trace_result())


def test_pictures_and_pages_are_whole_files():
    for png in (attention_png(maps()), retention_png(retained()), spectrum_png(lives())):
        assert png.startswith(PNG)
    for page in (attention_html(maps()), retention_html(retained()), spectrum_html(lives())):
        assert page.rstrip().endswith("</html>")
        assert not re.search(r"<(script|link)[^>]+(src|href)=", page)


def test_a_page_can_be_read_as_data_again():
    found = json.loads(plotly_attention(maps()).to_json())
    assert [trace["type"] for trace in found["data"]] == ["heatmap"] * 3
