"""Arithmetic in half precision: when kernels multiply in it, how many products they add up, and what they call for it.

Where a GPU computes halves at twice the rate of floats, it does so two at a time. A pair, two halves of neighbouring
columns, is an int32 to TIR; kernels call functions of their own source, in CUDA.

Error. A half has 11 bits: a sum of n products by fused multiply-adds is off by at most n 2^-11 of the sum of their
magnitudes (Higham, Accuracy and Stability of Numerical Algorithms, section 3.1), and typically by 2^-11 sqrt(n / 6) of
the result's own spread. After at most ``RUN`` products a half is therefore added to a float32 sum: typically 1.6 times
the error that rounding the result to half makes anyway.

Range. Weights are scaled by a power of two to magnitudes up to 1 (2 with zero points), which the float32 sums take
back, so that RUN products stay finite for activations up to 65504 / RUN = 4094 (2047). Products below 2^-14 lose bits:
a run is off by RUN 2^-25 more, at most.

Integers become pairs without a conversion. The bits of 8 + n/128 are 0x4800 | n for a byte n: a sum of two bit fields,
from which 8 and the zero point, 128 for signed integers, are subtracted exactly.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from tvm import tirx

from tilewright.targets.schedules.gpu_common import GpuLimits
from tilewright.targets.schedules.ir import vector_type

RUN = 16  # products at most that one half adds up
BIAS = 0x48004800  # 8 in both halves; its last ten bits count 1/128
SIGNED_ZERO = 0x48804880  # 9: the zero point of signed bytes whose highest bits were flipped
UNIT = 128  # what halves made of bytes are to be multiplied with
_MULTIPLY, _SUBTRACT, _TOTAL = "pair_fma", "pair_sub", "pair_total"

_CUDA = """\
static __device__ __forceinline__ int pair_subN(int a, int b) { return bits(__hsub2(pair(a), pair(b))); }
static __device__ __forceinline__ int pair_fmaN(int a, int b, int sum) {
  return bits(__hfma2(pair(a), pair(b), pair(sum)));
}
static __device__ __forceinline__ float pair_totalN(int a) { return __low2float(pair(a)) + __high2float(pair(a)); }
"""
CUDA = f"""\
static __device__ __forceinline__ __half2 pair(int a) {{ return *(__half2*)&a; }}
static __device__ __forceinline__ int bits(__half2 a) {{ return *(int*)&a; }}
{"".join(_CUDA.replace("N", lanes) for lanes in ("", "2", "4"))}"""  # TVM calls those of vectors pair by pair


_DEPTHS = (4, 16)  # of weights that static figures speak for


def pays(bits: int, table: bool, dtype: str, limits: GpuLimits) -> bool:
    """Whether a kernel multiplies weights and activations in pairs.

    Not where weights have 32 bits or are centroids, each of which would be converted; nor on devices that are no faster
    in half; nor for int8, which NVIDIA's GPUs convert out of a word at once, and other depths that were not compared
    (docs/kernels.md); nor in OpenCL C, where Mesa's compiler makes an operation for each half that comes as an integer.

    Args:
        bits: of a weight; ``table`` where it is the number of a centroid.
        dtype: of the activations.
    """
    return limits.half_pairs and dtype == "float16" and bits in _DEPTHS and not table


def normalised(values: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], float]:
    """Halves times a power of two, so that the largest magnitude is in (1/2, 1], and what undoes it."""
    largest = float(np.abs(values).max(initial=0))
    if not largest:
        return values, 1.0
    power = 2.0 ** int(np.ceil(np.log2(largest)))
    return (values.astype(np.float32) / np.float32(power)).astype(np.float16), power


def multiply_add(a: Any, b: Any, sums: Any) -> Any:
    """``sums`` plus the products of pairs, all int32 or vectors of it."""
    return _call("int32", _MULTIPLY, a, b, sums)


def subtract(a: Any, b: Any) -> Any:
    """The differences of pairs."""
    return _call("int32", _SUBTRACT, a, b)


def total(a: Any) -> Any:
    """The two halves of each pair added up, float32."""
    return _call("float32", _TOTAL, a)


def _call(dtype: str, function: str, *args: Any) -> Any:
    lanes = int(args[0].ty.dtype.lanes)
    return tirx.call_pure_extern(vector_type(dtype, lanes), f"{function}{lanes if lanes > 1 else ''}", *args)


def source_of(kernels: str) -> str:
    """``CUDA`` where the text of the kernels calls it; otherwise nothing."""
    return CUDA if _MULTIPLY in kernels else ""
