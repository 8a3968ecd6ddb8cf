"""Each metric against numbers worked out by hand, and all of them from one replay against full forward passes."""

from math import log

import pytest
import torch

import mambascope as ms
from mambascope.interventions import (
    BaseRun,
    Variant,
    answer_log_probability,
    answer_probability,
    answer_rank,
    kl_from,
    logit_difference,
    replay,
    top1_hit,
)

# Two rows of four tokens, each shifted by a constant: the probabilities stay.
PROBABILITIES = torch.tensor([[0.5, 0.25, 0.125, 0.125], [0.125, 0.5, 0.125, 0.25]])
LOGITS = PROBABILITIES.double().log() + torch.tensor([[3.0], [-2.0]], dtype=torch.float64)
ROWS = torch.tensor([0, 1])


@pytest.mark.parametrize(
    ("metric", "wanted"),
    [
        (answer_probability(1), [0.25, 0.5]),
        (answer_probability([0, 3]), [0.5, 0.25]),
        (answer_log_probability([0, 3]), [-log(2), -log(4)]),
        (logit_difference(0, 2), [log(4), 0.0]),
        (logit_difference([1, 2], [3, 1]), [log(2), -log(4)]),
        (answer_rank([0, 0]), [0, 2]),  # a tie is not above
        (answer_rank([3, 3]), [2, 1]),
        (top1_hit(0), [1, 0]),
        (top1_hit([1, 1]), [0, 1]),
        (kl_from(torch.zeros(1, 4)), [0.25 * log(2), 0.25 * log(2)]),
        (kl_from(LOGITS), [0, 0]),
        (kl_from(LOGITS.flip(0)), [0.5 * log(2), 0.625 * log(2)]),
    ],
)
def test_a_metric_is_what_it_is_by_hand(metric, wanted):
    assert metric(LOGITS, ROWS).tolist() == pytest.approx(wanted, abs=1e-7)


def test_each_row_is_read_by_its_own_base_row():
    again = torch.tensor([1, 0, 1])
    found = answer_probability([0, 3])(LOGITS[again], again).tolist()
    assert found == pytest.approx([0.25, 0.5, 0.25])
    assert kl_from(LOGITS)(LOGITS[again], again).tolist() == pytest.approx([0, 0, 0], abs=1e-12)


def test_half_precision_is_widened_before_anything_is_summed():
    logits = torch.zeros(1, 1000, dtype=torch.bfloat16)
    found = answer_log_probability(0)(logits, torch.tensor([0]))
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(-log(1000), abs=1e-5)  # bfloat16 would be 0.02 off


def test_several_metrics_come_from_one_replay():
    model, prompts = ms.load("atlas-mamba1"), ["The capital of France is", "Paris is in"]
    clean = model.run(prompts, logits="last").logits
    answers = clean.argmax(-1).tolist()
    others = clean.topk(2).indices[:, 1].tolist()
    metrics = {
        "p": answer_probability(answers),
        "log_p": answer_log_probability(answers),
        "difference": logit_difference(answers, others),
        "rank": answer_rank(answers),
        "hit": top1_hit(answers),
        "kl": kl_from(clean),
    }
    edit = ms.Edit(site="resid_post", layers=3, positions=-1, op="scale", value=-1.0)
    ids = [model.tokenizer.encode(prompt) for prompt in prompts]
    found = replay(model, BaseRun(ids), [Variant((edit,))], metrics)
    logits = model.run(prompts, edits=[edit], logits="last").logits.double()
    p, reference = logits.softmax(-1), clean.double().softmax(-1)
    for row, (answer, other) in enumerate(zip(answers, others, strict=True)):
        own, order = p[row], p[row].argsort(descending=True).tolist()
        wanted = {
            "p": own[answer].item(),
            "log_p": log(own[answer]),
            "difference": log(own[answer] / own[other]),
            "rank": order.index(answer),
            "hit": int(order[0] == answer),
            "kl": (reference[row] * (reference[row] / own).log()).sum().item(),
        }
        for name, value in wanted.items():
            assert found.scores[name][0, row] == pytest.approx(value, rel=1e-3, abs=1e-6), name
        assert found.base["rank"][row] == 0 and found.base["hit"][row] == 1
    assert found.scores["rank"].max() > 0  # the edit does something
