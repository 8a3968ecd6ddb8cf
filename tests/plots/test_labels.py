"""Tokens and models as labels."""

import pytest

from mambascope.plots.labels import model_label, shortened, token_label


@pytest.mark.parametrize(
    ("token", "label"),
    [
        (" France", "\u00b7France"),
        ("nce", "nce"),
        ("\n", "\\n"),
        ("\t\t", "\\t\\t"),
        ("\x00", "\\x00"),
        ("", "''"),
        ("\u6771", "\u6771"),
        (" counterrevolutionaries", "\u00b7counter\u2026naries"),
    ],
)
def test_a_token_is_shown_so_that_it_can_be_read(token: str, label: str):
    shown = token_label(token)
    assert shown == label or (len(shown) == 18 and "\u2026" in shown)
    assert shown.isprintable()


def test_a_long_text_keeps_its_beginning_and_its_end():
    assert shortened("abcdefghij", 5) == "ab\u2026ij"
    assert shortened("abcde", 5) == "abcde"
    assert len(shortened("x" * 99, 18)) == 18


@pytest.mark.parametrize(
    ("model", "label"),
    [
        ("atlas-mamba1", "atlas-mamba1"),
        ("state-spaces/mamba-130m-hf", "state-spaces/mamba-130m-hf"),
        ("/models/mine", "mine"),
        ("../models/mine/", "mine"),
        ("./mine", "mine"),
        ("runs/a/mine.gguf", "mine.gguf"),
        ("/", "/"),
    ],
)
def test_a_model_that_was_given_by_a_path_is_called_by_its_last_part(model: str, label: str):
    assert model_label(model) == label


def test_a_long_name_of_a_model_keeps_both_ends():
    assert model_label("x" * 99).count("x") == 47
