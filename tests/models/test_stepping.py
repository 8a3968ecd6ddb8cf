"""One token at a time by the short way, against the long way, whole passes and float64."""

import copy

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

PROMPTS = [[3, 1, 4, 1, 5], [9, 2, 6], [5, 3, 5, 8, 9, 7, 9], [2, 7]]
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


@pytest.fixture
def steps(monkeypatch) -> list[tuple[int, int]]:
    """The rows of each step that goes the short way, and where its state lies."""
    seen: list[tuple[int, int]] = []

    def counted(step):
        return lambda x, *rest: seen.append((len(x), rest[-1].data_ptr())) or step(x, *rest)

    def through(step):
        def call(x, weights, memories, sizes):
            seen.extend((len(x), int(state)) for _, state in memories)
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
    assert [rows for rows, _ in steps] == [len(PROMPTS)] * 6 * model.config.n_layers


def test_what_is_remembered_is_what_a_whole_pass_leaves(model):
    run = carried(model)
    again = model.run([[7]] * len(PROMPTS), carry=run.carry, keep_carry=True)
    whole = model.run([[*row, 7] for row in PROMPTS], keep_carry=True)
    for got, wanted in zip(again.carry.layers, whole.carry.layers, strict=True):
        torch.testing.assert_close(got.conv, wanted.conv, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(got.state, wanted.state, atol=1e-5, rtol=1e-4)


def test_decoding_gives_the_tokens_of_whole_passes(model, steps):
    wanted = long_way(model, PROMPTS, 8)
    assert model.generate(PROMPTS, max_new_tokens=8) == wanted
    assert len(steps) == 7 * model.config.n_layers


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
    assert {rows for rows, _ in steps} == {4, 3}


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
    places = [place for _, place in steps]
    assert places == places[: model.config.n_layers] * 5


def test_the_last_use_of_a_carry_is_in_its_own_memory(model, steps):
    run = carried(model)
    places = [carry.state.data_ptr() for carry in run.carry.layers]
    wanted = decode(model, run, 6)
    steps.clear()
    assert decode(model, run, 6, last_use=True) == wanted
    assert [place for _, place in steps] == places * 5


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


def test_half_precision_goes_the_long_way(model, steps):
    copy.deepcopy(model).to(torch.bfloat16).generate(PROMPTS, max_new_tokens=3)
    assert steps == []
