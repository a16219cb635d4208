"""Compile an ONNX model to an artifact.

Exit code 5 if ``--verify`` finds a difference; the artifact is not written then.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from rich.console import Console
from rich.table import Table

from tilewright.commands.options import add_model_options, check_paths, parse_shapes
from tilewright.errors import AccuracyError
from tilewright.progress import Phases
from tilewright.recipe import Recipe
from tilewright.recipe_loader import load_recipe

if TYPE_CHECKING:
    from tilewright.artifact import Artifact
    from tilewright.report import Report
    from tilewright.verify import Difference, Verification


def configure(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    add_model_options(parser)
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help="artifact to write")
    parser.add_argument(
        "--target",
        default="cpu",
        help="see 'tilewright targets'; default: cpu, this host's best level; KEY=VALUE after a colon changes a fact "
        "of the device, for example mali-g78:weight_images=65536",
    )
    parser.add_argument("--recipe", help="preset name or TOML file; docs/recipes.md shows every key")
    parser.add_argument("--precision", choices=("fp32", "fp16"), help="overrides the recipe's precision")
    parser.add_argument("--verify", action="store_true", help="compare with onnxruntime, per layer where it differs")
    parser.add_argument(
        "--selftest", action="store_true", help="store onnxruntime's answer for 'tilewright run --selftest'"
    )


def execute(args: argparse.Namespace, out: Console, err: Console) -> int:
    """Does the work."""
    shapes = parse_shapes(args.shape)
    check_paths(args.model, args.output, args.report)
    recipe = load_recipe(args.recipe)
    if args.precision:
        recipe = msgspec.structs.replace(recipe, precision=args.precision)
    phases = Phases(None if args.json else err, args.verbose, args.dump)
    with phases.show(f"compiling {args.model.name}", total=8 + 7 * recipe.compresses + args.verify):
        from tilewright.driver import compile

        artifact = compile(
            args.model, args.target, recipe=recipe, shapes=shapes, calibration=args.calib, observe=phases.observe
        )
        # A compressed network is held to itself in onnxruntime; what compression cost is the recipe's gate's business.
        source = artifact.graph if recipe.compresses else args.model
        plain = Recipe(precision=recipe.precision)
        verification = None
        if args.verify:
            from tilewright.verify import verify

            verification = verify(source, artifact, args.target, recipe=plain, shapes=shapes)
            phases.observe("verify", str)
        if args.selftest:
            from tilewright.verify import with_selftest

            artifact = with_selftest(source, artifact)
    if verification is not None and not verification.agrees:
        _show_differences(verification, args.json, out)
        worst = max(verification.outputs, key=lambda item: item.error)
        raise AccuracyError(
            f"{args.model}: output {worst.name} differs from onnxruntime by {worst.error:.2e} relative L2 "
            f"(allowed {worst.tolerance:.0e}); {args.output} was not written"
        )
    artifact.save(args.output)
    if args.report is not None:
        from tilewright.report_html import save

        save(artifact.report, args.report)
    summary = _summary(args.output, artifact, phases, verification)
    if args.json:
        print(json.dumps(summary, indent=2))
    else:
        if recipe.compresses:
            _show_report(artifact.report, out)
        _show_summary(summary, out)
    return 0


def _show_report(report: Report, out: Console) -> None:
    from tilewright.report import tables

    for table in tables(report):
        out.print(table)


def _summary(path: Path, artifact: Artifact, phases: Phases, verification: Verification | None) -> dict[str, Any]:
    from tilewright.artifact_sizes import sizes

    plan = artifact.plan
    spent = sizes(memoryview(path.read_bytes()))
    return {
        "artifact": str(path),
        "target": plan.target,
        "bytes": spent.total,
        "weight_bytes": sum(spent.constants.values()),
        "code_bytes": spent.rest["code"],
        "arena_bytes": plan.arena_bytes,
        "launches": len(plan.launches),
        "report": artifact.report.to_json() if artifact.report is not None else None,
        "seconds": {name: round(seconds, 3) for name, seconds in phases.seconds.items()},
        "verified": [dataclasses.asdict(item) for item in verification.outputs] if verification else None,
    }


def _show_summary(summary: dict[str, Any], out: Console) -> None:
    seconds = sum(summary["seconds"].values())
    out.print(
        f"{summary['artifact']}: {summary['bytes']:,} bytes for {summary['target']} "
        f"({summary['weight_bytes']:,} weights, {summary['code_bytes']:,} kernels), "
        f"{summary['launches']} launches, arena {summary['arena_bytes']:,} bytes, compiled in {seconds:.1f} s",
        highlight=False,
    )
    for item in summary["verified"] or ():
        out.print(
            f"verified {item['name']}: relative L2 {item['error']:.1e} to onnxruntime",
            highlight=False,
            markup=False,
        )


def _show_differences(verification: Verification, as_json: bool, out: Console) -> None:
    if as_json:
        return
    table = Table("tensor", "relative L2", "allowed", title="Differences from onnxruntime, in graph order")
    differing: list[Difference] = [item for item in verification.layers if not item.agrees]
    for item in differing[:20]:
        table.add_row(item.name, f"{item.error:.2e}", f"{item.tolerance:.0e}")
    if differing:
        out.print(table)
        out.print(f"The first of {len(differing)} differing tensors is {differing[0].name}.", markup=False)
    else:
        out.print("Every layer agrees when computed unfused: the difference comes from fusion.", markup=False)
