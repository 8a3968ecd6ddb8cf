"""Subjects are found in real prompts, with the tokenizer of the released Mamba checkpoints."""

import json
from pathlib import Path

import pytest
from transformers import PreTrainedTokenizerFast

from mambascope.interventions.prompt import read_prompt
from mambascope.models.config import Mamba1Config
from mambascope.models.language_model import LanguageModel
from mambascope.results.schema import ROLES


@pytest.mark.real_data
def test_every_subject_of_romes_known_facts_is_found_where_it_stands(real_data: Path):
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_file=str(real_data / "tokenizers" / "gpt-neox-20b.json")
    )
    sizes = {"n_layers": 1, "d_model": 8, "d_inner": 16, "dt_rank": 1}
    model = LanguageModel(Mamba1Config(vocab_size=50280, **sizes), tokenizer)
    facts = json.loads((real_data / "facts" / "known_1000_part.json").read_text())
    assert len(facts) >= 500
    for fact in facts:
        asked = read_prompt(model, fact["prompt"], fact["subject"])
        found = tokenizer.decode(asked.ids[asked.start : asked.stop])
        assert fact["subject"] in found
        # Nothing but the subject: the token that holds its first or last letter may hold a little more.
        assert len(found.strip()) <= len(fact["subject"]) + 3, fact
        inner = tokenizer.decode(asked.ids[asked.start + 1 : asked.stop - 1])
        assert inner.strip() in fact["subject"]
        assert set(asked.roles) <= set(ROLES)
        assert asked.roles[asked.stop - 1] == "subject_last"
