"""ONNX in, Relax out: ``load`` reads and normalises a model, ``to_relax`` imports the result into TVM."""

from __future__ import annotations

from tilewright.frontend.importer import to_relax
from tilewright.frontend.loader import load

__all__ = ["load", "to_relax"]
