"""Going on behind prompts that were run: greedy decoding, and scoring given continuations, both with the carry.

A Mamba's carry has one size whatever came before, so decoding takes as much memory for the thousandth token as for the first.

Edits and cuts of the prompts hold like this in what follows:
    an edit with `positions` is made there, in the prompt, and later tokens see what it left in the carry
    an edit without `positions`, of every position, is made at every later token as well
    a cut takes edges away between tokens of the prompt; later tokens read everything
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from mambascope.errors import SiteError
from mambascope.models.kernels import log_sum_exp
from mambascope.models.language_model import LanguageModel
from mambascope.models.run import ModelCarry, Run
from mambascope.models.stepping import given_away
from mambascope.sites import Edit, Segments, Taken, Tap
from mambascope.sites.site import find_site

Ended = Callable[[list[int]], bool]
LOGITS_AT_ONCE = 2**24  # numbers: beyond this, logits of answers are taken in parts


def lasting(model: LanguageModel, edits: Sequence[Edit]) -> list[Edit]:
    """The edits that go on behind the prompt; SiteError for one whose value has one entry per position of the prompt."""
    found = [edit for edit in edits if edit.positions is None]
    for edit in found:
        if _has_positions(edit.value, len(find_site(model.sites, edit.site).shape)):
            raise SiteError(
                f"an edit of site {edit.site!r} at every position holds in later tokens too, so its value cannot have one "
                "entry per position; give its positions, or one entry for all"
            )
    return found


@torch.no_grad()
def decode(
    model: LanguageModel,
    prompts: Run,
    max_new_tokens: int,
    *,
    edits: Sequence[Edit] = (),
    ended: Ended | None = None,
    last_use: bool = False,
) -> list[list[int]]:
    """Greedy continuations of prompts that were run with `logits="last", keep_carry=True` under these edits.

    ended:    told a continuation so far after each of its tokens; True ends it
    last_use: whether the prompts' carry may be written over, so that it is of no use afterwards
    A continuation ends after `max_new_tokens`, or before an end-of-text token of the configuration.
    """
    assert prompts.logits is not None and prompts.carry is not None
    going_on, eos = lasting(model, edits), set(model.config.eos_ids)
    made: list[list[int]] = [[] for _ in prompts.ids]
    logits, carry, alive = prompts.logits, prompts.carry, list(range(len(made)))
    if last_use:
        carry = replace(carry, layers=[given_away(layer) for layer in carry.layers])
    for number in range(max_new_tokens):
        chosen = _on_top(logits)
        slots = [slot for slot, token in enumerate(chosen) if token not in eos]
        for slot in slots:
            made[alive[slot]].append(chosen[slot])
        if ended is not None:
            slots = [slot for slot in slots if not ended(made[alive[slot]])]
        if not slots or number == max_new_tokens - 1:
            break
        alive = [alive[slot] for slot in slots]
        segments = _behind(model, carry, slots, [1] * len(slots), alive, keep="last")
        tap = _tap(model, segments, going_on, len(made))
        ids = torch.tensor([made[row][-1] for row in alive], device=model.device)
        found, kept = model(ids, segments, carry.layers, tap, "last")
        assert found is not None
        logits, carry = found, ModelCarry([given_away(c) for c in kept], segments.starts + 1)
    return made


@torch.no_grad()
def continuation_logprobs(
    model: LanguageModel,
    prompts: Run,
    continuations: Sequence[tuple[int, Sequence[int]]],
    *,
    edits: Sequence[Edit] = (),
) -> list[tuple[Float[np.ndarray, " tokens"], bool]]:
    """For each (prompt, token ids): the log-probability (natural) of each token, and whether greedy decoding would give them all.

    prompts: as for `decode`
    """
    assert prompts.logits is not None and prompts.carry is not None
    going_on = lasting(model, edits)
    found: list[tuple[np.ndarray, bool]] = []
    for first, last in _parts(continuations, model.config.vocab_size):
        found += _scored(model, prompts, continuations[first:last], going_on)
    return found


def _scored(
    model: LanguageModel,
    prompts: Run,
    continuations: Sequence[tuple[int, Sequence[int]]],
    edits: Sequence[Edit],
) -> list[tuple[np.ndarray, bool]]:
    assert prompts.logits is not None and prompts.carry is not None
    firsts = prompts.logits[[row for row, _ in continuations]]
    longer = [(row, ids) for row, ids in continuations if len(ids) > 1]
    later = firsts[:0]
    if longer:
        rows = [row for row, _ in longer]
        lengths = [len(ids) - 1 for _, ids in longer]
        segments = _behind(model, prompts.carry, rows, lengths, rows, keep="none")
        tap = _tap(model, segments, edits, len(prompts.ids))
        given = torch.tensor([i for _, ids in longer for i in ids[:-1]], device=model.device)
        logits, _ = model(given, segments, prompts.carry.layers, tap, "all")
        assert logits is not None
        later = logits
    of_first = _read(firsts, [ids[0] for _, ids in continuations])
    of_later = _read(later, [i for _, ids in longer for i in ids[1:]])
    scored, begin = [], 0
    for number, (_, ids) in enumerate(continuations):
        end = begin + len(ids) - 1
        both = [
            np.concatenate([a[number : number + 1], b[begin:end]])
            for a, b in zip(of_first, of_later, strict=True)
        ]
        scored.append((both[0], bool(both[1].all())))
        begin = end
    return scored


def _read(logits: Float[Tensor, "n V"], tokens: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Of each row, the log-probability of its token, and whether the token is on top."""
    wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
    chosen = torch.tensor(tokens, dtype=torch.long, device=logits.device)[:, None]
    logprob = wide.gather(1, chosen)[:, 0] - log_sum_exp(wide)
    return logprob.cpu().numpy(), (wide.argmax(1) == chosen[:, 0]).cpu().numpy()


