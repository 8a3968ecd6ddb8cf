"""The full map of a mixer from its normed residual at s to its output at t, linearised, and what can be said of it in one number.

    M[t, s] = W_out diag(v[t, s]) W_in      (D, D);   v[t, s]: one number per inner channel e

    Mamba        v[t, s] = gate_t sum over r of (alpha[t, r] + D at r = t) sigmoid(p_r) w[r - s]
    transformer  v[t, s] = pattern[t, s] of the channel's head

p is the convolution's output before its SiLU, w its weights, silu(p) = p sigmoid(p), so the SiLU is its secant: a factor that is
held at its value on this prompt, like dt, B, C, the gate silu(z), the scale of Mamba-2's gated norm, and the pattern. With the
secant nothing is left over: the sum over s of M[t, s] norm_s is mixer_out_t, but for what the biases (of projections and
convolution) give. M is never built: its Frobenius norm, and the norm of M norm_s, follow from v and (E, E) or (D, E) matrices.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from mambascope.methods.attention.scans import Maps

CHANNELS = 64  # at a time
Factors = Float[Tensor, "E targets sources"]


@dataclass(frozen=True, eq=False)
class Convolved:
    """What stands around a Mamba's scan: (T, E), but for the taps, (E, K), oldest first, and skip, (E,)."""

    taps: Float[Tensor, "E K"]
    slope: Float[Tensor, "T E"]
    skip: Float[Tensor, " E"]
    gain: Float[Tensor, "T E"]


@dataclass(frozen=True, eq=False)
class MixerMap:
    """One layer's map. `unit_of`: the scan's unit that each inner channel belongs to; `around`: None for a transformer.

    into, out: (E, D), (D, E); entering: W_in norm, without bias; mixer_out: (T, D)
    """

    maps: Maps
    unit_of: Tensor
    around: Convolved | None
    into: Float[Tensor, "E D"]
    out: Float[Tensor, "D E"]
    entering: Float[Tensor, "T E"]
    mixer_out: Float[Tensor, "T D"]

    def factors(self, targets: range, sources: range) -> Factors:
        """v of a block of targets and sources."""
        found = self.entering.new_empty(len(self.unit_of), len(targets), len(sources))
        for begin in range(0, len(found), CHANNELS):
            chosen = slice(begin, begin + CHANNELS)
            units, place = torch.unique(self.unit_of[chosen], return_inverse=True)
            found[chosen] = self._some(chosen, units, place, targets, sources)
        return found

    def _some(
        self, chosen: slice, units: Tensor, place: Tensor, targets: range, sources: range
    ) -> Factors:
        if self.around is None:
            return self.maps.block(units, targets, sources)[place]
        taps = self.around.taps[chosen]
        reach = taps.shape[1] - 1
        wide = range(sources.start, min(sources.stop + reach, targets.stop))
        read = self.maps.block(units, targets, wide)[place]
        for token in range(targets.start, wide.stop):
            read[:, token - targets.start, token - wide.start] += self.around.skip[chosen]
        read *= self.around.slope[wide.start : wide.stop, chosen].mT[:, None, :]
        read = F.pad(read, (0, len(sources) + reach - len(wide)))
        found = sum(
            read[:, :, ago : ago + len(sources)] * taps[:, -1 - ago, None, None]
            for ago in range(reach + 1)
        )
        return found * self.around.gain[targets.start : targets.stop, chosen].mT[:, :, None]

    def contributions(self, targets: range, sources: range) -> Float[Tensor, "D targets sources"]:
        """M[t, s] norm_s."""
        given = self.factors(targets, sources) * self._entering(sources)
        return (self.out @ given.flatten(1)).unflatten(1, given.shape[1:])

    def contribution(self, targets: range, sources: range) -> Float[Tensor, "targets sources"]:
        """The norm of M[t, s] norm_s (Kobayashi et al. 2020 for a transformer's heads together)."""
        return torch.linalg.vector_norm(self.contributions(targets, sources), dim=0)

    def share(self, targets: range, sources: range) -> Float[Tensor, "targets sources"]:
        """(M[t, s] norm_s) . mixer_out_t / |mixer_out_t|^2: over the sources these sum to 1 less what biases give."""
        whole = self.mixer_out[targets.start : targets.stop]
        asked = (whole @ self.out) / whole.square().sum(1, keepdim=True)
        given = self.factors(targets, sources) * self._entering(sources)
        return torch.einsum("ets,te->ts", given, asked)

    def frobenius(self, targets: range, sources: range) -> Float[Tensor, "targets sources"]:
        """The Frobenius norm of M[t, s]: |M|^2 = v^T ((W_out^T W_out) * (W_in W_in^T)) v."""
        factors = self.factors(targets, sources)
        weighed = (self._products @ factors.flatten(1)).view_as(factors)
        return (weighed * factors).sum(0).clamp_(min=0).sqrt()

    @cached_property
    def _products(self) -> Float[Tensor, "E E"]:
        return (self.out.mT @ self.out) * (self.into @ self.into.mT)

    def _entering(self, sources: range) -> Float[Tensor, "E 1 sources"]:
        return self.entering[sources.start : sources.stop].mT[:, None, :]
