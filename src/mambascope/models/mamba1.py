"""Mamba-1 (Gu & Dao 2023, section 3.4, Algorithm 2), and Falcon-Mamba as a thin variation.

Reference: MambaMixer in transformers, Mamba in state-spaces/mamba. Differences: works on packed tokens with a carry, and
every intermediate is a site. Falcon-Mamba (Zuo et al. 2024) adds a weightless RMS norm on B, C and dt's projection.

    x, z  = in_proj(norm(resid))             conv_in, gate        (tokens, E)
    u     = silu(conv(x))                    u                    (tokens, E)
    dt_low, B, C = x_proj(u)                 B, C                 (tokens, N)
    dt    = softplus(dt_proj(dt_low))        dt                   (tokens, E)
    h_t   = exp(dt_t A) h_{t-1} + dt_t B_t u_t     write, state   (tokens, E, N)
    y_t   = C_t h_t + D u_t                  skip, scan_out       (tokens, E)
    resid = resid + out_proj(y * silu(z))    gated, mixer_out     (tokens, E), (tokens, D)
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from mambascope.models.config import Mamba1Config
from mambascope.models.cut_readout import ConvInput, Reread, run_scan_with_cuts
from mambascope.models.kernels import (
    ScanOutput,
    gate,
    linear,
    rms_norm,
    selective_scan,
    softplus_bias,
)
from mambascope.models.norms import RMSNorm
from mambascope.models.protocol import Carry, MambaCarry
from mambascope.models.recurrence import ScanInputs, convolve, convolved
from mambascope.models.residual import added
from mambascope.models.stepping import memory_to_step
from mambascope.sites import LayerTap, Segments, Site


def mamba1_sites(config: Mamba1Config) -> list[Site]:
    """The sites of one layer beside those that every architecture has."""
    inner, state = (("E",), (config.d_inner,)), (("E", "N"), (config.d_inner, config.d_state))
    return [
        Site("gate", *inner),
        Site("conv_in", *inner),
        Site("conv_carry", ("K", "E"), (config.d_conv - 1, config.d_inner)),
        Site("u", *inner),
        Site("dt", *inner),
        Site("B", ("N",), (config.d_state,)),
        Site("C", ("N",), (config.d_state,)),
        Site("write", *state),
        Site("state", *state),
        Site("skip", *inner),
        Site("scan_out", *inner),
        Site("gated", *inner),
    ]


class Mamba1Mixer(nn.Module):
    """The mixer; parameter names as in the reference."""

    def __init__(self, config: Mamba1Config) -> None:
        super().__init__()
        self.config = config
        width, inner, state = config.d_model, config.d_inner, config.d_state
        self.in_proj = nn.Linear(width, 2 * inner, bias=config.proj_bias)
        self.conv_weight = nn.Parameter(torch.empty(inner, config.d_conv))
        self.conv_bias = nn.Parameter(torch.empty(inner)) if config.conv_bias else None
        self.x_proj = nn.Linear(inner, config.dt_rank + 2 * state, bias=False)
        self.dt_proj = nn.Linear(config.dt_rank, inner, bias=True)
        self.A_log = nn.Parameter(torch.empty(inner, state))
        self.D = nn.Parameter(torch.empty(inner))
        self.out_proj = nn.Linear(inner, width, bias=config.proj_bias)

    def forward(
        self,
        x: Float[Tensor, "tokens D"],
        segments: Segments,
        carry: MambaCarry | None,
        tap: LayerTap,
    ) -> tuple[Float[Tensor, "some D"], MambaCarry | None]:
        """The mixer's output before `mixer_out`, and the carry after each kept token."""
        memory = memory_to_step(x, segments, carry, tap)
        if memory is not None:
            return self._step(x, memory), memory
        inner = self.config.d_inner
        conv_in, z = linear(x, self.in_proj.weight, self.in_proj.bias).split(inner, dim=-1)
        conv_in, z = tap("conv_in", conv_in), tap("gate", z)
        u, conv = convolve(
            conv_in, self.conv_weight, self.conv_bias, carry and carry.conv, segments, tap
        )
        u = tap("u", u)
        dt, B, C = self._dt_B_C(u)
        dt, B, C = tap("dt", dt), tap("B", B), tap("C", C)
        scan = SelectiveRecurrence(
            u, dt, -torch.exp(self.A_log.float().to(_wide(dt))), B, C, self.D, overwrite=tap.idle
        )
        entering = ConvInput(conv_in, carry and carry.conv, self.config.d_conv, self._reread)
        y, state = run_scan_with_cuts(scan, entering, carry and carry.state, segments, tap)
        y, z = segments.needed(y), segments.needed(z)
        gated = tap("gated", gate(tap("scan_out", y), z, overwrite=tap.idle))
        out = linear(gated, self.out_proj.weight, self.out_proj.bias)
        return out, MambaCarry(conv, state) if len(segments.keep) else None

    @property
    def weights(self) -> tuple[Tensor | None, ...]:
        """All weights, in the order in which a token meets them."""
        x_proj, dt_proj = self.x_proj.weight, self.dt_proj
        convolution, out = (self.conv_weight, self.conv_bias), self.out_proj
        scan = x_proj, dt_proj.weight, dt_proj.bias, self.A_log, self.D
        return (self.in_proj.weight, self.in_proj.bias, *convolution, *scan, out.weight, out.bias)

    def _step(self, x: Float[Tensor, "rows D"], memory: MambaCarry) -> Float[Tensor, "rows D"]:
        """The output for one token of each row; the memory moves on."""
        from mambascope.models.kernels.step_numba import selective_step

        conv_in, z = linear(x, self.in_proj.weight, self.in_proj.bias).chunk(2, dim=-1)
        gated = selective_step(
            conv_in,
            z,
            (self.conv_weight, self.conv_bias),
            self.x_proj.weight,
            (self.dt_proj.weight, self.dt_proj.bias),
            self.A_log,
            self.D,
            self.config.bcdt_norm_eps,
            memory.conv,
            memory.state,
        )
        return linear(gated, self.out_proj.weight, self.out_proj.bias)

    def _reread(self, windows: Float[Tensor, "some K E"]) -> Reread:
        """What tokens with these last inputs of the convolution give to the scan."""
        u = convolved(windows, self.conv_weight, self.conv_bias)
        return Reread(u, *self._dt_B_C(u))

    def _dt_B_C(
        self, u: Float[Tensor, "tokens E"]
    ) -> tuple[Float[Tensor, "tokens E"], Float[Tensor, "tokens N"], Float[Tensor, "tokens N"]]:
        c = self.config
        dt, B, C = linear(u, self.x_proj.weight).split([c.dt_rank, c.d_state, c.d_state], dim=-1)
        if c.bcdt_norm_eps is not None:
            dt, B, C = (rms_norm(v, torch.ones_like(v[0]), c.bcdt_norm_eps) for v in (dt, B, C))
        projected = linear(dt, self.dt_proj.weight)
        return softplus_bias(projected, self.dt_proj.bias, overwrite=True), B, C


