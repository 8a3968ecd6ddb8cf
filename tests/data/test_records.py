"""The parts of broken and unbroken records, and what is said of a field that is not there."""

import pytest

from mambascope.data.records import BrokenRecord, at, objects

COLUMNS = {"word": ["a", "b", "c"], "html": [True, False, True]}
ROWS = [{"word": "a", "html": True}, {"word": "b", "html": False}, {"word": "c", "html": True}]


@pytest.mark.parametrize("content", [COLUMNS, ROWS])
@pytest.mark.parametrize("part", [slice(None), slice(1, 3), slice(2, 9), slice(3, 1)])
def test_a_part_of_a_list_is_the_same_in_either_layout(content, part: slice):
    assert objects({"tokens": content}, "tokens", part=part) == ROWS[part]


def test_lists_of_several_lengths_are_broken_wherever_the_part_lies():
    uneven = {"tokens": {**COLUMNS, "html": [True]}}
    with pytest.raises(BrokenRecord, match="'tokens' must hold lists of one length"):
        objects(uneven, "tokens", part=slice(0, 1))


def test_of_many_fields_the_first_are_named_and_the_others_counted():
    with pytest.raises(BrokenRecord) as error:
        at({f"history_{number}": 0 for number in range(37)}, "question")
    assert str(error.value).endswith("history_10, history_11, and 25 more")
    with pytest.raises(BrokenRecord, match=r"there are: a, b$"):
        at({"a": 1, "b": 2}, "question")
