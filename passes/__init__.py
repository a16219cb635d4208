"""Graph passes: each file holds one, an ONNX-to-ONNX rewrite that any ONNX tool can still read and run.

``normalise`` is the frontend's pipeline. Read it top to bottom; a failing pass is reported with the passes that ran
before it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import onnx_ir as ir

from tilewright.errors import ModelError, TilewrightError
from tilewright.passes.eliminate_identity import EliminateIdentity
from tilewright.passes.fix_shapes import FixShapes
from tilewright.passes.fold_batch_norm import FoldBatchNorm
from tilewright.passes.fold_constants import FoldConstants
from tilewright.passes.infer_shapes import InferShapes
from tilewright.passes.inline_branches import InlineBranches
from tilewright.passes.inline_functions import InlineFunctions
from tilewright.passes.lift_constants import LiftConstants
from tilewright.passes.name_nodes import NameNodes
from tilewright.passes.remove_unused import RemoveUnused

Shapes = Mapping[str, Sequence[int]]


def normalise(model: ir.Model, shapes: Shapes, keep: Callable[[ir.Node], bool]) -> ir.Model:
    """Rewrites a model into the form the importer reads: static shapes, folded constants, named nodes.

    Args:
        model: changed in place.
        shapes: the shape of each input that has symbolic dimensions, by input name.
        keep: whether a node can be imported as it is; other nodes that have a function body are inlined.

    Raises:
        UsageError: a shape names no input, has the wrong rank, or a symbolic dimension is left open.
        ModelError: the graph is invalid.
    """
    return run(
        model,
        [
            LiftConstants(),
            NameNodes(),
            FixShapes(shapes),
            InlineFunctions(keep),
            FoldConstants(),
            InlineBranches(),
            FoldConstants(),
            EliminateIdentity(),
            FoldBatchNorm(),
            RemoveUnused(),
            InferShapes(),
            NameNodes(),
        ],
    )


def run(model: ir.Model, passes: Sequence[ir.passes.PassBase]) -> ir.Model:
    """Applies passes in order.

    Raises:
        TilewrightError: what a pass raises on purpose, as it is.
        ModelError: any other failure, with the name of the pass and of those before it.
    """
    done: list[str] = []
    for step in passes:
        try:
            model = step(model).model
        except Exception as error:
            cause = own_error(error)
            if cause is not None:
                raise cause from None
            before = f" after {', '.join(done)}" if done else ""
            raise ModelError(f"pass {type(step).__name__} failed{before}: {_deepest(error)}") from error
        done.append(type(step).__name__)
    return model


def own_error(error: BaseException) -> TilewrightError | None:
    """The TilewrightError inside a chain of exceptions, or None."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, TilewrightError):
            return cause
        cause = cause.__cause__
    return None


def _deepest(error: BaseException) -> BaseException:
    while error.__cause__ is not None:
        error = error.__cause__
    return error