def _on_top(logits: Float[Tensor, "n V"]) -> list[int]:
    """The likeliest token of each row. NumPy looks at many numbers at once, PyTorch on CPU at one: a tenth of the time."""
    plain = logits.device.type == "cpu" and logits.dtype in (torch.float32, torch.float64)
    return (logits.detach().numpy() if plain else logits).argmax(-1).tolist()


def _behind(
    model: LanguageModel,
    carry: ModelCarry,
    slots: Sequence[int],
    lengths: Sequence[int],
    rows: Sequence[int],
    keep: str,
) -> Segments:
    """Segments of these lengths behind what these slots of the carry hold; PromptError past the model's positions."""
    starts = carry.positions[list(slots)]
    model.check_length(int((starts + np.asarray(lengths)).max()))
    return Segments.of(lengths, rows=rows, starts=starts, slots=slots, keep=keep)  # pyright: ignore[reportArgumentType]


def _tap(model: LanguageModel, segments: Segments, edits: Sequence[Edit], rows: int) -> Tap:
    """The edits at every token of these segments, of which several may go on from one of the `rows` prompts."""
    tap = model.tap(segments)
    if edits:
        starts = np.zeros(rows, dtype=np.int64)
        starts[segments.rows] = segments.starts
        longest = int(segments.lengths.max())
        places = starts[:, None] + np.arange(longest)
        for edit in edits:
            own = places if edit.rows is None else places[np.asarray(edit.rows)]
            tap.place(replace(edit, positions=own), starts + longest, np.arange(segments.count))
    return tap


def _has_positions(value: Any, axes: int) -> bool:
    """Whether the value of an edit of a site with so many axes has several entries along the positions."""
    if not isinstance(value, Tensor | Taken) or len(value.shape) <= axes:
        return False
    return value.shape[len(value.shape) - axes - 1] > 1


def _parts(
    continuations: Sequence[tuple[int, Sequence[int]]], vocabulary: int
) -> list[tuple[int, int]]:
    """Runs of continuations whose logits are few enough; one at least."""
    most, found, first, tokens = max(1, LOGITS_AT_ONCE // vocabulary), [], 0, 0
    for number, (_, ids) in enumerate(continuations):
        if number > first and tokens + len(ids) > most:
            found.append((first, number))
            first, tokens = number, 0
        tokens += len(ids)
    return [*found, (first, len(continuations))] if continuations else []
