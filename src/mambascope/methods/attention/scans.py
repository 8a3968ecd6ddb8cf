"""alpha[t, s] of one layer, by blocks of targets and sources: how much of a source's scan input the target reads.

    Mamba-1      alpha[t, s] = sum over n of C_t[n] exp(A[e, n] (c_t - c_s)) B_s[n] dt_s      a map per channel e
    Mamba-2      alpha[t, s] = (C_t . B_s) exp(A[h] (c_t - c_s)) dt_s                         a map per head h
    transformer  the pattern after softmax                                                    a map per head

with c_t the sum of dt up to t, so that scan_out_t = sum over s of alpha[t, s] u_s + D u_t (Ali et al. 2024, arXiv
2403.01590, section 3; Dao & Gu 2024, section 2). A map per unit, a unit being what has a map of its own.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from mambascope.methods.attention.decayed import apart, overlapping, remaining
from mambascope.methods.attention.readings import Reading
from mambascope.models.decay import decay_rates
from mambascope.models.language_model import LanguageModel

Block = Float[Tensor, "units targets sources"]


@runtime_checkable
class Maps(Protocol):
    """The maps of one layer: `count` of them."""

    @property
    def count(self) -> int:
        """How many units have a map."""
        ...

    def block(self, units: Int64[Tensor, " units"], targets: range, sources: range) -> Block:
        """alpha for some units, targets and sources; 0 where a source comes after its target. Sources begin no later
        than targets and end no later.
        """
        ...


@dataclass(frozen=True, eq=False)
class ChannelScan:
    """Mamba-1. clock: (E, T), float64; rates: (E, N); step: dt, or 1 without it, (E, T)."""

    clock: Float[Tensor, "E T"]
    rates: Float[Tensor, "E N"]
    step: Float[Tensor, "E T"]
    B: Float[Tensor, "T N"]
    C: Float[Tensor, "T N"]

    @classmethod
    def of(cls, model: LanguageModel, layer: int, reading: Reading, with_dt: bool) -> "ChannelScan":
        """The maps of a layer with this reading."""
        rates, dt = decay_rates(model, layer), reading["dt"].mT.contiguous()
        step = dt if with_dt else torch.ones_like(dt)
        return cls(dt.double().cumsum(1), rates, step, reading["B"], reading["C"])

    @property
    def count(self) -> int:
        """Channels."""
        return len(self.rates)

    def block(self, units: Int64[Tensor, " units"], targets: range, sources: range) -> Block:
        """See Maps."""
        first = targets.start
        found = self.step.new_empty(len(units), len(targets), len(sources))
        before = range(sources.start, min(sources.stop, first))
        if before:
            clock = self.clock[units]
            apart(
                self.rates[units],
                clock[:, first : targets.stop],
                clock[:, first : first + 1],
                clock[:, before.start : before.stop],
                self._reads(units, targets),
                self._writes(units, before),
                out=found[:, :, : len(before)],
            )
        if sources.stop > first:
            together = overlapping(
                self.rates[units],
                self.clock[units, targets.start : targets.stop],
                self._reads(units, targets),
                self._writes(units, targets),
            )
            found[:, :, len(before) :] = together[:, :, : sources.stop - first]
        return found

    def surviving(
        self, units: Int64[Tensor, " units"], u: Float[Tensor, "T E"]
    ) -> Float[Tensor, "T units N"]:
        """What is left at the end of what each token wrote: exp(A (c_T - c_s)) dt_s B_s u_s."""
        clock = self.clock[units]
        kept = remaining(self.rates[units, None], (clock[:, -1:] - clock)[..., None])
        return (kept * self._writes(units, range(len(u)))).transpose(0, 1) * u[:, units, None]

    def _reads(self, units: Tensor, tokens: range) -> Float[Tensor, "units tokens N"]:
        return self.C[tokens.start : tokens.stop].expand(len(units), -1, -1)

    def _writes(self, units: Tensor, tokens: range) -> Float[Tensor, "units tokens N"]:
        chosen = slice(tokens.start, tokens.stop)
        return self.step[units, chosen, None] * self.B[chosen]


@dataclass(frozen=True, eq=False)
class HeadScan:
    """Mamba-2. clock: (H, T), float64; rates: (H,); step: dt, or 1 without it, (H, T); `group`: each head's B and C."""

    clock: Float[Tensor, "H T"]
    rates: Float[Tensor, " H"]
    step: Float[Tensor, "H T"]
    B: Float[Tensor, "G T N"]
    C: Float[Tensor, "G T N"]

    @classmethod
    def of(cls, model: LanguageModel, layer: int, reading: Reading, with_dt: bool) -> "HeadScan":
        """The maps of a layer with this reading."""
        rates, dt = decay_rates(model, layer), reading["dt"].mT.contiguous()
        step = dt if with_dt else torch.ones_like(dt)
        B, C = (reading[name].transpose(0, 1) for name in ("B", "C"))
        return cls(dt.double().cumsum(1), rates, step, B, C)

    @property
    def count(self) -> int:
        """Heads."""
        return len(self.rates)

    def block(self, units: Int64[Tensor, " units"], targets: range, sources: range) -> Block:
        """See Maps."""
        late, early = slice(targets.start, targets.stop), slice(sources.start, sources.stop)
        scores = (self.C[:, late] @ self.B[:, early].mT)[self._group(units)]
        clock = self.clock[units]
        elapsed = clock[:, late, None] - clock[:, None, early]
        kept = remaining(self.rates[units, None, None], elapsed.clamp_(min=0))
        found = scores.mul_(kept).mul_(self.step[units, None, early])
        return found.tril_(targets.start - sources.start)

    def surviving(
        self, units: Int64[Tensor, " units"], u: Float[Tensor, "T H P"]
    ) -> Float[Tensor, "T units P N"]:
        """What is left at the end of what each token wrote: exp(A (c_T - c_s)) dt_s u_s B_s^T."""
        clock = self.clock[units]
        kept = remaining(self.rates[units, None], clock[:, -1:] - clock)
        scaled = (kept * self.step[units]).mT[:, :, None] * u[:, units]
        return scaled[..., None] * self.B[self._group(units)].transpose(0, 1)[:, :, None, :]

    def _group(self, units: Tensor) -> Tensor:
        return units // (self.count // len(self.B))


@dataclass(frozen=True, eq=False)
class Pattern:
    """A transformer's pattern, (H, T, T)."""

    pattern: Float[Tensor, "H T T"]

    @classmethod
    def of(cls, model: LanguageModel, layer: int, reading: Reading, with_dt: bool) -> "Pattern":
        """The maps of a layer with this reading."""
        return cls(reading["pattern"].transpose(0, 1))

    @property
    def count(self) -> int:
        """Heads."""
        return len(self.pattern)

    def block(self, units: Int64[Tensor, " units"], targets: range, sources: range) -> Block:
        """See Maps."""
        rows = self.pattern[:, targets.start : targets.stop, sources.start : sources.stop]
        return rows.index_select(0, units)


@dataclass(frozen=True)
class Kind:
    """How an architecture's maps are read: the name of their dim, the sites needed, and what makes them."""

    unit: str
    sites: tuple[str, ...]
    maps: Callable[[LanguageModel, int, Reading, bool], Maps]


KINDS = {
    "mamba1": Kind("channel", ("dt", "B", "C"), ChannelScan.of),
    "mamba2": Kind("head", ("dt", "B", "C"), HeadScan.of),
    "transformer": Kind("head", ("pattern",), Pattern.of),
}
