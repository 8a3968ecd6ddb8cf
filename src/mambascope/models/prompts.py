"""What a run may be given as its prompt, turned into token ids: text, texts, a tensor, or lists of ids."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from mambascope.errors import PromptError

PromptLike = str | Sequence[str] | Sequence[int] | Sequence[Sequence[int]] | Int[Tensor, "..."]


def to_ids(prompt: PromptLike, tokenizer: Any, vocab_size: int) -> list[list[int]]:
    """One list of token ids per prompt; PromptError for what cannot be run."""
    rows = _rows(prompt, tokenizer)
    if not rows:
        raise PromptError("no prompt was given; give at least one")
    for number, ids in enumerate(rows):
        if not ids:
            raise PromptError(f"prompt {number} is empty; give at least one token")
        bad = next((i for i in ids if not 0 <= i < vocab_size), None)
        if bad is not None:
            raise PromptError(
                f"token id {bad} in prompt {number} is out of range: the model has {vocab_size} tokens"
            )
    return rows


def _rows(prompt: PromptLike, tokenizer: Any) -> list[list[int]]:
    if isinstance(prompt, Tensor):
        if prompt.is_floating_point() or prompt.ndim not in (1, 2):
            raise PromptError(
                f"token ids must be a whole-number tensor of one or two dims, not {prompt.dtype} of "
                f"shape {tuple(prompt.shape)}"
            )
        return torch.atleast_2d(prompt).tolist()
    if isinstance(prompt, str):
        return [_encode(prompt, tokenizer)]
    items = list(prompt) if isinstance(prompt, Sequence) else [None]
    if items and all(isinstance(item, str) for item in items):
        return [_encode(str(item), tokenizer) for item in items]
    if items and all(isinstance(item, int) for item in items):
        return [[int(item) for item in items]]  # pyright: ignore[reportArgumentType]
    if all(
        isinstance(item, Sequence)
        and not isinstance(item, str)
        and all(isinstance(i, int) for i in item)
        for item in items
    ):
        return [list(item) for item in items]  # pyright: ignore[reportArgumentType]
    kind = type(prompt).__name__
    raise PromptError(
        f"a prompt is a text, a list of texts, a tensor of token ids, or lists of them, not this {kind}"
    )


def _encode(text: str, tokenizer: Any) -> list[int]:
    if tokenizer is None:
        raise PromptError(
            "this model has no tokenizer, so give token ids instead of text, or load it with one (tokenizer=, --tokenizer)"
        )
    if not text.strip():
        raise PromptError("the prompt is empty; give at least one word")
    return tokenizer.encode(text)
