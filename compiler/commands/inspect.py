"""Show what an artifact holds: sizes, buffers, kernels in launch order; with --measure, how long each takes here."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from tilewright import roofline
from tilewright.commands import nna_tables
from tilewright.commands.run import add_session_options
from tilewright.numeric import sample_inputs
from tilewright.runtime import Session

if TYPE_CHECKING:
    from tilewright.artifact import Artifact
    from tilewright.artifact_sizes import Sizes
    from tilewright.plan import Launch

_SECONDS = 0.5  # of runs whose kernels are timed
_MEASURED = (("us", ".1f"), ("floor_us", ".1f"), ("share", ".0%"))


def configure(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.add_argument("artifact", type=Path)
    parser.add_argument("--plan", action="store_true", help="print the plan's text form instead")
    parser.add_argument("--stream", action="store_true", help="print the commands of an NNA's streams instead")
    parser.add_argument(
        "--measure", action="store_true", help="run it here, and show each kernel's time beside this machine's floor"
    )
    add_session_options(parser)


def execute(args: argparse.Namespace, out: Console, err: Console) -> int:
    """Does the work."""
    from tilewright.artifact import Artifact
    from tilewright.artifact_sizes import sizes

    artifact = Artifact.load(args.artifact)
    if args.plan:
        print(artifact.plan.text(), end="")
        return 0
    if args.stream:
        print(nna_tables.disassemble(artifact.plan))
        return 0
    summary = describe(artifact, sizes(memoryview(args.artifact.read_bytes())))
    if args.measure:
        summary["machine"] = _measure(summary["launches"], args)
    if args.json:
        print(json.dumps(summary, indent=2))
        return 0
    _show(summary, out)
    return 0


def describe(artifact: Artifact, sizes: Sizes) -> dict[str, Any]:
    """The artifact as a JSON-able dict.

    ``bytes`` of a launch are those of the tensors that it reads and writes, ``operations`` what lower/operations.py
    counts (None in artifacts that do not tell); ``file_bytes`` of a constant are what it
    takes in the file, 0 where an earlier one has the same contents. They and those under ``file`` add up to the file.
    """
    plan = artifact.plan

    def tensor(index: int) -> dict[str, Any]:
        buffer = plan.buffers[index]
        return {"name": buffer.name, "dtype": buffer.dtype, "shape": list(buffer.shape)}

    told = artifact.metadata.get("operations")

    def launches(listed: Sequence[Launch], stage: str) -> list[dict[str, Any]]:
        counts = told.get(stage) if isinstance(told, dict) else None
        if not isinstance(counts, list) or len(counts) != len(listed):
            counts = [None] * len(listed)
        return [
            {
                "kernel": launch.kernel,
                "layers": list(launch.layers),
                "grid": list(launch.grid),
                "block": list(launch.block),
                "bytes": sum(plan.buffers[arg].nbytes for arg in dict.fromkeys(launch.args)),
                "operations": count if isinstance(count, int) else None,
            }
            for launch, count in zip(listed, counts, strict=True)
        ]

    images = [image for module in plan.modules for image in module.images]
    return {
        "target": plan.target,
        "backend": plan.backend,
        "inputs": [tensor(index) for index in plan.inputs],
        "outputs": [tensor(index) for index in plan.outputs],
        "bytes": {
            "file": sizes.total,
            "weights": sum(sizes.constants.values()),
            "kernels": sizes.rest["code"],
            "arena": plan.arena_bytes,
            "scratch": plan.scratch_bytes,
            "static": plan.static_bytes,
            "temporary": plan.temporary_bytes,
        },
        "file": dict(sizes.rest),
        "constants": [
            {
                "name": buffer.name,
                "dtype": buffer.dtype,
                "shape": list(buffer.shape),
                "storage": buffer.storage,
                "bytes": buffer.nbytes,
                "file_bytes": sizes.constants[buffer.name],
            }
            for buffer in plan.constants()
        ],
        "images": [{"kind": image.kind, "arch": image.arch, "bytes": len(image.data)} for image in images],
        "prologue": launches(plan.prologue, "prologue"),
        "launches": launches(plan.launches, "launches"),
        "metadata": dict(artifact.metadata),
        "selftest": artifact.selftest is not None,
    }


def _measure(launches: list[dict[str, Any]], args: argparse.Namespace) -> dict[str, Any]:
    """Adds ``us``, ``floor_us`` and ``share`` to the launches; returns the device and the speeds that the floor is made
    of."""
    with Session(args.artifact, device=args.device, threads=args.threads) as session:
        feeds = sample_inputs(session.inputs)
        session.run(feeds)  # warm caches
        session.enable_profile()
        begin = time.perf_counter()
        while time.perf_counter() - begin < _SECONDS:
            session.run(feeds)
        times, device = session.profile(), session.device
    machine = roofline.measure()
    for launch, measured in zip(launches, times, strict=True):
        launch["us"] = measured.total_ns / measured.runs / 1e3
        launch["floor_us"] = machine.floor_us(launch["bytes"], launch["operations"] or 0)
        launch["share"] = launch["floor_us"] / launch["us"] if launch["us"] else None
    return {"device": device, **asdict(machine)}


def _show(summary: dict[str, Any], out: Console) -> None:
    sizes = summary["bytes"]
    out.print(f"target {summary['target']} on {summary['backend']}", markup=False, highlight=False)
    for way in ("inputs", "outputs"):
        for item in summary[way]:
            shape = "x".join(map(str, item["shape"])) or "scalar"
            out.print(f"{way[:-1]} {item['name']}: {item['dtype']} {shape}", markup=False, highlight=False)
    out.print(
        f"file {sizes['file']:,} bytes: weights {sizes['weights']:,}, kernels {sizes['kernels']:,}; "
        f"arena {sizes['arena']:,} and scratch {sizes['scratch']:,} bytes at run",
        highlight=False,
    )
    if summary["prologue"]:
        out.print(
            f"at load {len(summary['prologue'])} launches make {sizes['static']:,} bytes of weights, "
            f"with {sizes['temporary']:,} bytes for the time being",
            highlight=False,
        )
    coded = [constant for constant in summary["constants"] if constant["storage"] != "raw"]
    if coded:
        before, after = (sum(constant[key] for constant in coded) for key in ("bytes", "file_bytes"))
        out.print(f"{len(coded)} entropy-coded constants: {after:,} bytes for {before:,}", highlight=False)
    versions = ", ".join(f"{name} {version}" for name, version in summary["metadata"].get("tools", {}).items())
    out.print(f"made by {versions or 'unknown tools'}", markup=False, highlight=False)
    on_cpu = summary["backend"] == "cpu"
    measured = "machine" in summary
    table = Table("#", "kernel", *(() if on_cpu else ("grid", "block")))
    for heading in ("bytes", "operations", *(("us", "floor us", "of floor") if measured else ())):
        table.add_column(heading, justify="right")
    table.add_column("layers")
    for stage, mark in (("prologue", "load "), ("launches", "")):
        for index, launch in enumerate(summary[stage]):
            cells = [] if on_cpu else [_dims(launch["grid"]), _dims(launch["block"])]
            cells += [f"{launch['bytes']:,}", "" if launch["operations"] is None else f"{launch['operations']:,}"]
            if measured:
                cells += [_figure(launch.get(key), form) for key, form in _MEASURED]
            table.add_row(f"{mark}{index}", launch["kernel"], *cells, ", ".join(launch["layers"]))
    out.print(table)
    if "nna" in summary["metadata"]:
        nna_tables.show(summary["metadata"]["nna"], out)
    if measured:
        machine = summary["machine"]
        out.print(f"measured on {machine['device']}", markup=False, highlight=False)
        out.print(
            f"floor: one core of this machine copies {machine['bytes_per_s'] / 1e9:.1f} GB/s and computes "
            f"{machine['operations_per_s'] / 1e9:.0f} fp32 GOP/s in NumPy; data in caches and integers are faster",
            highlight=False,
        )


def _figure(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def _dims(size: list[int]) -> str:
    return "x".join(map(str, size))
