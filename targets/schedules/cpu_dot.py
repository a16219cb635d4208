"""Dot products of four bytes a lane, and the few vector operations that kernels of compressed weights need besides."""

from __future__ import annotations

from typing import Any

from tvm import tirx

from tilewright.targets.base import Device


class Dot:
    """acc[lane] += the sum over four bytes of (x - offset) * w, x unsigned and w signed; exact in int32.

    Attributes:
        kind: "vnni" (AVX-512), "madd" (AVX2 and AVX-512: two multiplications of 16 bits), "usdot" (aarch64 with i8mm)
            or "sdot" (aarch64); "" where the device has none and eight-bit layers compute in floats.
        offset: what is subtracted from activations, since sdot wants both sides signed.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.offset = 128 if kind == "sdot" else 0

    @classmethod
    def of(cls, device: Device) -> Dot:
        features = device.facts["features"]
        names = {"avx512vnni": "vnni", "avx2": "madd", "i8mm": "usdot", "dotprod": "sdot"}
        return cls(next((kind for feature, kind in names.items() if feature in features), ""))

    def accumulate(self, acc: Any, x: Any, w: Any, lanes: int) -> Any:
        """The new accumulator.

        Args:
            acc: int32 of ``lanes``.
            x: int32 of ``lanes``: four bytes each.
            w: int8 of ``4 * lanes``.
        """
        if self.kind == "vnni":
            return self._vnni(acc, x, w, lanes)
        if self.kind == "usdot":
            name = "llvm.aarch64.neon.usdot.v4i32.v16i8"
            return intrinsic(f"int32x{lanes}", name, acc, tirx.reinterpret(f"int8x{4 * lanes}", x), w)
        if self.kind == "sdot":
            signed = tirx.reinterpret(f"int8x{4 * lanes}", x ^ splat("int32", -0x7F7F7F80, lanes))
            return intrinsic(f"int32x{lanes}", "llvm.aarch64.neon.sdot.v4i32.v16i8", acc, signed, w)
        halves = f"int16x{2 * lanes}"
        x, w = tirx.reinterpret(halves, x), tirx.reinterpret(halves, w)
        eight = splat("int16", 8, 2 * lanes)
        low = self._madd(x & splat("int16", 0xFF, 2 * lanes), (w << eight) >> eight, lanes)
        high = self._madd((x >> eight) & splat("int16", 0xFF, 2 * lanes), w >> eight, lanes)
        return acc + low + high

    def _vnni(self, acc: Any, x: Any, w: Any, lanes: int) -> Any:
        bytes_ = f"int8x{4 * lanes}"
        name = f"llvm.x86.avx512.vpdpbusd.{32 * lanes}"
        return intrinsic(f"int32x{lanes}", name, acc, tirx.reinterpret(bytes_, x), w)

    def _madd(self, x: Any, w: Any, lanes: int) -> Any:
        names = {4: "llvm.x86.sse2.pmadd.wd", 8: "llvm.x86.avx2.pmadd.wd", 16: "llvm.x86.avx512.pmaddw.d.512"}
        return intrinsic(f"int32x{lanes}", names[lanes], x, w)

    def takes(self, lanes: int) -> bool:
        """Whether there is an instruction for vectors of that many lanes."""
        if self.kind in ("sdot", "usdot"):
            return lanes == 4
        return bool(self.kind) and lanes in (4, 8, 16)


def intrinsic(dtype: str, name: str, *args: Any) -> Any:
    """A call of one of LLVM's intrinsics that changes nothing in memory."""
    return tirx.call_llvm_pure_intrin(dtype, name, *args)


def splat(dtype: str, value: float, lanes: int) -> Any:
    """A constant in every lane."""
    constant = tirx.const(value, dtype)
    return constant if lanes == 1 else tirx.Broadcast(constant, lanes)


def spread(vector: Any, lanes: int, height: int) -> Any:
    """A vector of ``lanes``, ``height`` times over: abab."""
    return tirx.Shuffle([vector] * height, list(range(lanes * height))) if height > 1 else vector


def stretch(vector: Any, lanes: int, width: int) -> Any:
    """Every lane ``width`` times: aabb."""
    if width == 1:
        return vector
    # As many operands as the result is wide: TIR wants no more indices than lanes.
    return tirx.Shuffle([vector] * width, [lane for lane in range(lanes) for _ in range(width)])


def fold(vector: Any, height: int, width: int) -> Any:
    """Sums of ``width`` neighbouring lanes, a power of two: ``height`` lanes are left."""
    while width > 1:
        width //= 2
        even = tirx.Shuffle([vector], [2 * lane for lane in range(height * width)])
        odd = tirx.Shuffle([vector], [2 * lane + 1 for lane in range(height * width)])
        vector = even + odd
    return vector
