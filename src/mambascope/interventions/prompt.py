"""A prompt with its subject: token ids, which of them are the subject's, and the role of each position."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from mambascope.errors import PromptError
from mambascope.models.language_model import LanguageModel
from mambascope.models.prompts import to_ids


@dataclass(frozen=True)
class SubjectPrompt:
    """Token ids, their texts, and the positions [start, stop) of the subject."""

    ids: list[int]
    tokens: list[str]
    start: int
    stop: int

    @property
    def roles(self) -> list[str]:
        """The role of each position. A one-token subject is subject_last; the prompt's last token is `last` unless it
        is the subject's.
        """
        roles = ["before"] * self.start + ["subject_middle"] * (self.stop - self.start)
        roles += ["after"] * (len(self.ids) - self.stop)
        roles[-1] = "last"
        roles[self.start] = "subject_first"
        roles[self.stop - 1] = "subject_last"
        return roles


def read_prompt(
    model: LanguageModel, prompt: str | Sequence[int] | Tensor, subject: str | slice
) -> SubjectPrompt:
    """Tokenise a prompt and find its subject, the last occurrence counting; PromptError if it is not there.

    `subject` is a text (for a text prompt) or a slice of positions.
    """
    rows = to_ids(prompt, model.tokenizer, model.config.vocab_size)
    if len(rows) > 1:
        raise PromptError(f"one prompt is wanted here, but {len(rows)} were given")
    ids = rows[0]
    if isinstance(subject, slice):
        start, stop = _checked(subject, len(ids))
    elif not isinstance(subject, str):
        kind = type(subject).__name__
        raise PromptError(f"the subject is a text or a slice of positions, not a {kind}")
    elif not isinstance(prompt, str):
        raise PromptError("with token ids as prompt, give the subject as a slice of positions")
    else:
        start, stop = _find(model.tokenizer, prompt, subject)
    return SubjectPrompt(ids, token_texts(model, ids), start, stop)


def token_texts(model: LanguageModel, ids: Sequence[int]) -> list[str]:
    """Each token's text; the id itself for a model without a tokenizer."""
    if model.tokenizer is None:
        return [str(token) for token in ids]
    return [model.tokenizer.decode([token]) for token in ids]


def answer_token(
    model: LanguageModel, prompt: str | Sequence[int] | Tensor, answer: str | int, ids: list[int]
) -> int:
    """The token id with which the answer begins after the prompt; PromptError if it cannot be one."""
    return answer_tokens(model, prompt, answer, ids)[0]


def answer_tokens(
    model: LanguageModel, prompt: str | Sequence[int] | Tensor, answer: str | int, ids: list[int]
) -> list[int]:
    """The token ids of the answer after the prompt, whose own are `ids`; PromptError if it has none.

    Where the tokenizer would split the prompt otherwise if the answer followed, they are those of the answer alone.
    """
    if isinstance(answer, int):
        if not 0 <= answer < model.config.vocab_size:
            raise PromptError(
                f"answer token {answer} is out of range: the model has {model.config.vocab_size} tokens"
            )
        return [answer]
    if model.tokenizer is None:
        raise PromptError("this model has no tokenizer, so give the answer as a token id")
    if not answer.strip():
        raise PromptError("the answer is empty; give a word or leave it out")
    space = "" if isinstance(prompt, str) and prompt[-1].isspace() else " "
    if isinstance(prompt, str):
        whole = model.tokenizer.encode(prompt + space + answer.strip())
        if whole[: len(ids)] == ids and len(whole) > len(ids):
            return whole[len(ids) :]
    alone = model.tokenizer.encode(space + answer.strip(), add_special_tokens=False)
    if not alone:
        raise PromptError(f"the model's tokenizer has no token for the answer {answer!r}")
    return alone


def _checked(subject: slice, length: int) -> tuple[int, int]:
    start, stop, step = subject.indices(length)
    if step != 1 or start >= stop:
        raise PromptError(f"subject {subject} holds no run of the prompt's {length} positions")
    return start, stop


def _find(tokenizer: Any, prompt: str, subject: str) -> tuple[int, int]:
    """Token positions of the last occurrence of the subject, a whole word if there is one."""
    text = subject.strip()
    begin = _last_occurrence(prompt, text) if text else -1
    if begin < 0:
        raise PromptError(f"the subject {subject!r} does not occur in the prompt {prompt!r}")
    end = begin + len(text)
    spans = tokenizer(prompt, return_offsets_mapping=True)["offset_mapping"]
    found = [i for i, (first, last) in enumerate(spans) if first < end and last > begin]
    return found[0], found[-1] + 1


def _last_occurrence(prompt: str, text: str) -> int:
    begin = prompt.rfind(text)
    while begin >= 0:
        around = prompt[max(0, begin - 1) : begin] + prompt[begin + len(text) :][:1]
        if not any(c.isalnum() for c in around):
            return begin
        begin = prompt.rfind(text, 0, begin + len(text) - 1)
    return prompt.rfind(text)
