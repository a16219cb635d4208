"""Compress an ONNX model by a recipe: ONNX in, smaller ONNX out.

Exit code 5 if the recipe's accuracy gate is missed; nothing is written then.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from rich.console import Console

from tilewright.commands.options import add_model_options, check_paths, parse_shapes
from tilewright.files import replace_file
from tilewright.progress import Phases
from tilewright.recipe_loader import load_recipe


def configure(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    add_model_options(parser)
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help="ONNX file to write")
    parser.add_argument("--recipe", required=True, help="preset name or TOML file; docs/recipes.md shows every key")
    parser.add_argument(
        "--astc", type=Path, metavar="DIR", help="also write weights that are stored as ASTC as .astc files"
    )


def execute(args: argparse.Namespace, out: Console, err: Console) -> int:
    """Does the work."""
    shapes = parse_shapes(args.shape)
    check_paths(args.model, args.output, args.report)
    recipe = load_recipe(args.recipe)
    phases = Phases(None if args.json else err, args.verbose, args.dump)
    with phases.show(f"compressing {args.model.name}", total=7):
        from tilewright.compression import run

        done = run(args.model, recipe, shapes=shapes, calibration=args.calib, observe=phases.observe)
    data = done.to_proto().SerializeToString()
    textures = []
    if args.astc is not None:
        from tilewright.textures import export

        textures = export(done.model, args.astc)
    replace_file(args.output, [data], "the model")
    if args.report is not None:
        from tilewright.report_html import save

        save(done.report, args.report)
    if args.json:
        seconds = {name: round(value, 3) for name, value in phases.seconds.items()}
        files = {"output": str(args.output), "textures": [str(path) for path in textures]}
        print(json.dumps({**files, "seconds": seconds, **done.report.to_json()}, indent=2))
        return 0
    from tilewright.report import tables

    for table in tables(done.report):
        out.print(table)
    for note in done.report.notes:
        out.print(note, highlight=False, markup=False)
    if textures:
        out.print(f"{args.astc}: {len(textures)} textures", highlight=False, markup=False)
    before, after = args.model.stat().st_size, len(data)
    out.print(
        f"{args.output}: {after:,} bytes, {after / before:.1%} of {args.model.name}", highlight=False, markup=False
    )
    return 0
