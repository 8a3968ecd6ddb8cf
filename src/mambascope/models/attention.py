"""Causal attention (Vaswani et al. 2017, section 3.2) of packed tokens over what their segments remember.

    pattern = softmax(q k^T / sqrt(P))     (tokens, H, keys)
    heads   = pattern v                    (tokens, H, P)

Reference: eager_attention_forward in transformers. Differs: a segment sees the positions before its start in its slot
of the carry, and its own tokens up to each query; its keys lie in the order of their positions. Query head h reads
key/value head h // (H / G). Keys are remembered with their rotary turn, so going on never turns them again.
"""

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from mambascope.errors import SiteError
from mambascope.models.attention_layout import Group, contexts_of, layout_of
from mambascope.models.protocol import KeyValueCarry
from mambascope.sites import LayerTap, Segments
from mambascope.sites.views import View


def remember(
    carry: KeyValueCarry | None,
    k: Float[Tensor, "tokens G P"],
    v: Float[Tensor, "tokens G P"],
    segments: Segments,
) -> KeyValueCarry:
    """One slot per segment: what its slot of the carry holds before its start, then its own keys and values."""
    contexts = contexts_of(segments)
    if not contexts.any():
        return KeyValueCarry(k, v, segments.offsets[:-1], segments.lengths)
    assert carry is not None, "segments that go on from a slot need a carry"
    slots = np.maximum(segments.slots, 0)
    assert (contexts <= carry.lengths[slots])[segments.slots >= 0].all(), "a slot ends too early"
    totals = contexts + segments.lengths
    offsets = np.cumsum(totals) - totals
    within = np.arange(totals.sum()) - np.repeat(offsets, totals)
    old = np.repeat(carry.offsets[slots], totals)
    own = np.repeat(len(carry.keys) + segments.offsets[:-1] - contexts, totals)
    rows = np.where(within < np.repeat(contexts, totals), old, own) + within
    index = torch.from_numpy(rows).to(k.device)
    keys = torch.cat([carry.keys, k]).index_select(0, index)
    values = torch.cat([carry.values, v]).index_select(0, index)
    return KeyValueCarry(keys, values, offsets, totals)


def kept_slots(memory: KeyValueCarry, segments: Segments) -> KeyValueCarry | None:
    """The carry after each token of `segments.keep`: prefixes of the segments' memory, sharing its rows."""
    if not len(segments.keep):
        return None
    of = segments.segment_of[segments.keep]
    own = segments.keep - segments.offsets[of] + 1
    lengths = contexts_of(segments)[of] + own
    return KeyValueCarry(memory.keys, memory.values, memory.offsets[of], lengths)


def attend(
    q: Float[Tensor, "tokens H P"], memory: KeyValueCarry, segments: Segments
) -> Float[Tensor, "tokens H P"]:
    """The attention-weighted values of each head, with the pattern never written down."""
    layout = layout_of(segments, q.device, grouped=True)
    padded = zip(
        layout.groups,
        layout.queries.pad(q),
        layout.keys.pad(memory.keys),
        layout.keys.pad(memory.values),
        strict=True,
    )
    return layout.queries.unpad([_attend_group(*group) for group in padded])


def _attend_group(
    group: Group,
    q: Float[Tensor, "n queries H P"],
    k: Float[Tensor, "n keys G P"],
    v: Float[Tensor, "n keys G P"],
) -> Float[Tensor, "n queries H P"]:
    q, k, v = (x.transpose(1, 2) for x in (q, k, v))
    shared = q.shape[1] != k.shape[1]
    out = F.scaled_dot_product_attention(
        q, k, v, attn_mask=group.mask, is_causal=group.causal, enable_gqa=shared
    )
    return out.transpose(1, 2)


