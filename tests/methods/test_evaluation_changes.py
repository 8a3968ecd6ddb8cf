"""Edits and cuts written in JSON are those of Python."""

import json

import pytest
import torch

from mambascope.errors import DataError
from mambascope.methods.evaluation.changes import WrittenEdit, read_changes


def test_written_edits_and_cuts_are_those_of_python(tmp_path):
    cut = {"sources": [0, 1], "targets": -1, "route": "conv", "layers": 2}
    edit = {
        "site": "u",
        "op": "add",
        "layers": [1],
        "positions": -1,
        "units": [0, 3],
        "value": [1.0, 2.0],
    }
    (tmp_path / "e.json").write_text(json.dumps({"edits": [edit], "cuts": [cut]}))
    (made,), (removed,) = read_changes(tmp_path / "e.json").made()
    assert (made.site, made.op, tuple(made.layers), made.positions, made.units) == (
        "u",
        "add",
        (1,),
        -1,
        [0, 3],
    )
    assert torch.equal(made.value, torch.tensor([1.0, 2.0], dtype=torch.float64))
    assert (tuple(removed.sources), removed.targets, removed.route, removed.layers) == (
        (0, 1),
        -1,
        "conv",
        2,
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "holds no edits"),
        ("[]", "holds no edits"),
        ("{}", 'names no edits and no cuts; such a file is {"edits"'),
        ('{"edits": [{"sit": "u"}]}', "edits.0.site"),
        ('{"edits": [{"site": "u", "rows": [0]}]}', "rows"),
        ('{"edits": [{"site": "u", "op": "apply"}]}', "op"),
        ('{"edits": [{"site": "u", "value": "big"}]}', "value"),
    ],
)
def test_a_file_of_edits_that_holds_none_is_refused_in_a_sentence(tmp_path, text, said):
    (tmp_path / "e.json").write_text(text)
    with pytest.raises(DataError, match=said):
        read_changes(tmp_path / "e.json")
    with pytest.raises(DataError, match="cannot read the edits"):
        read_changes(tmp_path / "no.json")


def test_uneven_values_are_refused():
    with pytest.raises(DataError, match="even lists"):
        WrittenEdit(site="u", value=[[1.0], [1.0, 2.0]]).made()
