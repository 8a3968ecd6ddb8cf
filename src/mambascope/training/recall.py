"""Does a model give the answer? First token and whole answer, by greedy decoding.

The whole answer is right if every one of its tokens, its closing full stop included, is the model's top choice given the
prompt and the answer so far: that is when greedy decoding writes it, so one forward pass over prompt and answer decides.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from mambascope.models.language_model import LanguageModel
from mambascope.sites import Segments

TOKENS_AT_ONCE = 8192


@dataclass(frozen=True)
class Recall:
    """Per question: was the first token right, and the whole answer?"""

    first_token: np.ndarray
    exact: np.ndarray


@torch.no_grad()
def measure_recall(model: LanguageModel, questions: Sequence[tuple[str, str]]) -> Recall:
    """Ask (prompt, answer) pairs; the expected continuation is a space, the answer and a full stop."""
    encode = model.tokenizer.encode
    pairs = [(encode(prompt), encode(f" {answer}.")) for prompt, answer in questions]
    first, exact = np.zeros(len(pairs), bool), np.zeros(len(pairs), bool)
    for chosen in _batches([len(p) + len(a) for p, a in pairs]):
        for i, hits in zip(chosen, _hits(model, [pairs[i] for i in chosen]), strict=True):
            first[i], exact[i] = hits[0], hits.all()
    return Recall(first, exact)


def _batches(lengths: Sequence[int]) -> list[list[int]]:
    batches: list[list[int]] = [[]]
    room = TOKENS_AT_ONCE
    for i, length in enumerate(lengths):
        if length > room and batches[-1]:
            batches.append([])
            room = TOKENS_AT_ONCE
        batches[-1].append(i)
        room -= length
    return batches if lengths else []


def _hits(model: LanguageModel, pairs: Sequence[tuple[list[int], list[int]]]) -> list[np.ndarray]:
    """For each pair, whether each answer token is the top choice."""
    ids = [token for prompt, answer in pairs for token in prompt + answer[:-1]]
    segments = Segments.of([len(prompt) + len(answer) - 1 for prompt, answer in pairs])
    packed = torch.tensor(ids, device=model.device)
    tap = model.tap(segments)
    resid, _ = model.backbone(model.embed(packed, segments, tap), segments, None, tap)
    spans = [
        np.arange(last - len(answer) + 1, last + 1)
        for last, (_, answer) in zip(segments.last, pairs, strict=True)
    ]
    rows = torch.from_numpy(np.concatenate(spans)).to(resid.device)
    top = model.unembed(resid[rows], tap).argmax(-1).cpu().numpy()
    cuts = np.cumsum([len(answer) for _, answer in pairs])[:-1]
    return [
        found == np.array(answer)
        for found, (_, answer) in zip(np.split(top, cuts), pairs, strict=True)
    ]
