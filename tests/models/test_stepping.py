"""One token at a time by the short way, against the long way, whole passes and float64."""

import copy
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest
import torch
from transformers import (
    FalconMambaConfig,
    FalconMambaForCausalLM,
    Mamba2Config,
    Mamba2ForCausalLM,
    MambaConfig,
    MambaForCausalLM,
)

import mambascope as ms
from mambascope.models.decoding import decode
from mambascope.models.kernels import layers_step_numba, step_numba
from mambascope.models.protocol import KeyValueCarry

PROMPTS = [[3, 1, 4, 1, 5], [9, 2, 6], [5, 3, 5, 8, 9, 7, 9], [2, 7]]
EMBED = ms.Edit(site="embed", op="scale", value=-0.7)
EDIT = ms.Edit(site="mixer_out", op="scale", layers=[0], value=-1.5)
SIZES = dict(
    eos_token_id=None, tie_word_embeddings=False, vocab_size=64, num_hidden_layers=3, hidden_size=32
)
HEADS = dict(num_heads=4, head_dim=16, state_size=16, expand=2)


def mamba1():
    return MambaForCausalLM(MambaConfig(state_size=16, **SIZES))


def falcon():
    return FalconMambaForCausalLM(FalconMambaConfig(state_size=32, **SIZES))


def mamba2():
    return Mamba2ForCausalLM(Mamba2Config(n_groups=1, **HEADS, **SIZES))


def grouped():
    return Mamba2ForCausalLM(Mamba2Config(n_groups=2, **HEADS, **SIZES))


@pytest.fixture(scope="module", params=[mamba1, falcon, mamba2, grouped])
def model(request: pytest.FixtureRequest) -> ms.LanguageModel:
    torch.manual_seed(1)
    made = ms.load(request.param().eval())
    with torch.no_grad():
        for name, weight in made.named_parameters():
            if "A_log" not in name and "norm" not in name:
                weight.add_(torch.randn_like(weight) * 0.3)
    return made


@pytest.fixture(autouse=True, params=["numba", "mkl"])
def products(request: pytest.FixtureRequest, monkeypatch) -> str:
    """With our products for few rows a Mamba-1 is one call, without them its mixers have a kernel between their projections."""
    monkeypatch.setenv("MAMBASCOPE_LINEAR", request.param)
    return request.param


class Step(NamedTuple):
    """One layer's step by the short way: its rows, where its state lies, and whether one call went through all layers."""

    rows: int
    state: int
    through: bool


@pytest.fixture
def steps(monkeypatch) -> list[Step]:
    """The steps that go the short way."""
    seen: list[Step] = []

    def counted(step):
        def call(x, *rest):
            seen.append(Step(len(x), rest[-1].data_ptr(), False))
            return step(x, *rest)

        return call

    def through(step):
        def call(x, weights, memories, sizes):
            seen.extend(Step(len(x), int(state), True) for _, state in memories)
            return step(x, weights, memories, sizes)

        return call

    for name in ("selective_step", "ssd_step"):
        monkeypatch.setattr(step_numba, name, counted(getattr(step_numba, name)))
    monkeypatch.setattr(layers_step_numba, "layers_step", through(layers_step_numba.layers_step))
    return seen


@pytest.fixture(autouse=True)
def without_gradients():
    with torch.no_grad():
        yield


def carried(model):
    return model.run(PROMPTS, logits="last", keep_carry=True)


def long_way(model, rows, count, edits=()):
    """Token by token, each from a whole pass over everything before it."""
    made: list[list[int]] = [[] for _ in rows]
    for _ in range(count):
        behind = [[*row, *new] for row, new in zip(rows, made, strict=True)]
        top = model.run(behind, edits=edits, logits="last").logits.argmax(-1).tolist()
        for new, token in zip(made, top, strict=True):
            new.append(token)
    return made


def test_each_token_gives_the_logits_of_a_whole_pass(model, steps):
    run, further = carried(model), np.random.default_rng(0).integers(0, 64, (len(PROMPTS), 6))
    rows = [list(prompt) for prompt in PROMPTS]
    for tokens in further.T:
        rows = [[*row, int(token)] for row, token in zip(rows, tokens, strict=True)]
        run = model.run(tokens[:, None].tolist(), carry=run.carry, logits="last", keep_carry=True)
        whole = model.run(rows, logits="last").logits
        torch.testing.assert_close(run.logits, whole, atol=2e-4, rtol=1e-3)
    assert [step.rows for step in steps] == [len(PROMPTS)] * 6 * model.config.n_layers