def attention_pattern(
    q: Float[Tensor, "tokens H P"],
    memory: KeyValueCarry,
    segments: Segments,
    hidden: Bool[Tensor, "tokens H keys"] | None = None,
) -> Float[Tensor, "tokens H keys"]:
    """Each query's weights over the keys, 0 where it cannot see; softmax in float32 for half precision.

    hidden: weights that are 0 as well, the others growing in their place
    """
    layout = layout_of(segments, q.device, grouped=False)
    (queries,), (keys,) = layout.queries.pad(q), layout.keys.pad(memory.keys)
    queries = queries.unflatten(2, (keys.shape[2], -1))
    scores = torch.einsum("nqgrp,nkgp->nqgrk", queries, keys) * q.shape[-1] ** -0.5
    scores = scores.masked_fill(~layout.groups[0].visible[:, :, None, None], float("-inf"))
    if hidden is not None:
        (mask,) = layout.queries.pad(hidden)
        scores = scores.masked_fill(mask.unflatten(2, scores.shape[2:4]), float("-inf"))
    wide = torch.promote_types(q.dtype, torch.float32)
    pattern = scores.softmax(dim=-1, dtype=wide).to(q.dtype)
    return layout.queries.unpad([pattern.flatten(2, 3)])


def cut_pattern(
    q: Float[Tensor, "tokens H P"], memory: KeyValueCarry, segments: Segments, tap: LayerTap
) -> Float[Tensor, "tokens H keys"]:
    """The pattern with this layer's cuts made (see sites/cuts.py)."""
    if not tap.views:
        return attention_pattern(q, memory, segments)
    heads, longest = q.shape[1], int((contexts_of(segments) + segments.lengths).max())
    masks = {
        mode: q.new_zeros((len(q), heads, longest), dtype=torch.bool) for mode in ("zero", "mask")
    }
    for view in tap.views:
        _hide(masks[view.cut.mode], view, segments, tap)
    hidden = masks["mask"] if masks["mask"].any() else None
    pattern = attention_pattern(q, memory, segments, hidden)
    return pattern.masked_fill(masks["zero"], 0.0)


def _hide(
    mask: Bool[Tensor, "tokens H keys"], view: View, segments: Segments, tap: LayerTap
) -> None:
    """Mark a view's sources for its targets, in the heads that are cut."""
    jobs = np.searchsorted(view.segments, segments.segment_of[view.targets])
    keys = mask.shape[2]
    positions = segments.positions[view.targets]
    seen = np.arange(keys) <= positions[:, None]
    sources = np.zeros((len(jobs), keys), dtype=bool)
    width = min(keys, view.sources.shape[1])
    sources[:, :width] = view.sources[jobs, :width]
    if view.cut.mode == "mask" and (bare := (seen <= sources).all(axis=1)).any():
        raise SiteError(
            f"the cut masks everything that the token at position {positions[bare][0]} attends to, so no softmax is "
            "left; leave it a token to attend to, or use mode 'zero'"
        )
    assert tap.layer is not None
    features = view.cut.features_at(tap.layer)
    heads = torch.zeros(mask.shape[1], dtype=torch.bool)
    heads[slice(None) if features is None else list(features)] = True
    hidden = torch.from_numpy(sources & seen)[:, None, :] & heads[:, None]
    mask[torch.from_numpy(view.targets).to(mask.device)] = hidden.to(mask.device)


def weigh_values(
    pattern: Float[Tensor, "tokens H keys"], memory: KeyValueCarry, segments: Segments
) -> Float[Tensor, "tokens H P"]:
    """The values of each query's keys, weighted by its pattern; a weight that an edit puts on a later key is nothing."""
    layout = layout_of(segments, pattern.device, grouped=False)
    (weights,), (values,) = layout.queries.pad(pattern), layout.keys.pad(memory.values)
    weights = weights.unflatten(2, (values.shape[2], -1))
    weights = weights.masked_fill(~layout.groups[0].visible[:, :, None, None], 0.0)
    heads = torch.einsum("nqgrk,nkgp->nqgrp", weights, values)
    return layout.queries.unpad([heads.flatten(2, 3)])
