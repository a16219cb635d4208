"""Other programs that quantize ONNX networks, run on the same networks and measured the same way.

They need the extra "rivals".
"""

from __future__ import annotations

from benchmarks.rivals import nncf, onnxruntime
from benchmarks.rivals.base import Rival

RIVALS: tuple[Rival, ...] = (*onnxruntime.RIVALS, *nncf.RIVALS)
"""In the order of the table."""
