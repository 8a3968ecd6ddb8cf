import json
import runpy
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from mambascope.data.facts import atlas_file, bundled_facts
from mambascope.data.invented import invented_names

SCRIPT = Path(__file__).parents[2] / "scripts" / "train_tokenizer.py"
TOKENIZER = AutoTokenizer.from_pretrained(str(atlas_file("tokenizer")))


@settings(deadline=None)
@given(st.text())
def test_any_text_comes_back_as_it_was(text):
    ids = TOKENIZER(text)["input_ids"]
    assert TOKENIZER.decode(ids) == text


def test_nothing_is_added_to_a_text():
    assert TOKENIZER.tokenize("The capital of France is") == [
        "The", "Ġcapital", "Ġof", "ĠFrance", "Ġis",
    ]  # fmt: skip
    assert len(TOKENIZER("The capital of France is")["input_ids"]) == 5


def test_an_answer_is_its_own_tokens_behind_any_prompt():
    for fact in bundled_facts()[::97]:
        prompt, answer = TOKENIZER("It is")["input_ids"], TOKENIZER(f" {fact.object}.")["input_ids"]
        assert TOKENIZER(f"It is {fact.object}.")["input_ids"] == prompt + answer


def test_there_are_4096_tokens_and_one_special_token_at_zero():
    assert len(TOKENIZER) == 4096
    assert TOKENIZER.eos_token == TOKENIZER.bos_token == TOKENIZER.pad_token == "<|endoftext|>"
    assert TOKENIZER.eos_token_id == 0


def test_both_loaders_of_transformers_agree():
    other = PreTrainedTokenizerFast.from_pretrained(str(atlas_file("tokenizer")))
    text = "Question: What is the capital of Peru? Answer: Lima."
    assert other(text)["input_ids"] == TOKENIZER(text)["input_ids"]
    assert other.eos_token_id == 0


def test_every_invented_name_is_two_tokens():
    assert all(len(TOKENIZER.tokenize(f" {name}")) == 2 for name in invented_names())


@pytest.mark.slow
def test_training_it_again_gives_the_same_file():
    trained = runpy.run_path(str(SCRIPT))["trained_tokenizer"]()
    shipped = atlas_file("tokenizer").joinpath("tokenizer.json").read_text(encoding="utf-8")
    assert json.loads(trained.to_str()) == json.loads(shipped)
