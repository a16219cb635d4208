"""The Plan: what the compiler hands to the artifact writer and the runtime executes, device-independent.

A plan is a table of buffers, an ordered list of kernel launches over them, and the code modules that hold the kernels.
A second list of launches, the prologue, depends on constants alone and runs once when the model is loaded: it expands
compressed weights. Everything is static: shapes, arena offsets, grids. Nothing here knows TVM.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

ARENA_ALIGNMENT = 256  # bytes; covers OpenCL's CL_DEVICE_MEM_BASE_ADDR_ALIGN and every vector load
TEXEL = 4  # elements: images over buffers have red, green, blue and alpha, as every device has these
TEXEL_DTYPES = ("float32", "float16", "int32", "uint32")
COPY = -1  # Launch.module of the built-in "copy args[0] to args[1]"


class BufferKind(enum.IntEnum):
    """Where a buffer's bytes live."""

    INPUT = 0  # given by the caller at run
    OUTPUT = 1  # written for the caller at run
    ARENA = 2  # Buffer.offset bytes into the session's arena
    CONSTANT = 3  # packed weights, in the artifact
    STATIC = 4  # written by the prologue, then only read; Buffer.offset bytes into the static arena
    TEMPORARY = 5  # of the prologue; Buffer.offset bytes into an arena that is given back after it


PLACED = (BufferKind.ARENA, BufferKind.STATIC, BufferKind.TEMPORARY)
"""Kinds of buffers that lie in an arena."""

RAW, ENTROPY = "raw", "entropy"
"""How a constant's bytes lie in the artifact: as they are, or coded by formats.storage.entropy and expanded at load."""


@dataclass(frozen=True)
class Buffer:
    """A typed, contiguous, row-major piece of memory."""

    name: str
    kind: BufferKind
    dtype: str  # NumPy name: "float32", "float16", "int8", "uint4" is packed and given as "uint8", "bool"
    shape: tuple[int, ...]
    offset: int = 0  # bytes into the arena of its kind; 0 for kinds outside of arenas
    data: npt.NDArray[np.generic] | None = field(default=None, compare=False, repr=False)  # CONSTANT only
    storage: str = RAW  # CONSTANT only
    symbol_bits: int = 8  # of the entropy coder; see PackedParameter
    texel_buffer: bool = False  # an image to launches other than the prologue's, in code with the feature "texels"

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize

    @property
    def texels(self) -> int:
        """Of an image over the buffer; 0 where there can be none."""
        whole = self.dtype in TEXEL_DTYPES and math.prod(self.shape) % TEXEL == 0
        return math.prod(self.shape) // TEXEL if whole else 0


@dataclass(frozen=True)
class PackedParameter:
    """A parameter of an imported network whose value is known: one packed array of a compressed weight.

    The importer returns them in the order in which they follow the ``num_input`` real inputs of ``main``.

    Attributes:
        name: unique in the network; the artifact's report finds the array's bytes by it.
        array: any shape, of a NumPy dtype that a Buffer may have.
        storage: ``raw``, or ``entropy`` to have the file hold it entropy-coded (formats.storage).
        symbol_bits: what the entropy coder takes as one symbol: 1 to 8, or 16 or 32 for elements of 2 or 4 bytes.
    """

    name: str
    array: npt.NDArray[np.generic] = field(compare=False, repr=False)
    storage: str = RAW
    symbol_bits: int = 8


@dataclass(frozen=True)
class Launch:
    """One kernel call. On the cpu back end grid and block are (1, 1, 1)."""

    kernel: str  # entry symbol in the module
    module: int  # index into Plan.modules, or COPY
    args: tuple[int, ...]  # indices into Plan.buffers, in the order of the kernel's parameters
    grid: tuple[int, int, int] = (1, 1, 1)  # work-groups (OpenCL) or blocks (CUDA)
    block: tuple[int, int, int] = (1, 1, 1)  # work-items a group, threads a block
    layers: tuple[str, ...] = ()  # names of the ONNX nodes computed here
    operations: int = field(default=0, compare=False)  # see lower/operations.py; not in artifacts' tables


@dataclass(frozen=True)
class Image:
    """Kernel code in one form. A runtime takes the first image of a module that its device accepts."""

    kind: str  # "elf" (shared object), "opencl" (source), "cubin", "ptx"
    arch: str  # "x86_64", "aarch64", "sm_87", "" for source
    features: tuple[str, ...]  # CPU features that must be present, as runtime/FORMAT.md names them
    options: str  # compiler options for "opencl"
    data: bytes = field(repr=False)


@dataclass(frozen=True)
class Module:
    """Kernels that are loaded together."""

    name: str
    images: tuple[Image, ...]


@dataclass(frozen=True)
class Plan:
    """A whole network, ready to run.

    Attributes:
        target: full target name, e.g. ``cpu-avx512`` or ``mali-g78``.
        backend: the runtime back end: ``cpu``, ``opencl``, ``cuda`` or ``nna``.
        inputs, outputs: indices into ``buffers`` in the model's own order.
        arena_bytes: bytes for all ARENA buffers.
        scratch_bytes: bytes of workspace that one thread of one kernel may take (cpu back end).
        prologue: launches that run once at load; they touch CONSTANT, STATIC and TEMPORARY buffers only.
        static_bytes: bytes for all STATIC buffers, kept as long as the model is loaded.
        temporary_bytes: bytes for all TEMPORARY buffers, needed only while the prologue runs.
        unpacked: for the report: why compressed weights are unpacked at load, by their names.
    """

    target: str
    backend: str
    buffers: tuple[Buffer, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    launches: tuple[Launch, ...]
    modules: tuple[Module, ...]
    arena_bytes: int
    scratch_bytes: int = 0
    prologue: tuple[Launch, ...] = ()
    static_bytes: int = 0
    temporary_bytes: int = 0
    unpacked: Mapping[str, str] = field(default_factory=dict, compare=False)

    def constants(self) -> Iterator[Buffer]:
        """The constant buffers, in table order."""
        return (buffer for buffer in self.buffers if buffer.kind is BufferKind.CONSTANT)

    def text(self) -> str:
        """A stable, readable form for ``--dump`` and golden tests."""
        lines = [f"plan {self.target} on {self.backend}: arena {self.arena_bytes} B, scratch {self.scratch_bytes} B"]
        if self.prologue:
            lines[0] += f", static {self.static_bytes} B, temporary {self.temporary_bytes} B"
        for index, buffer in enumerate(self.buffers):
            shape = "x".join(map(str, buffer.shape)) or "scalar"
            place = f" @{buffer.offset}" if buffer.kind in PLACED else ""
            storage = f" {buffer.storage}{buffer.symbol_bits}" if buffer.storage != RAW else ""
            lines.append(f"  %{index} {buffer.kind.name.lower()}{place}{storage} {buffer.dtype} {shape} {buffer.name}")
        for module in self.modules:
            images = ", ".join(f"{image.kind} {image.arch}".strip() for image in module.images)
            lines.append(f"  module {module.name}: {images}")
        lines += [f"  at load {self._launch_text(launch)}" for launch in self.prologue]
        lines += [f"  {self._launch_text(launch)}" for launch in self.launches]
        return "\n".join(lines) + "\n"

    def _launch_text(self, launch: Launch) -> str:
        args = ", ".join(f"%{arg}" for arg in launch.args)
        shape = "" if launch.module == COPY or self.backend == "cpu" else f" grid {launch.grid} block {launch.block}"
        layers = f"  # {', '.join(launch.layers)}" if launch.layers else ""
        return f"{launch.kernel}({args}){shape}{layers}"
