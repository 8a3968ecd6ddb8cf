"""Attention over segments: many that share a slot, start anywhere in it, or start from nothing, in one packed batch."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mambascope.models.attention import attend, attention_pattern, remember, weigh_values
from mambascope.models.config import TransformerConfig
from mambascope.models.protocol import KeyValueCarry
from mambascope.models.transformer import TransformerBlock
from mambascope.sites import LayerTap, Segments

WIDTH = 12
CONFIG = TransformerConfig(
    n_layers=1, d_model=WIDTH, vocab_size=5, n_heads=4, n_kv_heads=2, head_dim=4, d_mlp=8,
    norm="rms", activation="silu", positions="rotary", rotary_dim=4, gated_mlp=True,
)  # fmt: skip


def make_block(config=CONFIG):
    torch.manual_seed(0)
    block = TransformerBlock(config).double()
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.normal_(std=0.7)
    return block


BLOCK = make_block()


def tokens(*lengths, seed=0):
    random = torch.Generator().manual_seed(seed)
    return torch.randn(sum(lengths), WIDTH, generator=random, dtype=torch.float64)


def run(resid, segments, carry=None, block=BLOCK):
    return block(resid, segments, carry, LayerTap(None))


def alone(resid, block=BLOCK):
    """One prompt from nothing."""
    return run(resid, Segments.of([len(resid)]), block=block)[0]


@st.composite
def replays(draw):
    """Lengths of base prompts, and (prompt, start, length, tokens more in the slot than the start; None: no slot)."""
    lengths = draw(st.lists(st.integers(1, 8), min_size=1, max_size=3))
    segments = []
    for _ in range(draw(st.integers(1, 6))):
        row = draw(st.integers(0, len(lengths) - 1))
        start = draw(st.integers(0, lengths[row]))
        surplus = draw(st.integers(0, lengths[row] - start)) if start else None
        segments.append((row, start, draw(st.integers(1, 5)), surplus))
    return lengths, segments


@torch.no_grad()
@settings(max_examples=40, deadline=None)
@given(replays())
def test_segments_that_start_anywhere_in_shared_slots_equal_whole_prompts(case):
    lengths, chosen = case
    base = tokens(*lengths)
    whole = Segments.of(lengths, keep="all")
    _, carry = run(base, whole)
    rows, starts, sizes, _ = zip(*chosen, strict=True)
    slots = [
        -1 if more is None else int(whole.offsets[row]) + start + more - 1
        for row, start, _, more in chosen
    ]
    fresh = tokens(*sizes, seed=1)
    segments = Segments.of(sizes, rows=rows, starts=starts, slots=slots, keep="all")
    out, after = run(fresh, segments, carry)
    more = tokens(*[1] * segments.tokens, seed=2)
    steps = Segments.of(
        [1] * segments.tokens, starts=segments.positions + 1, slots=np.arange(segments.tokens)
    )
    next_out, _ = run(more, steps, after)
    for number, (row, start, size, _) in enumerate(chosen):
        first = whole.offsets[row]
        own = slice(*segments.offsets[number : number + 2])
        prompt = torch.cat([base[first : first + start], fresh[own]])
        assert torch.allclose(out[own], alone(prompt)[start:], rtol=0, atol=1e-11)
        for t in range(size):
            longer = torch.cat([prompt[: start + t + 1], more[own][t : t + 1]])
            assert torch.allclose(next_out[own][t], alone(longer)[-1], rtol=0, atol=1e-11)


@torch.no_grad()
def test_slots_of_one_prompt_share_their_rows():
    _, carry = run(tokens(5, 3), Segments.of([5, 3], keep="all"))
    assert len(carry.keys) == len(carry.values) == 8
    assert carry.offsets.tolist() == [0] * 5 + [5] * 3
    assert carry.lengths.tolist() == [1, 2, 3, 4, 5, 1, 2, 3]


@torch.no_grad()
def test_no_carry_is_returned_unless_asked():
    assert run(tokens(5), Segments.of([5]))[1] is None


@torch.no_grad()
def test_what_a_slot_holds_past_the_start_is_not_seen():
    base = tokens(9)
    _, carry = run(base, Segments.of([9], keep="last"))
    spoilt = KeyValueCarry(carry.keys.clone(), carry.values.clone(), carry.offsets, carry.lengths)
    spoilt.keys[4:], spoilt.values[4:] = torch.nan, torch.nan
    segments = Segments.of([3, 1], rows=[0, 0], starts=[4, 2], slots=[0, 0])
    out, _ = run(tokens(3, 1, seed=1), segments, spoilt)
    assert out.isfinite().all()
    assert torch.equal(out, run(tokens(3, 1, seed=1), segments, carry)[0])


SHAPES = {
    "one rectangle": Segments.of([6, 6, 6]),
    "unequal": Segments.of([1, 9, 4, 30, 31, 2]),
    "decoding, equal": Segments.of([1, 1, 1], starts=[7, 7, 7], slots=[0, 1, 0]),
    "decoding, unequal": Segments.of([1, 1, 1], starts=[7, 2, 4], slots=[0, 1, 0]),
    "suffixes of one prompt": Segments.of([6, 5, 4, 1], starts=[1, 2, 3, 6], slots=[0] * 4),
    "some from nothing": Segments.of([6, 5, 4, 1], starts=[1, 0, 3, 0], slots=[1, -1, 0, -1]),
}


@pytest.mark.parametrize("segments", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_fused_attention_is_the_pattern_times_the_values(segments, dtype):
    torch.manual_seed(0)
    slots = KeyValueCarry(
        *torch.randn(2, 16, 2, 4, dtype=dtype), offsets=np.array([0, 8]), lengths=np.array([8, 8])
    )
    q = torch.randn(segments.tokens, 4, 4, dtype=dtype)
    memory = remember(slots, *torch.randn(2, segments.tokens, 2, 4, dtype=dtype), segments)
    pattern = attention_pattern(q, memory, segments)
    bound = 1e-14 if dtype == torch.float64 else 2e-6
    fused = attend(q, memory, segments)
    assert fused.dtype == pattern.dtype == dtype
    assert (weigh_values(pattern, memory, segments) - fused).abs().max() < bound
    seen = segments.positions + 1
    assert ((pattern > 0).sum(-1) == torch.from_numpy(seen)[:, None]).all()


def test_gradients_of_whole_prompts():
    block = make_block()
    segments = Segments.of([3, 1, 5])
    names, weights = zip(*block.named_parameters(), strict=True)

    def forward(resid, *values):
        arguments = (resid, segments, None, LayerTap(None))
        return torch.func.functional_call(block, dict(zip(names, values, strict=True)), arguments)[
            0
        ]

    assert torch.autograd.gradcheck(forward, (tokens(9).requires_grad_(), *weights), fast_mode=True)


def test_gradients_to_and_from_the_carry():
    segments = Segments.of([2, 1, 3], starts=[2, 4, 0], slots=[0, 0, -1], keep=[0, 2])
    begin = Segments.of([4], keep="last")

    def forward(resid, keys, values):
        carry = KeyValueCarry(keys, values, np.array([0]), np.array([4]))
        out, after = run(resid, segments, carry)
        return out, after.keys, after.values

    _, carry = run(tokens(4), begin)
    inputs = [x.detach().requires_grad_() for x in (tokens(6, seed=1), carry.keys, carry.values)]
    assert torch.autograd.gradcheck(forward, inputs, fast_mode=True)
