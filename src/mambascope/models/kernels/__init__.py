"""The scans, the convolution and the matrix products, each on the fastest backend for its device and dtype."""

from mambascope.models.kernels.addresses import addresses
from mambascope.models.kernels.definition import ScanOutput, conv_carry
from mambascope.models.kernels.dispatch import (
    can_step,
    can_step_through,
    causal_conv,
    gate,
    log_sum_exp,
    rms_norm,
    selective_scan,
    softplus_bias,
    ssd_scan,
)
from mambascope.models.kernels.linear import fastest_packing, linear
from mambascope.models.kernels.packed import release_packed_weights, without_new_copies

__all__ = [
    "ScanOutput",
    "addresses",
    "can_step",
    "can_step_through",
    "causal_conv",
    "conv_carry",
    "fastest_packing",
    "gate",
    "linear",
    "log_sum_exp",
    "release_packed_weights",
    "rms_norm",
    "selective_scan",
    "softplus_bias",
    "ssd_scan",
    "without_new_copies",
]
