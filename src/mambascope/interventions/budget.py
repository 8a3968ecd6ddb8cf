"""How much of a replay is done at once, so that it stays within a given memory."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import prod

import numpy as np
import psutil
import torch

from mambascope.interventions.variants import Touch
from mambascope.models.language_model import LanguageModel

SHARE_OF_FREE = 4
MOST_TOKENS_AT_ONCE = 2048  # beyond this intermediates leave the cache and take fresh pages
# Of few rows the unembedding is slow to read; of more, the logits do not fit the memory that a block's results leave behind, and
# take fresh pages each time.
ROWS_AT_ONCE, LOGITS_KEPT, LOGITS_IN_CACHE = (112, 224), 22 * 2**20, 12 * 2**20
CARRIED = ("state", "conv_carry")
PER_STATE = ("state", "write")


@dataclass(frozen=True)
class Budget:
    """Bytes to stay within, and what the parts of a replay take of them.

    token: the residual of one token, and its copies; slot: one entry of a layer's carry
    inner: what a block holds for one token while it runs; logits: what the metrics hold for one row
    """

    memory: int
    token: int
    slot: int
    inner: int
    logits: int

    @classmethod
    def of(cls, model: LanguageModel, memory: int | None, used: Sequence[str] = ()) -> "Budget":
        """The budget of a model; `used`: the sites that are edited or recorded. By default a quarter of what is free."""
        each = _number(model)
        sizes = {name: bytes_of(model, name) for name, site in model.sites.items() if site.layered}
        light = sum(size for name, size in sizes.items() if name not in (*CARRIED, *PER_STATE))
        heavy = sum(sizes[name] for name in {*PER_STATE} & {*used} & {*sizes})
        return cls(
            memory=_free(model.device) // SHARE_OF_FREE if memory is None else memory,
            token=3 * each * model.config.d_model,
            slot=sum(sizes.get(name, 0) for name in CARRIED),
            inner=2 * light + 2 * heavy,
            logits=3 * each * model.config.vocab_size,
        )

    def halved(self) -> "Budget":
        """Half the memory."""
        return replace(self, memory=self.memory // 2)

    @property
    def rows(self) -> int:
        """How many rows reach the unembedding at once."""
        fewest, most = ROWS_AT_ONCE
        kept = min(most, LOGITS_KEPT // (self.logits // 3))
        wanted = max(fewest, kept, LOGITS_IN_CACHE // self.logits)
        return max(1, min(wanted, self.memory // 4 // self.logits))

    @property
    def tokens(self) -> int:
        """How many tokens a block takes at once."""
        return min(MOST_TOKENS_AT_ONCE, self.memory // 4 // self.inner)

    def chunks(self, sizes: np.ndarray) -> Iterator[tuple[int, int]]:
        """(first, last + 1) of runs of segments that a block takes at once."""
        limit = self.tokens
        first, tokens = 0, 0
        for number, size in enumerate(sizes.tolist()):
            if tokens and tokens + size > limit:
                yield first, number
                first, tokens = number, 0
            tokens += size
        if tokens:
            yield first, len(sizes)


def waves(
    plans: Sequence[Sequence[Touch]], lengths: np.ndarray, budget: Budget, begin: int = 0
) -> list[range]:
    """The variants from `begin` on, in runs whose residuals and carries take half of the memory; one each at least."""
    found: list[range] = []
    shadows: dict[tuple[object, ...], int]
    first, tokens, shadows = begin, 0, {}
    slots = np.zeros((len(lengths), int(lengths.max(initial=0)) + 1), dtype=bool)
    for number in range(begin, len(plans)):
        rows, starts = _earliest(plans[number], lengths)
        more = suffixes(plans[number], lengths)
        own = {cut.key: len(rows) for touch in plans[number] for cut in touch.cuts}
        count = int(slots.sum()) + int((~slots[rows, starts]).sum())
        count += sum((shadows | own).values())
        taken = budget.token * (tokens + more) + budget.slot * count
        if number > first and taken > budget.memory // 2:
            found.append(range(first, number))
            first, tokens, shadows = number, 0, {}
            slots[:] = False
        tokens, shadows = tokens + more, shadows | own
        slots[rows, starts] = True
    return [*found, range(first, len(plans))] if first < len(plans) else found


def suffixes(plan: Sequence[Touch], lengths: np.ndarray) -> int:
    """The tokens of all suffixes that a variant changes."""
    rows, starts = _earliest(plan, lengths)
    return int((lengths[rows] - starts).sum())


def _earliest(plan: Sequence[Touch], lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The rows that a variant changes, and the first position that it ever changes in each."""
    first = lengths.copy()
    for touch in plan:
        first[touch.rows] = np.minimum(first[touch.rows], touch.starts)
    rows = np.flatnonzero(first < lengths)
    return rows, first[rows]


def bytes_of(model: LanguageModel, site: str) -> int:
    """The memory that one token's value of a site takes in one layer."""
    return _number(model) * prod(size or 1 for size in model.sites[site].shape)


def _number(model: LanguageModel) -> int:
    return 8 if model.dtype == torch.float64 else 4


def _free(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return psutil.virtual_memory().available
