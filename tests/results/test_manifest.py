"""The manifest as text."""

import math

import pytest

from mambascope.errors import OutputError
from mambascope.results.manifest import from_json, to_json, versions


def test_numbers_that_json_lacks_come_back():
    given = {"format": 1, "a": [float("inf"), {"b": -float("inf")}], "c": float("nan"), "d": 0.1}
    back = from_json(to_json(given))
    assert back["a"] == given["a"]
    assert math.isnan(back["c"])
    assert back["d"] == 0.1


def test_a_manifest_of_a_later_format_is_refused():
    with pytest.raises(OutputError, match="has format 2; this version reads format 1"):
        from_json('{"format": 2}')


def test_versions_name_what_a_number_can_depend_on():
    import numpy
    import torch

    found = versions()
    assert found["numpy"] == numpy.__version__
    assert found["torch"].split("+")[0] == torch.__version__.split("+")[0]
