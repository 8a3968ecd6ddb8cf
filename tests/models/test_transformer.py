"""The transformer against transformers' GPT-2, GPT-NeoX and Llama: logits, batches, carry, gradients, configuration."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mambascope.models.config import TransformerConfig
from mambascope.models.language_model import LanguageModel
from tests.models.transformer_pairs import ARCHITECTURES, OURS, Pair, random_ids, worst

LENGTHS = (1, 2, 3, 7, 16, 63, 64, 65, 128, 200, 300)


@pytest.fixture(scope="module", params=ARCHITECTURES)
def pair(request):
    return Pair(request.param)


@pytest.mark.parametrize("length", LENGTHS)
def test_float64_logits_are_the_references(pair, length):
    ids = random_ids(length)
    assert worst(pair.double.run(ids).logits, pair.true_logits(ids.shape[1])) < 1e-12


@pytest.mark.parametrize("length", LENGTHS)
def test_float32_error_is_at_most_three_times_the_references_own(pair, length):
    ids = random_ids(length)
    truth = pair.true_logits(ids.shape[1])
    with torch.no_grad():
        own = worst(pair.reference(ids).logits, truth)
        assert worst(pair.ours.run(ids).logits, truth) <= 3 * own + 1e-7


def test_half_precision_stays_near_the_truth(pair):
    half = LanguageModel(pair.ours.config).to(torch.bfloat16)
    half.load_state_dict(pair.ours.state_dict())
    reference = type(pair.reference)(pair.reference.config).to(torch.bfloat16).eval()
    reference.load_state_dict(pair.reference.state_dict())
    ids = random_ids(40)
    truth = pair.true_logits(ids.shape[1])
    with torch.no_grad():
        own = worst(reference(ids).logits, truth)
        plain, recorded = half.run(ids), half.run(ids, record=["pattern"])
    assert plain.logits.dtype == recorded["pattern", 0].dtype == torch.bfloat16
    assert worst(plain.logits, truth) <= 3 * own
    assert worst(recorded.logits, truth) <= 3 * own


def test_unequal_prompts_in_one_batch_equal_each_alone(pair):
    prompts = [random_ids(length, seed=length)[0].tolist() for length in (5, 1, 40, 17, 33, 64, 9)]
    together = pair.double.run(prompts).logits
    for row, prompt in enumerate(prompts):
        alone = pair.double.run([prompt]).logits[0]
        assert worst(together[row, : len(prompt)], alone) < 1e-13
        assert together[row, len(prompt) :].isnan().all()


@settings(max_examples=10, deadline=None)
@given(data=st.data())
def test_any_split_carried_over_equals_the_whole(pair, data):
    prompts = [
        random_ids(length, seed=row)[0].tolist()
        for row, length in enumerate(
            data.draw(st.lists(st.integers(3, 40), min_size=1, max_size=4))
        )
    ]
    whole = pair.double.run(prompts).logits
    inner = [
        st.lists(st.integers(1, len(p) - 1), min_size=2, max_size=2, unique=True) for p in prompts
    ]
    cuts = [[0, *sorted(data.draw(one)), len(p)] for one, p in zip(inner, prompts, strict=True)]
    carry = None
    for part in range(3):
        spans = [slice(cut[part], cut[part + 1]) for cut in cuts]
        pieces = [p[span] for p, span in zip(prompts, spans, strict=True)]
        run = pair.double.run(pieces, carry=carry, keep_carry=True)
        for row, span in enumerate(spans):
            assert worst(run.logits[row, : len(pieces[row])], whole[row, span]) < 1e-12
        carry = run.carry


def test_generation_of_unequal_prompts_equals_running_again_from_scratch(pair):
    prompts = [random_ids(length, seed=length)[0].tolist() for length in (4, 30, 1)]
    made = pair.double.generate(prompts, max_new_tokens=6)
    for prompt, continuation in zip(prompts, made, strict=True):
        for number, token in enumerate(continuation):
            logits = pair.double.run([prompt + continuation[:number]], logits="last").logits
            assert logits[0].argmax().item() == token


def test_gradients_reach_every_weight_and_equal_those_through_the_written_out_pattern(pair):
    prompts = [random_ids(length, seed=length)[0].tolist() for length in (6, 20, 3)]
    grads = []
    for record in ([], ["pattern"]):
        pair.double.zero_grad()
        pair.double.requires_grad_(True)
        pair.double.run(prompts, record=record).logits.nan_to_num().pow(2).sum().backward()
        grads.append({n: p.grad for n, p in pair.double.named_parameters()})
    for name, grad in grads[0].items():
        if name.endswith("k_proj.bias") and pair.ours.config.positions == "learned":
            assert worst(grad, torch.zeros_like(grad)) < 1e-9, "softmax ignores what all keys share"
        else:
            assert grad.abs().max() > 0, name
        assert torch.allclose(grad, grads[1][name], rtol=1e-9, atol=1e-9), name


def test_a_run_in_inference_mode_leaves_later_training_alone(pair):
    ids = random_ids(11)
    with torch.inference_mode():
        pair.ours.run(ids)
    pair.ours.requires_grad_(True)
    pair.ours.run(ids).logits.pow(2).sum().backward()
    assert all(bool(p.grad.isfinite().all()) for p in pair.ours.parameters())
    assert pair.ours.embedding.grad.abs().max() > 0


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"n_kv_heads": 3}, "4 heads cannot share 3 key/value heads"),
        ({"n_kv_heads": 4, "positions": "rotary"}, "rotary_dim must be 1 to 6, not 0"),
        (
            {"n_kv_heads": 4, "positions": "rotary", "rotary_dim": 8},
            "rotary_dim must be 1 to 6, not 8",
        ),
        (
            {"n_kv_heads": 4, "positions": "rotary", "rotary_dim": 3},
            "rotary_dim must be even, not 3",
        ),
    ],
)
def test_sizes_that_cannot_be_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        TransformerConfig(**OURS, d_mlp=8, **wrong)