@dataclass(frozen=True, eq=False)
class SelectiveRecurrence(ScanInputs):
    """The selective scan of one layer on given inputs (see models/recurrence.py)."""

    u: Float[Tensor, "tokens E"]
    dt: Float[Tensor, "tokens E"]
    A: Float[Tensor, "E N"]
    B: Float[Tensor, "tokens N"]
    C: Float[Tensor, "tokens N"]
    D: Float[Tensor, " E"]
    overwrite: bool = False  # whether the output may take the place of u

    def scan(
        self,
        tokens: np.ndarray | None,
        state: Tensor | None,
        segments: Segments,
        *,
        skip: bool,
        all_states: bool,
    ) -> ScanOutput:
        """Run over some tokens, or all."""
        it = self if tokens is None else self.taken(tokens)
        D = self.D if skip else None
        return selective_scan(
            it.u,
            it.dt,
            it.A,
            it.B,
            it.C,
            D,
            state,
            segments,
            all_states=all_states,
            overwrite=self.overwrite,
        )

    def write(self) -> Float[Tensor, "tokens E N"]:
        """dt B u."""
        return (self.dt * self.u)[:, :, None] * self.B[:, None, :]

    def skip(self) -> Float[Tensor, "tokens E"]:
        """D u."""
        return self.D * self.u

    def readout(
        self, state: Float[Tensor, "some E N"], tokens: np.ndarray
    ) -> Float[Tensor, "some E"]:
        """C h."""
        return torch.einsum("ten,tn->te", state, self.C[torch.from_numpy(tokens)].to(state.dtype))


class Mamba1Block(nn.Module):
    """Norm, mixer, residual."""

    def __init__(self, config: Mamba1Config) -> None:
        super().__init__()
        self.norm = RMSNorm(config.d_model, config.norm_eps)
        self.mixer = Mamba1Mixer(config)

    def forward(
        self,
        resid: Float[Tensor, "tokens D"],
        segments: Segments,
        carry: Carry | None,
        tap: LayerTap,
    ) -> tuple[Float[Tensor, "some D"], Carry | None]:
        """See models/protocol.py."""
        assert carry is None or isinstance(carry, MambaCarry)
        resid = tap("resid_pre", resid)
        normed = tap("norm", self.norm(resid))
        out, carry = self.mixer(normed, segments, carry, tap)
        resid = segments.needed(resid)
        return tap("resid_post", added(resid, tap("mixer_out", out), tap)), carry


def _wide(x: Tensor) -> torch.dtype:
    return torch.float64 if x.dtype == torch.float64 else torch.float32
