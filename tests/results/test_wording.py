"""What was done, in words."""

import json

import pytest

from mambascope.results.wording import cut_in_words

PLAIN = {
    "target": "last",
    "route": "scan",
    "mode": "zero",
    "features": "all",
    "window": 3,
    "model": "m",
}


@pytest.mark.parametrize(
    ("attrs", "words"),
    [
        ({}, "windows of 3 layers, in m"),
        ({"window": 1, "config": {"align": "centred"}}, "route scan, single layers, in m"),
        ({"config": {"align": "left", "mean_of": None}}, "scan, windows of 3 layers, in m"),
        ({"config": {"align": "centred", "mean_of": None}}, "scan, centred windows of 3 layers, in m"),
        ({"mode": "mean", "config": {"align": "left", "mean_of": "conv_in"}}, "mode mean, mean of conv_in, windows"),
    ],
)  # fmt: skip
def test_a_cut_says_all_in_which_it_differs_from_the_plain_one(attrs, words):
    told = {**PLAIN, **attrs}
    if "config" in told:
        told["config"] = json.dumps(told["config"])
    assert words in cut_in_words(told)
