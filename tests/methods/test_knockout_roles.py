"""Roles, positions and random controls on prompts whose answers are counted by hand."""

import numpy as np
import pytest

from mambascope.errors import ConfigError, PromptError
from mambascope.interventions.prompt import SubjectPrompt
from mambascope.methods.knockout.roles import ROLES, check_role, positions_of, sources_of


def prompt(length, start, stop, first_id=0):
    ids = [*range(first_id, first_id + length)]
    return SubjectPrompt(ids, [str(i) for i in ids], start, stop)


MIDDLE = {
    "first": [0],
    "last": [6],
    "subject": [2, 3, 4],
    "subject_first": [2],
    "subject_last": [4],
    "context": [0, 1],
    "after": [5, 6],
    "relation": [0, 1, 5, 6],
    "relation_minus_last": [0, 1, 5],
    "all": [0, 1, 2, 3, 4, 5, 6],
}


@pytest.mark.parametrize("role", ROLES)
def test_roles_of_a_subject_in_the_middle(role):
    assert positions_of(role, prompt(7, 2, 5)) == MIDDLE[role]


def test_roles_of_a_subject_at_the_beginning():
    asked = prompt(4, 0, 1)
    assert positions_of("subject_first", asked) == positions_of("subject_last", asked) == [0]
    assert positions_of("relation", asked) == [1, 2, 3]
    assert positions_of("after", asked) == [1, 2, 3]
    with pytest.raises(
        PromptError, match="no token of the prompt is 'context'; the subject is its"
    ):
        positions_of("context", asked)


def test_roles_of_a_subject_at_the_end():
    asked = prompt(4, 2, 4)
    assert positions_of("last", asked) == positions_of("subject_last", asked) == [3]
    assert positions_of("relation_minus_last", asked) == positions_of("relation", asked) == [0, 1]
    with pytest.raises(PromptError, match="is 'after'; the subject is its end"):
        positions_of("after", asked)


def test_a_prompt_that_is_all_subject_has_no_relation():
    for role in ("relation", "relation_minus_last"):
        with pytest.raises(PromptError, match=f"is '{role}'; the subject is all"):
            positions_of(role, prompt(3, 0, 3))


def test_positions_are_counted_from_either_end_and_each_once():
    assert positions_of("3", prompt(7, 2, 5)) == [3]
    assert positions_of(" -1, 0 ,6,3", prompt(7, 2, 5)) == [0, 3, 6]
    for wrong in ("7", "0,-8"):
        with pytest.raises(PromptError, match="the prompt has positions 0 to 6"):
            positions_of(wrong, prompt(7, 2, 5))


def test_a_source_behind_every_target_is_an_error_and_one_behind_some_is_none():
    asked = prompt(7, 2, 5)
    assert sources_of("after", asked, [1, 5], 0) == [5, 6]
    with pytest.raises(PromptError, match="begins at position 5, and the last target is at 4"):
        sources_of("after", asked, [4], 0)
    assert sources_of("last", asked, [6], 0) == [6]
    with pytest.raises(PromptError, match="no target reads source 'last'"):
        sources_of("last", asked, [6], 0, itself=False)


def test_a_random_control_has_as_many_positions_none_of_them_the_roles_or_a_targets():
    drawn = [sources_of("random:subject", prompt(12, 2, 5, i), [11], 0) for i in range(200)]
    assert all(len(set(places)) == 3 and places == sorted(places) for places in drawn)
    counts = np.bincount(np.concatenate(drawn), minlength=12)
    assert (counts[[2, 3, 4, 11]] == 0).all()
    allowed = counts[[0, 1, 5, 6, 7, 8, 9, 10]]
    assert (np.abs(allowed - 75) < 4 * np.sqrt(75 * 5 / 8)).all(), counts  # 200 * 3 / 8 each


def test_a_random_control_follows_from_seed_role_and_prompt():
    asked = prompt(30, 2, 5)
    first = sources_of("random:subject", asked, [29], 0)
    assert sources_of("random:subject", asked, [29], 0) == first
    others = [
        sources_of("random:subject", asked, [29], 1),
        sources_of("random:subject", prompt(30, 2, 5, 100), [29], 0),
        sources_of("random:relation_minus_last", prompt(30, 3, 27), [29], 0),
    ]
    assert all(other != first for other in others)


def test_a_random_control_that_does_not_fit_is_an_error():
    with pytest.raises(PromptError, match="needs 3 positions beside the role and the target, but"):
        sources_of("random:subject", prompt(6, 0, 3), [5], 0)
    with pytest.raises(PromptError, match="is 'context'"):
        sources_of("random:context", prompt(6, 0, 3), [5], 0)


def test_only_positions_that_a_target_can_read_are_drawn():
    for number in range(50):
        drawn = sources_of("random:subject", prompt(20, 0, 2, number), [6], 0)
        assert max(drawn) < 6


@pytest.mark.parametrize("name", ["", "Subject", "1-3", "1,", "random:", "random:each", "3 4"])
def test_what_names_no_positions_is_an_error(name):
    with pytest.raises(ConfigError, match="unknown source"):
        check_role(name, "source", several=True)
