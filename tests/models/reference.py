"""The reference implementations of transformers, small and random, also in true float64."""

from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode


class TrueDouble(TorchFunctionMode):
    """Makes `.float()` and `.to(torch.float32)` in the reference keep float64: its norms and scans cast down otherwise."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func is torch.Tensor.float:
            return args[0].double()
        return func(*map(_in_double, args), **{k: _in_double(v) for k, v in kwargs.items()})


def _in_double(argument: Any) -> Any:
    return torch.float64 if argument is torch.float32 else argument


@contextmanager
def true_double() -> Any:
    """Run the reference in float64 throughout."""
    with TrueDouble():
        yield


def shake(model: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """Move every parameter away from its special initial value, so that no term drops out."""
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=random))
    return model.eval()
