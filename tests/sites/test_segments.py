"""Where only the last tokens' way on matters, a layer leaves with the same rows as otherwise."""

from dataclasses import replace

import pytest
import torch
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    Mamba2Config,
    Mamba2ForCausalLM,
    MambaConfig,
    MambaForCausalLM,
)

import mambascope as ms
from mambascope.sites import Segments

SIZES = dict(vocab_size=40, num_hidden_layers=2, hidden_size=32)
HEADS = dict(num_heads=4, head_dim=16, state_size=16, n_groups=1, expand=2)


def mamba1():
    return MambaForCausalLM(MambaConfig(state_size=16, **SIZES))


def mamba2():
    return Mamba2ForCausalLM(Mamba2Config(**HEADS, **SIZES))


def gpt2():
    return GPT2LMHeadModel(GPT2Config(n_embd=32, n_layer=2, n_head=4, vocab_size=40))


def llama():
    heads = dict(num_attention_heads=4, num_key_value_heads=2, intermediate_size=48)
    return LlamaForCausalLM(LlamaConfig(**heads, **SIZES))


@pytest.mark.parametrize("made", [mamba1, mamba2, gpt2, llama])
def test_a_layer_asked_for_the_ends_alone_leaves_with_their_rows(made):
    torch.manual_seed(0)
    model = ms.load(made())
    whole = Segments.of([5, 1, 3], keep="all")
    resid = torch.randn(whole.tokens, 32)
    ends = replace(whole, ends_only=True)
    with torch.no_grad():
        block, tap = model.blocks[1], model.tap(whole).layer(1)
        left, carry = block(resid.clone(), whole, None, tap)
        some, kept = block(resid.clone(), ends, None, tap)
    torch.testing.assert_close(some, left[torch.tensor([4, 5, 8])])
    for one, other in zip(vars(carry).values(), vars(kept).values(), strict=True):
        if isinstance(one, torch.Tensor):
            torch.testing.assert_close(one, other)


def test_what_is_needed_is_all_unless_only_the_ends_are():
    x = torch.arange(9)
    segments = Segments.of([5, 1, 3])
    assert segments.needed(x) is x
    assert replace(segments, ends_only=True).needed(x).tolist() == [4, 5, 8]