def test_what_is_remembered_is_what_a_whole_pass_leaves(model):
    run = carried(model)
    again = model.run([[7]] * len(PROMPTS), carry=run.carry, keep_carry=True)
    whole = model.run([[*row, 7] for row in PROMPTS], keep_carry=True)
    for got, wanted in zip(again.carry.layers, whole.carry.layers, strict=True):
        torch.testing.assert_close(got.conv, wanted.conv, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(got.state, wanted.state, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("edits", [[], [EMBED]])
def test_decoding_gives_the_tokens_of_whole_passes(model, steps, products, edits):
    wanted = long_way(model, PROMPTS, 8, edits)
    assert model.generate(PROMPTS, max_new_tokens=8, edits=edits) == wanted
    assert len(steps) == 7 * model.config.n_layers
    one_call = model.config.architecture == "mamba1" and products == "numba"
    assert {step.through for step in steps} == {one_call}


def test_one_call_takes_sixteen_rows_and_no_more(model, steps, products):
    rows = [[3 + i, 1, 4] for i in range(17)]
    wanted = long_way(model, rows, 4)
    ends = wanted[5][:2]
    assert sum(made[:2] == ends for made in wanted) == 1
    wanted[5] = ends
    assert model.generate(rows, max_new_tokens=4, ended=lambda made: made == ends) == wanted
    assert {step.rows for step in steps} == {17, 16}
    one_call = model.config.architecture == "mamba1" and products == "numba"
    assert all(step.through == (one_call and step.rows == 16) for step in steps)


def test_an_edited_layer_goes_the_long_way_and_the_others_the_short_one(model, steps):
    wanted = long_way(model, PROMPTS, 8, [EDIT])
    assert wanted != long_way(model, PROMPTS, 8)
    assert model.generate(PROMPTS, max_new_tokens=8, edits=[EDIT]) == wanted
    assert len(steps) == 7 * (model.config.n_layers - 1)


def test_rows_that_end_leave_the_others_as_they_are(model, steps):
    wanted = long_way(model, PROMPTS, 8)

    def ended(made: list[int]) -> bool:
        return made == wanted[1][: len(made)] and len(made) == 3

    found = model.generate(PROMPTS, max_new_tokens=8, ended=ended)
    assert found == [wanted[0], wanted[1][:3], *wanted[2:]]
    assert {step.rows for step in steps} == {4, 3}


def test_a_carry_that_is_kept_is_not_written_into(model):
    run = carried(model)
    before = [(c.conv.clone(), c.state.clone()) for c in run.carry.layers]
    first, second = decode(model, run, 5), decode(model, run, 5)
    assert first == second
    model.run([[7]] * len(PROMPTS), carry=run.carry, keep_carry=True)
    for carry, (conv, state) in zip(run.carry.layers, before, strict=True):
        assert torch.equal(carry.conv, conv)
        assert torch.equal(carry.state, state)


def test_decoding_stays_in_the_memory_of_its_first_step(model, steps):
    decode(model, carried(model), 6)
    places = [step.state for step in steps]
    assert places == places[: model.config.n_layers] * 5


def test_the_last_use_of_a_carry_is_in_its_own_memory(model, steps):
    run = carried(model)
    places = [carry.state.data_ptr() for carry in run.carry.layers]
    wanted = decode(model, run, 6)
    steps.clear()
    assert decode(model, run, 6, last_use=True) == wanted
    assert [step.state for step in steps] == places * 5


def test_a_weight_that_changes_or_moves_is_seen(model):
    changed = copy.deepcopy(model)
    before = changed.generate(PROMPTS, max_new_tokens=8)
    for block in changed.blocks:
        block.mixer.out_proj.weight.mul_(-1)
    flipped = long_way(changed, PROMPTS, 8)
    assert changed.generate(PROMPTS, max_new_tokens=8) == flipped != before
    for block in changed.blocks:
        block.mixer.out_proj.weight = torch.nn.Parameter(-block.mixer.out_proj.weight)
    assert changed.generate(PROMPTS, max_new_tokens=8) == before
    assert model.generate(PROMPTS, max_new_tokens=8) == before
    out_proj = changed.blocks[0].mixer.out_proj
    out_proj.bias = torch.nn.Parameter(torch.randn(len(out_proj.weight)) * 3)
    biased = long_way(changed, PROMPTS, 8)
    assert changed.generate(PROMPTS, max_new_tokens=8) == biased != before


def test_the_carry_of_another_model_is_refused(model):
    one_token = [[7]] * len(PROMPTS)
    smaller = copy.deepcopy(model)
    del smaller.blocks[-1]
    smaller.config = model.config.model_copy(update={"n_layers": 2})
    run = smaller.run(PROMPTS, keep_carry=True)
    with pytest.raises(ms.PromptError, match="2 layers, and this"):
        model.run(one_token, carry=run.carry)
    carry = carried(model).carry
    layer = carry.layers[1]
    carry.layers[1] = replace(layer, state=layer.state[:, :-1])
    with pytest.raises(ms.PromptError, match="another model"):
        model.run(one_token, carry=carry)
    keys = KeyValueCarry(torch.ones(4, 1, 8), torch.ones(4, 1, 8), np.arange(4), np.ones(4, int))
    carry.layers[1] = keys
    with pytest.raises(ms.PromptError, match="another model"):
        model.run(one_token, carry=carry)


def test_half_precision_goes_the_long_way(model, steps):
    copy.deepcopy(model).to(torch.bfloat16).generate(PROMPTS, max_new_tokens=3)
    assert steps == []
