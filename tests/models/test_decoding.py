"""Decoding and scoring behind prompts, against whole forward passes without a carry, in float64."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch

import mambascope as ms
from mambascope.errors import PromptError, SiteError
from mambascope.models.decoding import continuation_logprobs, decode
from tests.models.checkpoints.small import reference

PROMPTS = [[3, 1, 4, 1, 5], [9, 2, 6], [5, 3, 5, 8, 9, 7, 9]]
EVERY = ms.Edit(site="mixer_out", op="scale", layers=[0], value=-1.5)
IN_PROMPT = ms.Edit(site="resid_pre", op="zero", layers=[1], positions=[1])


@pytest.fixture(scope="module", params=["mamba", "mamba2", "gpt2", "llama"])
def model(request: pytest.FixtureRequest) -> ms.LanguageModel:
    return ms.load(reference(request.param)).double()


def slowly(
    model: ms.LanguageModel, row: list[int], count: int, edits: Sequence[ms.Edit]
) -> list[int]:
    """Token by token, each from a whole pass over everything before it."""
    made: list[int] = []
    for _ in range(count):
        logits = model.run([row + made], edits=edits, logits="last").logits
        token = int(logits[0].argmax())
        if token in model.config.eos_ids:
            break
        made.append(token)
    return made


@pytest.mark.parametrize(
    "edits", [(), (EVERY,), (IN_PROMPT,), (IN_PROMPT, EVERY)], ids=lambda e: str(len(e))
)
def test_decoding_equals_whole_passes_under_the_same_edits(model, edits):
    wanted = [slowly(model, row, 6, edits) for row in PROMPTS]
    assert model.generate(PROMPTS, max_new_tokens=6, edits=edits) == wanted


def test_an_edit_of_every_position_changes_what_is_decoded_and_one_in_the_prompt_alone_does_less(
    model,
):
    """Otherwise the comparison above would hold for a decoder that forgets its edits."""
    prompt = [PROMPTS[0]]
    run = model.run(prompt, edits=[EVERY], logits="last", keep_carry=True)
    forgotten = decode(model, run, 6, edits=[])
    lasting = decode(model, run, 6, edits=[EVERY])
    assert lasting == model.generate(prompt, max_new_tokens=6, edits=[EVERY])
    scores = [
        continuation_logprobs(model, run, [(0, lasting[0])], edits=edits)[0][0].sum()
        for edits in ([], [EVERY])
    ]
    assert forgotten != lasting or abs(scores[0] - scores[1]) > 1e-6


def test_rows_keep_their_own_edits_while_others_end(model):
    """Prompt 0 ends first; the edits of the others must not move to other rows."""
    edit = ms.Edit(site="mixer_out", op="scale", layers=[0], rows=[2], value=-1.5)
    plain = [slowly(model, row, 5, ()) for row in PROMPTS[:2]]
    edited = slowly(model, PROMPTS[2], 5, (EVERY,))

    def ended(made: list[int]) -> bool:
        return made == plain[0][:2]

    found = model.generate(PROMPTS, max_new_tokens=5, edits=[edit], ended=ended)
    assert found[0] == plain[0][:2]
    assert found[2] == edited


def test_a_cut_acts_in_the_prompt_and_later_tokens_read_everything(model):
    route = "attention" if "pattern" in model.sites else "scan"
    cut = ms.Cut(sources=[0], targets=-1, route=route)
    row = PROMPTS[0]
    made = list(model.generate([row], max_new_tokens=4, cuts=[cut])[0])
    again: list[int] = []
    for _ in range(4):
        target = ms.Cut(sources=[0], targets=[len(row) - 1], route=route)
        again.append(int(model.run([row + again], cuts=[target], logits="last").logits[0].argmax()))
    assert made == again


@pytest.mark.parametrize("edits", [(), (EVERY,), (IN_PROMPT,)], ids=lambda e: str(len(e)))
def test_log_probabilities_equal_those_of_whole_passes(model, edits):
    asked = [(0, [2, 7, 1]), (0, [8]), (2, [2, 8]), (1, [1, 8, 2, 8])]
    run = model.run(PROMPTS, edits=edits, logits="last", keep_carry=True)
    for (row, ids), (found, on_top) in zip(
        asked, continuation_logprobs(model, run, asked, edits=edits), strict=True
    ):
        logits = model.run([PROMPTS[row] + ids], edits=edits).logits[0].log_softmax(-1)
        before = range(len(PROMPTS[row]) - 1, len(PROMPTS[row]) + len(ids) - 1)
        wanted = [float(logits[t, i]) for t, i in zip(before, ids, strict=True)]
        np.testing.assert_allclose(found, wanted, atol=1e-9)
        assert on_top == all(int(logits[t].argmax()) == i for t, i in zip(before, ids, strict=True))


def test_scores_do_not_depend_on_how_many_are_taken_at_once(model, monkeypatch):
    asked = [(0, [2, 7, 1]), (2, [2, 8]), (1, [1, 8, 2, 8]), (1, [4])]
    run = model.run(PROMPTS, logits="last", keep_carry=True)
    together = continuation_logprobs(model, run, asked)
    monkeypatch.setattr("mambascope.models.decoding.LOGITS_AT_ONCE", 1)
    for (one, top), (other, top_too) in zip(
        together, continuation_logprobs(model, run, asked), strict=True
    ):
        np.testing.assert_allclose(one, other, atol=1e-12)
        assert top == top_too


def test_a_value_for_each_position_cannot_go_on(model):
    value = torch.zeros(1, 5, model.config.d_model)
    edit = ms.Edit(site="resid_pre", layers=[0], value=value)
    with pytest.raises(SiteError, match="give its positions"):
        model.generate([PROMPTS[0]], edits=[edit])


def test_a_value_with_rows_makes_as_many_continuations(model):
    value = torch.stack(
        [torch.zeros(1, model.config.d_model), torch.full((1, model.config.d_model), 3.0)]
    )
    edit = ms.Edit(site="mixer_out", layers=[0], value=value.double())
    wanted = [
        slowly(model, PROMPTS[0], 4, [ms.Edit(site="mixer_out", layers=[0], value=row.double())])
        for row in value[:, 0]
    ]
    assert model.generate([PROMPTS[0]], max_new_tokens=4, edits=[edit]) == wanted


def test_decoding_past_learned_positions_is_refused():
    model = ms.load(reference("gpt2"))
    row = [1] * (len(model.position_embedding) - 1)
    with pytest.raises(PromptError, match="positions"):
        model.generate([row], max_new_tokens=4)
