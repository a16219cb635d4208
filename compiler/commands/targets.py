"""List targets and the devices of this machine, or show one target's facts."""

from __future__ import annotations

import argparse
import dataclasses
import json
from typing import Any

from rich.console import Console
from rich.table import Table

from tilewright.errors import UsageError
from tilewright.runtime import devices
from tilewright.targets import device_facts, device_names, families


def configure(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.add_argument("name", nargs="?", help="a target; all of them if left out")


def execute(args: argparse.Namespace, out: Console, err: Console) -> int:
    """Does the work."""
    if args.name is None:
        _list(args.json, out)
        return 0
    if args.name not in device_names():
        inside = [name for name in device_names() if name.split("-")[0] == args.name]
        if not inside:
            raise UsageError(f"no target {args.name!r}; there are: {', '.join([*families(), *device_names()])}")
        facts: dict[str, Any] = {name: dict(device_facts(name)) for name in inside}
    else:
        facts = {args.name: dict(device_facts(args.name))}
    if args.json:
        print(json.dumps(facts, indent=2))
        return 0
    for name, table in facts.items():
        out.print(name, style="bold", markup=False)
        for key, value in table.items():
            out.print(f"  {key} = {value}", markup=False, highlight=False)
    return 0


def _list(as_json: bool, out: Console) -> None:
    here = [dataclasses.asdict(device) for device in devices()]
    if as_json:
        print(
            json.dumps({"targets": {name: dict(device_facts(name)) for name in device_names()}, "here": here}, indent=2)
        )
        return
    table = Table("target", "what it is", box=None, pad_edge=False)
    for name in device_names():
        table.add_row(name, str(device_facts(name).get("description", "")))
    out.print(table)
    out.print(f"\nA bare family name ({', '.join(families())}) is its generic device; cpu is this host's best level.")
    out.print("\nDevices of this machine (for --device):")
    for number, device in enumerate(here):
        out.print(
            f"  {number}  {device['backend']}: {device['name']} ({device['driver']})", markup=False, highlight=False
        )
