"""The convolution and its carry against a loop over time, gradients against autograd through the definition."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mambascope.models.kernels import causal_conv, conv_carry, definition
from mambascope.sites.segments import Segments
from tests.models.kernels import recurrences as expected
from tests.models.kernels.recurrences import distance, halves, leaves, segments_

pytestmark = pytest.mark.filterwarnings(
    "ignore:Do not use the `random` module"
)  # the type checker does


def inputs(segments, E, K, *, bias=True, slots=2):
    random = torch.Generator().manual_seed(0)

    def normal(*shape):
        return torch.randn(shape, generator=random)

    carry = normal(slots, K - 1, E) if slots else None
    return [normal(segments.tokens, E), normal(E, K), normal(E) if bias else None, carry]


@settings(max_examples=40, deadline=None)
@given(segments_(), st.sampled_from([1, 16, 40]), st.integers(1, 5), st.booleans())
def test_any_segments_follow_the_loop(segments, E, K, bias):
    tensors = inputs(segments, E, K, bias=bias)
    true = expected.causal_conv(*tensors, segments)
    assert distance(causal_conv(*tensors, segments), true) < 1e-6
    double = [None if x is None else x.double() for x in tensors]
    assert distance(causal_conv(*double, segments), true) < 1e-13


@settings(max_examples=40, deadline=None)
@given(segments_(), st.integers(1, 5), st.booleans())
def test_the_carry_is_the_last_inputs(segments, K, fresh):
    x, _, _, carry = inputs(segments, 3, K, slots=0 if fresh else 2)
    got = conv_carry(x, carry, segments, K)
    assert torch.equal(got.double(), expected.conv_carry(x, carry, segments, K))


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(2, 30), min_size=1, max_size=4), st.data())
def test_a_split_with_carry_equals_the_whole(lengths, data):
    segments = Segments.of(lengths)
    at = np.array([data.draw(st.integers(1, n - 1)) for n in lengths])
    head, tail, first = halves(segments, at)
    x, weight, bias, _ = inputs(segments, 32, 4)
    out = torch.empty_like(x)
    out[first] = causal_conv(x[first], weight, bias, None, head)
    carry = conv_carry(x[first], None, head, 4)
    out[~first] = causal_conv(x[~first], weight, bias, carry, tail)
    assert torch.equal(out, causal_conv(x, weight, bias, None, segments))


def test_column_slices_are_read_in_place():
    segments = Segments.of([20, 7])
    x, weight, bias, carry = inputs(segments, 32, 4)
    wide = torch.cat([torch.randn(27, 16), x, torch.randn(27, 48)], dim=1)
    for view in (wide[:, 16:48], wide.t().contiguous().t()[:, 16:48]):
        assert torch.equal(
            causal_conv(view, weight, bias, carry, segments),
            causal_conv(x, weight, bias, carry, segments),
        )


@settings(max_examples=25, deadline=None)
@given(
    segments_(longest=30, keep=False), st.sampled_from([16, 24]), st.integers(2, 4), st.booleans()
)
def test_gradients_are_those_of_autograd_through_the_definition(segments, E, K, bias):
    tensors = inputs(segments, E, K, bias=bias)
    weights = torch.randn(segments.tokens, E, generator=torch.Generator().manual_seed(1))
    gradients = []
    for dtype, conv in ((torch.float32, causal_conv), (torch.float64, definition.causal_conv)):
        given_ = leaves(tensors, dtype)
        loss = (conv(*given_, segments) * weights.to(dtype)).sum()
        gradients.append(torch.autograd.grad(loss, [x for x in given_ if x is not None]))
    for got, true in zip(*gradients, strict=True):
        assert distance(got, true) < 2e-6


def test_gradcheck_of_the_definition():
    segments = Segments.of([2, 5, 1], slots=[0, -1, 1])
    tensors = leaves(inputs(segments, 3, 4), torch.float64)
    assert torch.autograd.gradcheck(lambda *x: definition.causal_conv(*x, segments), tensors)


@pytest.mark.parametrize("where", [0, 2, 3])
def test_a_nan_goes_on_to_what_depends_on_it_and_nowhere_else(where):
    segments = Segments.of([6, 9], slots=[-1, 0])
    tensors = inputs(segments, 16, 4)
    tensors[where].view(-1)[5] = float("nan")
    true = expected.causal_conv(*tensors, segments)
    assert torch.equal(causal_conv(*tensors, segments).isnan(), true.isnan())
    assert true.isnan().any()


def test_a_nan_in_one_channels_filter_stays_in_that_channel():
    segments = Segments.of([6, 9], slots=[-1, 0])
    x, weight, bias, carry = inputs(segments, 16, 4)
    weight[5, 3] = float("nan")
    lost = causal_conv(x, weight, bias, carry, segments).isnan()
    assert lost[:, 5].all() and lost.sum() == len(x)
