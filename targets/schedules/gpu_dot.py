"""Dot products of four signed bytes, the arithmetic of layers whose weights and activations have eight bits or fewer.

Kernels call functions of their own source. Whoever compiles it decides whether a product is one instruction: CUDA from
compute capability 7.0 on has one (6.x emulates it), Arm's OpenCL drivers say so by a macro of the extension's name, and
so do those of Khronos' extension. Everywhere else it is plain integer arithmetic; results are the same.

Activations are unsigned bytes. Their highest bit is flipped on the way, which makes x - 128 of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tvm import tirx

_DOT, _LOAD = "dot4", "bytes4"
OFFSET = 128  # what activations have lost
_FLIP = -0x7F7F7F80  # 0x80808080: the highest bits of four bytes

OPENCL = """\
static inline int bytes4(__global const uchar* at) { return as_int(vload4(0, at)); }
#ifdef cl_arm_integer_dot_product_accumulate_int8
#pragma OPENCL EXTENSION cl_arm_integer_dot_product_accumulate_int8 : enable
static inline int dot4(int a, int b, int sum) { return arm_dot_acc(as_char4(a), as_char4(b), sum); }
#elif defined(cl_arm_integer_dot_product_int8)
#pragma OPENCL EXTENSION cl_arm_integer_dot_product_int8 : enable
static inline int dot4(int a, int b, int sum) { return sum + arm_dot(as_char4(a), as_char4(b)); }
#elif defined(__opencl_c_integer_dot_product_input_4x8bit_packed)
static inline int dot4(int a, int b, int sum) { return sum + dot_4x8packed_ss_int(as_uint(a), as_uint(b)); }
#else
static inline int dot4(int a, int b, int sum) {
  const char4 x = as_char4(a), y = as_char4(b);
  return sum + x.x * y.x + x.y * y.y + x.z * y.z + x.w * y.w;
}
#endif
"""

CUDA = """\
static __device__ __forceinline__ int bytes4(const unsigned char* at) { return *(const int*)at; }
static __device__ __forceinline__ int dot4(int a, int b, int sum) {
#if __CUDA_ARCH__ >= 700
  return __dp4a(a, b, sum);
#else
  for (int at = 0; at < 32; at += 8) sum += (signed char)(a >> at) * (signed char)(b >> at);
  return sum;
#endif
}
"""


def dot(a: Any, b: Any, total: Any) -> Any:
    """``total`` plus the products of the bytes of two int32, in TIR."""
    return tirx.call_pure_extern("int32", _DOT, a, b, total)


def load(first: Any) -> Any:
    """Four neighbouring activations as signed bytes, ``OFFSET`` lower, int32.

    Args:
        first: the load of the first, uint8. CUDA wants it aligned to four.
    """
    return _flipped(tirx.call_pure_extern("int32", _LOAD, tirx.address_of(first)))


def joined(parts: Sequence[Any]) -> Any:
    """The same of four loads anywhere."""
    words = [part.astype("int32") << tirx.const(8 * place, "int32") for place, part in enumerate(parts)]
    return _flipped(words[0] | words[1] | words[2] | words[3])


def source_of(functions: str, kernels: str) -> str:
    """``functions``, OPENCL or CUDA, where the text of the kernels calls one of them; otherwise nothing."""
    return functions if f"{_DOT}(" in kernels else ""


def _flipped(word: Any) -> Any:
    return word ^ tirx.const(_FLIP, "int32")
