"""Cycles and memory traffic that a command stream is estimated to take. Nothing here was measured on a device.

A kernel's cycles and its traffic are what Vela's own estimator (ethosu.vela.npu_performance) says of its shapes, block
and kernel; how kernels and transfers overlap follows from the stream (timeline.py). Memory is Vela's default for the
accelerator (vela.ini): U55 has weights in flash and everything else in SRAM; U65 has both in DRAM, and SRAM for what
the compiler puts there.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise
from typing import Any

from tilewright.lower.ethosu.jobs import SHRAM, Job, Kernel, Plane, Shape, Transfer, Wait
from tilewright.lower.ethosu.timeline import Step, kernel_ends

try:
    from ethosu.vela import api, architecture_allocator, architecture_features, npu_performance
    from ethosu.vela.ethos_u55_regs.ethos_u55_regs import resampling_mode
    from ethosu.vela.operation import Kernel as VelaKernel
    from ethosu.vela.operation import NpuBlockType, Op
    from ethosu.vela.shape4d import Shape4D
    from ethosu.vela.tensor import MemArea, TensorFormat
except ImportError:  # Vela is an optional extra
    api = None

_SUM = 2  # mode of pooling


@dataclass(frozen=True)
class Memories:
    """Which memory a region lies in: weights' own, fast memory on the chip, or (all others) that of activations."""

    weights: frozenset[int] = frozenset({0})
    fast: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Cost:
    """An estimate.

    Attributes:
        cycles: from the end of the kernel before to this one's, waiting for transfers included.
        busy: of the kernel alone.
        macs: multiplications that the layer needs.
        sram, external: bytes read and written on the chip, and in flash or DRAM; transfers included.
    """

    cycles: int = 0
    busy: int = 0
    macs: int = 0
    sram: int = 0
    external: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(*(getattr(self, name) + getattr(other, name) for name in self.__dataclass_fields__))


def estimate(jobs: Sequence[Job], accelerator: str, memories: Memories | None = None) -> list[Cost]:
    """The cost of every kernel of a stream, in its order; their cycles add up to the stream's.

    Args:
        accelerator: as Vela names it, for example ``ethos-u55-128``. Vela has to be installed.
    """
    model = Model(accelerator, memories or Memories())
    steps: list[Step] = []
    costs: list[Cost] = []
    moved = Cost()  # by transfers since the last kernel
    for job in jobs:
        if isinstance(job, Wait):
            steps.append(Step("t" if job.transfers else "k", left=job.left))
        elif isinstance(job, Transfer):
            cycles, cost = model.transfer(job)
            steps.append(Step("t", cycles))
            moved += cost
        else:
            own = model.kernel(job)
            steps.append(Step("k", own.busy))
            costs.append(own + moved)
            moved = Cost()
    ends = [0, *(round(end) for end in kernel_ends(steps, model.most_transfers))]
    return [replace(cost, cycles=end - begin) for cost, (begin, end) in zip(costs, pairwise(ends), strict=True)]


