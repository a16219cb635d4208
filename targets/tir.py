"""From scheduled PrimFuncs to what TVM's code generators take: device kernels with launches, or C functions.

TVM's own driver produces functions in its packed calling convention, which would need TVM on the device. Here the host
side of a GPU function is read for its launches and thrown away, and a CPU function gets plain pointer parameters.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import tvm
import tvm_ffi
from tvm import s_tir, tirx
from tvm.ir import Call

from tilewright.targets.registers import on_stack, split_registers

_st, _tx = s_tir.transform, tirx.transform


@dataclass(frozen=True)
class DeviceCall:
    """One kernel launch inside a PrimFunc; ``args`` as in targets.base.KernelCall."""

    entry: str
    args: tuple[int, ...]
    grid: tuple[int, int, int]
    block: tuple[int, int, int]


@dataclass(frozen=True)
class DeviceFunction:
    """The launches of one PrimFunc, and the bytes of the workspaces between them."""

    calls: tuple[DeviceCall, ...]
    workspaces: tuple[int, ...]


@dataclass(frozen=True)
class DeviceLowered:
    """Kernels of many PrimFuncs.

    Attributes:
        module: IRModule for ``target.build.<kind>``; its functions are the entries of ``functions``.
        target: the device-only target to build with.
    """

    module: Any
    target: Any
    functions: Mapping[str, DeviceFunction]


@dataclass(frozen=True)
class HostLowered:
    """CPU functions ``int32_t name(void *, ...)`` in one IRModule, ready for ``target.build.llvm``."""

    module: Any
    scratch_bytes: int  # most that one thread may have allocated at a time, all functions considered


def _block_passes() -> list[Any]:
    # Order follows TVM's default pipeline. CommonSubexprElim is left out on purpose: it leaves dead variables behind
    # and breaks vector loads.
    return [
        _st.CanonicalizeLoop(),
        _st.LowerCrossThreadReduction(),
        _st.LowerInitBlock(),
        _st.PlanAndUpdateBufferAllocationLocation(),
        _st.ConvertBlocksToOpaque(),
        _st.LiftThreadBinding(),
        _st.ManifestSharedMemoryLocalStage(),
        _st.CompactBufferAllocation(),
        _st.LowerAutoCopy(),
        _st.UnifyThreadBinding(),
        _st.LowerMatchBuffer(),
        _st.StmtSimplify(),
        _st.InjectPermutedLayout(),
        _st.AnnotateIrregularLoop(),
        _st.InjectSoftwarePipeline(),
        _st.TransformMmaBufferLayout(),
        _st.LowerOpaqueBlock(),
        _tx.FlattenBuffer(),
        _tx.BF16ComputeLegalize(),
        _tx.NarrowDataType(32),
        _st.LoopPartition(),
        _tx.VectorizeLoop(True),
        _st.InjectVirtualThread(),
        _st.InjectDoubleBuffer(),
        _tx.StorageRewrite(),
        _st.HoistIfThenElse(),
        _tx.UnrollLoop(),
        _st.RenormalizeSplitPattern(),
        _tx.StmtSimplify(),
        _tx.RemoveNoOp(),
        _st.RewriteUnsafeSelect(),
        _tx.FP8ComputeLegalize(),
        _tx.VerifyMemory(),
    ]


def _thread_passes() -> list[Any]:
    return [
        _tx.AnnotateEntryFunc(),
        _st.ThreadSync("shared"),
        _st.ThreadSync("shared.dyn"),
        _st.ThreadSync("warp"),
        _st.InferFragment(),
        _st.LowerThreadAllreduce(),
        _st.MergeSharedMemoryAllocations(),
        _tx.SplitHostDevice(),
    ]


def _run(passes: list[Any], module: Any) -> Any:
    return tvm.ir.transform.Sequential(passes)(module)


def dtype_bytes(dtype: str) -> int:
    """Bytes of a TVM dtype, vectors included: ``float32x4`` has 16."""
    match = re.fullmatch(r"[a-z_]+?(\d+)?(?:x(\d+))?", dtype)
    if match is None or (match[1] is None and dtype != "bool"):
        raise ValueError(f"not a storable dtype: {dtype}")
    return math.ceil(int(match[1] or 8) / 8) * int(match[2] or 1)


def buffer_bytes(buffer: Any) -> int:
    """Bytes of a statically shaped TIR buffer."""
    return math.prod(int(extent) for extent in buffer.shape) * dtype_bytes(str(buffer.dtype))


def var_name(var: Any) -> str:
    """The name hint of a Relax variable."""
    return str(getattr(var, "name", None) or var.name_hint)


# ---------------------------------------------------------------- devices


def device_lower(kernels: Mapping[str, Any], target: Any) -> DeviceLowered:
    """Splits scheduled PrimFuncs into device kernels and their launches.

    Args:
        kernels: PrimFuncs with thread bindings, by name. Entries are named ``<name>_kernel``, ``..._1`` and so on.
        target: the tvm Target, with a host.
    """
    module = tvm.IRModule({name: func.with_attr("global_symbol", name) for name, func in kernels.items()})
    module = _run([_tx.BindTarget(target), *_block_passes(), *_thread_passes()], module)
    host: dict[str, Any] = {}
    device: dict[Any, Any] = {}
    for var, func in module.functions.items():
        if "tirx.kernel_launch_params" in func.attrs:
            device[var] = func
        else:
            host[var.name_hint] = func
    functions = {name: _read_launches(host[name]) for name in kernels}
    (device_target,) = {str(func.attrs["target"]): func.attrs["target"] for func in device.values()}.values()
    device_module = _run(
        [
            _tx.FP8StorageLegalize(),
            _tx.BF16StorageLegalize(),
            _tx.LowerWarpMemory(),
            _tx.StmtSimplify(),
            _tx.LowerIntrin(),
        ],
        tvm.IRModule(device),
    )
    return DeviceLowered(device_module, device_target, functions)


def _read_launches(func: Any) -> DeviceFunction:
    """Walks a host function for its kernel calls; SplitHostDevice reorders arguments, so the call is the authority."""
    source: dict[Any, int] = {param: index for index, param in enumerate(func.params)}
    calls: list[DeviceCall] = []
    workspaces: list[int] = []

    def resolve(expr: Any) -> int:
        return source[expr.args[0] if isinstance(expr, Call) else expr]

    def visit(node: Any) -> None:
        if isinstance(node, tirx.AllocBuffer):
            workspaces.append(buffer_bytes(node.buffer))
            source[node.buffer] = -len(workspaces)
        elif isinstance(node, tirx.DeclBuffer):
            source[node.buffer] = resolve(node.data)
        elif isinstance(node, Call) and getattr(node.op, "name", "") == "tirx.call_ffi_kernel":
            tags = [str(tag) for tag in node.attrs.launch_params]
            entry, *args = node.args
            extents = [int(extent) for extent in args[len(args) - len(tags) :]]
            size = {"blockIdx": [1, 1, 1], "threadIdx": [1, 1, 1]}
            for tag, extent in zip(tags, extents, strict=True):
                axis, letter = tag.split(".")
                size[axis]["xyz".index(letter)] = extent
            operands = tuple(resolve(arg) for arg in args[: len(args) - len(tags)])
            gx, gy, gz = size["blockIdx"]
            bx, by, bz = size["threadIdx"]
            calls.append(DeviceCall(entry.value, operands, (gx, gy, gz), (bx, by, bz)))

    tvm_ffi.structural_walk(func.body, visit, order="pre")
    return DeviceFunction(tuple(calls), tuple(workspaces))


# ---------------------------------------------------------------- host


def host_lower(kernels: Mapping[str, Any], target: Any) -> HostLowered:
    """Lowers scheduled PrimFuncs to functions of plain pointers that return 0 (C ABI, symbol = name).

    Args:
        kernels: PrimFuncs, serial or with ``T.parallel`` loops, by name.
        target: an llvm tvm Target.
    """
    module = tvm.IRModule({name: func.with_attr("global_symbol", name) for name, func in kernels.items()})
    module = _run([_tx.BindTarget(target), *_block_passes()], module)
    functions = {name: _with_pointer_params(split_registers(module[name])) for name in kernels}
    scratch = max((_scratch_bytes(func) for func in functions.values()), default=0)
    module = _run(
        [_tx.FP8StorageLegalize(), _tx.BF16StorageLegalize(), _tx.LowerTVMBuiltin(), _tx.LowerIntrin()],
        tvm.IRModule(functions),
    )
    return HostLowered(module, scratch)


def _with_pointer_params(func: Any) -> Any:
    params = [tirx.Var(f"{buffer.name}_ptr", buffer.data.ty) for buffer in func.params]
    body = func.body
    for key, value in (
        ("device_type", 1),
        ("device_id", 0),
    ):  # LowerTVMBuiltin wants to know whose memory it allocates
        body = tirx.AttrStmt(tvm.ir.StringImm("default"), key, tirx.const(value, "int32"), body)
    declarations = [tirx.DeclBuffer(buffer, data=param) for buffer, param in zip(func.params, params, strict=True)]
    body = tirx.SeqStmt([*declarations, body, tirx.Return(tirx.const(0, "int32"))])
    lowered = tirx.PrimFunc(params, body, ret_type=tvm.ir.PrimType("int32"), attrs=func.attrs)
    return lowered.with_attr("calling_conv", 0)


def _scratch_bytes(func: Any) -> int:
    """Upper bound of what one thread takes from the runtime: every buffer off the stack, rounded to a cache line."""
    total = 0

    def visit(node: Any) -> None:
        nonlocal total
        if isinstance(node, tirx.AllocBuffer) and not on_stack(node.buffer):
            total += -(-buffer_bytes(node.buffer) // 64) * 64 + 64

    tvm_ffi.structural_walk(func.body, visit, order="pre")
    return total
