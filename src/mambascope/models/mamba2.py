"""Mamba-2 (Dao & Gu 2024, section 7): a scalar decay per head, B and C shared by the heads of a group.

Reference: Mamba2Mixer in transformers, Mamba2 in state-spaces/mamba. Differences: works on packed tokens with a carry,
every intermediate is a site, and no prompt is padded to a chunk. `gated_norm` and `norm_scope` in the configuration
cover both codes' norms.

    z, xBC, dt = in_proj(norm(resid))        gate (tokens, E), conv_in (tokens, E + 2GN)
    u, B, C = silu(conv(xBC))                u (tokens, H, P); B, C (tokens, G, N)
    dt    = clamp(softplus(dt + dt_bias))    dt (tokens, H)
    h_t   = exp(dt_t A) h_{t-1} + dt_t u_t B_t^T   write, state   (tokens, H, P, N)
    y_t   = h_t C_t + D u_t                  skip, scan_out       (tokens, H, P)
    resid = resid + out_proj(norm(y * silu(z)))    gated (tokens, E), mixer_out (tokens, D)
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from mambascope.models.config import Mamba2Config
from mambascope.models.cut_readout import ConvInput, Reread, run_scan_with_cuts
from mambascope.models.kernels import (
    ScanOutput,
    gate,
    linear,
    rms_norm,
    softplus_bias,
    ssd_scan,
)
from mambascope.models.norms import RMSNorm
from mambascope.models.protocol import Carry, MambaCarry
from mambascope.models.recurrence import ScanInputs, convolve, convolved
from mambascope.models.residual import added
from mambascope.models.stepping import memory_to_step
from mambascope.sites import LayerTap, Segments, Site


def mamba2_sites(config: Mamba2Config) -> list[Site]:
    """The sites of one layer beside those that every architecture has."""
    c = config
    heads = (("H", "P"), (c.n_heads, c.head_dim))
    groups = (("G", "N"), (c.n_groups, c.d_state))
    state = (("H", "P", "N"), (c.n_heads, c.head_dim, c.d_state))
    return [
        Site("gate", ("E",), (c.d_inner,)),
        Site("conv_in", ("E+2GN",), (c.conv_width,)),
        Site("conv_carry", ("K", "E+2GN"), (c.d_conv - 1, c.conv_width)),
        Site("u", *heads),
        Site("dt", ("H",), (c.n_heads,)),
        Site("B", *groups),
        Site("C", *groups),
        Site("write", *state),
        Site("state", *state),
        Site("skip", *heads),
        Site("scan_out", *heads),
        Site("gated", ("E",), (c.d_inner,)),
    ]


class GatedNorm(nn.Module):
    """RMS norm of the scan's output together with the gate (RMSNormGated in state-spaces/mamba)."""

    def __init__(self, config: Mamba2Config) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(config.d_inner))
        self.eps = config.norm_eps
        self.before_gate = config.gated_norm == "before_gate"
        self.groups = config.n_groups if config.norm_scope == "group" else 1

    def forward(
        self, y: Float[Tensor, "tokens E"], z: Float[Tensor, "tokens E"], overwrite: bool = False
    ) -> Float[Tensor, "tokens E"]:
        """norm(y * silu(z)), or norm(y) * silu(z); `overwrite`: y is not needed any more."""
        if self.before_gate:
            return gate(self._norm(y, overwrite), z, overwrite=True)
        return self._norm(gate(y, z, overwrite=overwrite), overwrite=True)

    def _norm(self, y: Tensor, overwrite: bool) -> Tensor:
        if self.groups == 1:
            return rms_norm(y, self.weight, self.eps, overwrite=overwrite)
        grouped = y.reshape(-1, y.shape[-1] // self.groups)
        normed = rms_norm(grouped, torch.ones_like(grouped[0]), self.eps)
        return normed.view_as(y) * self.weight


class Mamba2Mixer(nn.Module):
    """The mixer; parameter names as in the reference."""

    def __init__(self, config: Mamba2Config) -> None:
        super().__init__()
        self.config = c = config
        width = c.d_inner + c.conv_width + c.n_heads
        self.in_proj = nn.Linear(c.d_model, width, bias=c.proj_bias)
        self.conv_weight = nn.Parameter(torch.empty(c.conv_width, c.d_conv))
        self.conv_bias = nn.Parameter(torch.empty(c.conv_width)) if c.conv_bias else None
        self.dt_bias = nn.Parameter(torch.empty(c.n_heads))
        self.A_log = nn.Parameter(torch.empty(c.n_heads))
        self.D = nn.Parameter(torch.empty(c.n_heads))
        self.norm = GatedNorm(c) if c.gated_norm else None
        self.out_proj = nn.Linear(c.d_inner, c.d_model, bias=c.proj_bias)

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
            return self._stepped(x, memory), memory
        c = self.config
        projected = linear(x, self.in_proj.weight, self.in_proj.bias)
        z, conv_in, dt = projected.split([c.d_inner, c.conv_width, c.n_heads], dim=-1)
        conv_in, z = tap("conv_in", conv_in), tap("gate", z)
        uBC, conv = convolve(
            conv_in, self.conv_weight, self.conv_bias, carry and carry.conv, segments, tap
        )
        u, B, C = self._u_B_C(uBC)
        u, B, C = tap("u", u), tap("B", B), tap("C", C)
        dt = tap("dt", self._step(dt))
        A = -torch.exp(self.A_log if dt.dtype == torch.float64 else self.A_log.float())
        scan = HeadRecurrence(u, dt, A, B, C, self.D)
        entering = ConvInput(conv_in, carry and carry.conv, c.d_conv, self._reread)
        y, state = run_scan_with_cuts(scan, entering, carry and carry.state, segments, tap)
        y, z = segments.needed(y), segments.needed(z)
        y = tap("scan_out", y).flatten(1)
        gated = tap("gated", self._gated(y, z, overwrite=tap.idle))
        out = linear(gated, self.out_proj.weight, self.out_proj.bias)
        return out, MambaCarry(conv, state) if len(segments.keep) else None

    def _stepped(self, x: Float[Tensor, "rows D"], memory: MambaCarry) -> Float[Tensor, "rows D"]:
        """The output for one token of each row; the memory moves on."""
        from mambascope.models.kernels.step_numba import conv_step, ssd_step

        c = self.config
        projected = linear(x, self.in_proj.weight, self.in_proj.bias)
        z, conv_in, dt = projected.split([c.d_inner, c.conv_width, c.n_heads], dim=-1)
        u, B, C = self._u_B_C(conv_step(conv_in, self.conv_weight, self.conv_bias, memory.conv))
        A = -torch.exp(self.A_log)
        y = ssd_step(u, self._step(dt), A, B, C, self.D, memory.state)
        gated = self._gated(y.flatten(1), z, overwrite=True)
        return linear(gated, self.out_proj.weight, self.out_proj.bias)

    def _gated(
        self, y: Float[Tensor, "tokens E"], z: Float[Tensor, "tokens E"], *, overwrite: bool
    ) -> Float[Tensor, "tokens E"]:
        if self.norm is None:
            return gate(y, z, overwrite=overwrite)
        return self.norm(y, z, overwrite)

    def _u_B_C(
        self, uBC: Float[Tensor, "tokens channels"]
    ) -> tuple[
        Float[Tensor, "tokens H P"], Float[Tensor, "tokens G N"], Float[Tensor, "tokens G N"]
    ]:
        c = self.config
        groups = c.n_groups * c.d_state
        u, B, C = uBC.split([c.d_inner, groups, groups], dim=-1)
        B, C = (v.unflatten(-1, (c.n_groups, c.d_state)) for v in (B, C))
        return u.unflatten(-1, (c.n_heads, c.head_dim)), B, C

    def _reread(self, windows: Float[Tensor, "some K channels"]) -> Reread:
        """What tokens with these last inputs of the convolution give to the scan; dt does not go through it."""
        u, B, C = self._u_B_C(convolved(windows, self.conv_weight, self.conv_bias))
        return Reread(u, None, B, C)

    def _step(self, dt: Float[Tensor, "tokens H"]) -> Float[Tensor, "tokens H"]:
        dt = softplus_bias(dt, self.dt_bias)
        low, high = self.config.dt_limit
        return dt if (low, high) == (0.0, float("inf")) else dt.clamp(low, high)


@dataclass(frozen=True, eq=False)
class HeadRecurrence(ScanInputs):
    """The scan of one layer on given inputs (see models/recurrence.py)."""

    u: Float[Tensor, "tokens H P"]
    dt: Float[Tensor, "tokens H"]
    A: Float[Tensor, " H"]
    B: Float[Tensor, "tokens G N"]
    C: Float[Tensor, "tokens G N"]
    D: Float[Tensor, " H"]

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
        return ssd_scan(it.u, it.dt, it.A, it.B, it.C, D, state, segments, all_states=all_states)

    def write(self) -> Float[Tensor, "tokens H P N"]:
        """dt u B^T."""
        scaled = self.dt[:, :, None] * self.u
        return scaled[..., None] * self._per_head(self.B)[:, :, None, :]

    def skip(self) -> Float[Tensor, "tokens H P"]:
        """D u."""
        return self.D[:, None] * self.u

    def readout(
        self, state: Float[Tensor, "some H P N"], tokens: np.ndarray
    ) -> Float[Tensor, "some H P"]:
        """h C."""
        C = self._per_head(self.C[torch.from_numpy(tokens).to(self.C.device)])
        return torch.einsum("thpn,thn->thp", state, C.to(state.dtype))

    def _per_head(self, x: Float[Tensor, "some G N"]) -> Float[Tensor, "some H N"]:
        return x.repeat_interleave(len(self.A) // x.shape[1], dim=1)


class Mamba2Block(nn.Module):
    """Norm, mixer, residual."""

    def __init__(self, config: Mamba2Config) -> None:
        super().__init__()
        self.norm = RMSNorm(config.d_model, config.norm_eps)
        self.mixer = Mamba2Mixer(config)

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
