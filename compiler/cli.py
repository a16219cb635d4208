"""The command line: finds the verb, and turns errors into a message and an exit code."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence

from rich.console import Console

from tilewright import __version__
from tilewright.commands import bench, compile, compress, inspect, run, targets
from tilewright.errors import TilewrightError

COMMANDS = (compile, compress, run, bench, inspect, targets)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command. Returns the exit code: 0 done, 2 usage, 3 model, 4 device, 5 accuracy gate missed."""
    args = _parser().parse_args(argv)
    out, err = Console(soft_wrap=True), Console(stderr=True, soft_wrap=True)
    try:
        return int(args.execute(args, out, err))
    except TilewrightError as error:
        if args.json:
            print(json.dumps({"error": type(error).__name__, "message": str(error)}))
        err.print(f"tilewright: {error}", style="red", markup=False, highlight=False)
        return error.exit_code
    except BrokenPipeError:  # the reader of the pipe went away; keep the interpreter's last flush quiet too
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        err.print("tilewright: interrupted", markup=False)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tilewright", description="Compiles ONNX models for small devices.")
    parser.add_argument("--version", action="version", version=f"tilewright {__version__}")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    common.add_argument("-v", "--verbose", action="store_true", help="explain what is done")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for module in COMMANDS:
        text = str(module.__doc__).splitlines()[0]
        name = module.__name__.rpartition(".")[2]
        sub = commands.add_parser(name, parents=[common], help=text, description=text)
        module.configure(sub)
        sub.set_defaults(execute=module.execute)
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