class Model:
    """What single kernels and transfers take on an accelerator."""

    def __init__(self, accelerator: str, memories: Memories) -> None:
        self._arch = _architecture(accelerator)
        self._memories = memories
        self.most_transfers = int(self._arch.max_outstanding_dma)

    @property
    def macs(self) -> int:
        """Multiplications a cycle."""
        return int(self._arch.num_macs_per_cycle * self._arch.ncores)

    def transfer(self, job: Transfer) -> tuple[float, Cost]:
        """Cycles and traffic of a transfer."""
        source = self._area(job.source)
        target = MemArea.Sram if job.target == SHRAM else self._area(job.target)
        cycles = float(npu_performance.measure_mem2mem_cycles(self._arch, source, target, job.nbytes))
        sides = [source] + [target] * (job.target != SHRAM)
        inside = sum(side == MemArea.Sram for side in sides)
        return cycles, Cost(sram=inside * job.nbytes, external=(len(sides) - inside) * job.nbytes)

    @property
    def unit(self) -> Shape:
        """Blocks are multiples of this."""
        unit = self._arch.ofm_ublock
        return int(unit.height), int(unit.width), int(unit.depth)

    def kernel(self, job: Kernel) -> Cost:
        """What a kernel takes that need not wait: the most of its arithmetic and of each memory."""
        cost = self.try_kernel(job)
        if cost is None:
            raise ValueError(f"a block of {job.block} does not fit into the accelerator's memory")
        return cost

    def try_kernel(self, job: Kernel) -> Cost | None:
        """The same, None where the job's block does not fit."""
        query = self._query(job)
        if query is None:
            return None
        activation = Op.LUT if job.table else Op.Relu if job.clamps else None
        compute = npu_performance.measure_cycle_cost(self._arch, _operator(job), activation, query)
        access = npu_performance.measure_element_access(self._arch, query)
        bursts = npu_performance._estimate_memory_transfer_efficiency
        sides = [
            (self._area(job.ifm.region), access.ifm_read[0] * job.ifm.bits // 8, True, query.config.ifm_block, job.ifm),
            (self._area(job.ofm.region), access.ofm_write * job.ofm.bits // 8, False, query.config.ofm_block, job.ofm),
        ]
        if job.ifm2 is not None and access.ifm_read[1]:
            nbytes = access.ifm_read[1] * job.ifm2.bits // 8
            sides.append((self._area(job.ifm2.region), nbytes, True, query.config.ifm_block, job.ifm2))
        traffic, paid = {MemArea.Sram: 0.0}, {MemArea.Sram: 0.0}
        for area, nbytes, reads, block, plane in sides:
            scaled = bursts(
                self._arch, reads, area, _format(plane), plane.bits, block, Shape4D(1, *plane.shape), nbytes
            )
            traffic[area] = traffic.get(area, 0.0) + nbytes
            paid[area] = paid.get(area, 0.0) + scaled
        constants = self._area(job.weight_region)
        nbytes = job.weight_bytes * max(1, access.weights_refetch) + job.scale_bytes
        traffic[constants] = traffic.get(constants, 0.0) + nbytes
        paid[constants] = paid.get(constants, 0.0) + nbytes
        widths = self._arch.memory_bandwidths_per_cycle
        cycles = max(float(compute.op_cycles), *(scaled / widths[area] for area, scaled in paid.items()))
        outside = sum(nbytes for area, nbytes in traffic.items() if area != MemArea.Sram)
        return Cost(0, round(cycles), int(compute.op_macs), round(traffic[MemArea.Sram]), round(outside))

    def _area(self, region: int) -> Any:
        if region in self._memories.weights:
            return self._arch.permanent_storage_mem_area
        if region in self._memories.fast:
            return self._arch.fast_storage_mem_area
        return self._arch.feature_map_storage_mem_area

    def _config(self, job: Kernel) -> Any:
        height, width, depth = job.block
        second = None if job.ifm2 is None else _block(job.ifm2.shape)
        return architecture_allocator.try_block_config(
            architecture_features.Block(width, height, depth),
            self._arch,
            _block_type(job),
            _block(job.ofm.shape),
            _block(job.ifm.shape),
            second,
            job.ifm2 is not None and job.ifm2.shape == (1, 1, 1),
            job.ifm.bits,
            job.part_kernel,
            _kernel(job),
            2 if job.table else 0,
            True,
            resampling_mode(job.upscale),
        )

    def _query(self, job: Kernel) -> Any:
        config = self._config(job)
        if config is None:
            return None
        config.ofm_block = Shape4D(1, *job.block)
        query = npu_performance.PerformanceQuery(_block_type(job))
        for name, plane in (("ifm", job.ifm), ("ofm", job.ofm), ("ifm2", job.ifm2)):
            if plane is not None:
                setattr(query, f"{name}_shape", Shape4D(1, *plane.shape))
                setattr(query, f"{name}_format", _format(plane))
                setattr(query, f"{name}_bits", plane.bits)
                setattr(query, f"{name}_memory_area", self._area(plane.region))
        query.kernel, query.config = _kernel(job), config
        if job.scale_bytes:
            query.const_shape = Shape4D(1, 1, 1, job.ofm.shape[2])
            query.const_memory_area = self._area(job.weight_region)
        return query


@cache
def _architecture(accelerator: str) -> Any:
    with contextlib.redirect_stdout(io.StringIO()):  # Vela says that its defaults are defaults
        return architecture_features.create_default_arch(architecture_features.Accelerator(accelerator))


def _kernel(job: Kernel) -> Any:
    (height, width), (down, right), (dilate_y, dilate_x) = job.kernel, job.strides, job.dilations
    return VelaKernel(width, height, right, down, dilate_x, dilate_y)


def _block(shape: tuple[int, int, int]) -> Any:
    return architecture_features.Block(shape[1], shape[0], shape[2])


def _format(plane: Plane) -> Any:
    return TensorFormat.NHCWB16 if plane.bricks else TensorFormat.NHWC


def _block_type(job: Kernel) -> Any:
    if job.kind == "pooling":
        return NpuBlockType.ReduceSum if job.mode == _SUM else NpuBlockType.Pooling
    kinds = {"depthwise": NpuBlockType.ConvolutionDepthWise, "elementwise": NpuBlockType.ElementWise}
    return kinds.get(job.kind, NpuBlockType.ConvolutionMxN)


def _operator(job: Kernel) -> Any:
    """Vela's name for what matters to its output stage."""
    if job.kind == "pooling":
        return (Op.MaxPool, Op.AvgPool, Op.ReduceSum)[job.mode]
    if job.kind == "elementwise":
        names = (Op.Mul, Op.Add, Op.Sub, Op.Minimum, Op.Maximum, Op.LeakyRelu, Op.Abs, Op.CLZ, Op.SHR, Op.SHL)
        return names[job.mode]
    return Op.DepthwiseConv2DBias if job.kind == "depthwise" else Op.Conv2DBias
