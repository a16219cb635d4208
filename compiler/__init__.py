"""Tilewright: an ahead-of-time compiler backend for compressed neural networks.

``tilewright.compile`` makes an ``Artifact`` from an ONNX model; ``tilewright.runtime.Session`` runs it. Importing this
package loads neither TVM nor ONNX, so that ``tilewright.runtime`` needs NumPy alone.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tilewright.artifact import Artifact
    from tilewright.compression import compress
    from tilewright.driver import compile
    from tilewright.recipe import Recipe

__version__ = "0.1.0"
__all__ = ["Artifact", "Recipe", "__version__", "compile", "compress"]

_HOMES = {"Artifact": "artifact", "compile": "driver", "compress": "compression", "Recipe": "recipe"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'tilewright' has no attribute {name!r}")
    return getattr(importlib.import_module(f"tilewright.{_HOMES[name]}"), name)
