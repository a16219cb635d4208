"""Show what an artifact holds: sizes, buffers, kernels in launch order."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from tilewright.artifact import Artifact
    from tilewright.artifact_sizes import Sizes
    from tilewright.plan import Launch


def configure(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.add_argument("artifact", type=Path)
    parser.add_argument("--plan", action="store_true", help="print the plan's text form instead")


def execute(args: argparse.Namespace, out: Console, err: Console) -> int:
    """Does the work."""
    from tilewright.artifact import Artifact
    from tilewright.artifact_sizes import sizes

    artifact = Artifact.load(args.artifact)
    if args.plan:
        print(artifact.plan.text(), end="")
        return 0
    summary = describe(artifact, sizes(memoryview(args.artifact.read_bytes())))
    if args.json:
        print(json.dumps(summary, indent=2))
        return 0
    _show(summary, out)
    return 0


def describe(artifact: Artifact, sizes: Sizes) -> dict[str, Any]:
    """The artifact as a JSON-able dict.

    ``bytes`` of a launch are those of the tensors that it reads and writes; ``file_bytes`` of a constant are what it
    takes in the file, 0 where an earlier one has the same contents. They and those under ``file`` add up to the file.
    """
    plan = artifact.plan

    def tensor(index: int) -> dict[str, Any]:
        buffer = plan.buffers[index]
        return {"name": buffer.name, "dtype": buffer.dtype, "shape": list(buffer.shape)}

    def launches(listed: Sequence[Launch]) -> list[dict[str, Any]]:
        return [
            {
                "kernel": launch.kernel,
                "layers": list(launch.layers),
                "grid": list(launch.grid),
                "block": list(launch.block),
                "bytes": sum(plan.buffers[arg].nbytes for arg in dict.fromkeys(launch.args)),
            }
            for launch in listed
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
        "prologue": launches(plan.prologue),
        "launches": launches(plan.launches),
        "metadata": dict(artifact.metadata),
        "selftest": artifact.selftest is not None,
    }


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
    table = Table("#", "kernel", *(() if on_cpu else ("grid", "block")), "bytes", "layers")
    table.columns[-2].justify = "right"
    for stage, mark in (("prologue", "load "), ("launches", "")):
        for index, launch in enumerate(summary[stage]):
            cells = [] if on_cpu else [_dims(launch["grid"]), _dims(launch["block"])]
            layers = ", ".join(launch["layers"])
            table.add_row(f"{mark}{index}", launch["kernel"], *cells, f"{launch['bytes']:,}", layers)
    out.print(table)


def _dims(size: list[int]) -> str:
    return "x".join(map(str, size))
