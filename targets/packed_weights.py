"""Compressed weights on their way through Relax: a call that unpacks them, and who asks for what it says.

The importer emits one call of ``tilewright.unpack`` a compressed weight. A target's ``prepare`` may replace layers that
use such a weight by kernels that read packed arrays, in an order of its own; calls that are left are expanded by
lower/unpack.py into kernels that run once, when the model is loaded.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import tvm
import tvm_ffi
from tvm import relax

from tilewright.formats.layouts.dense import Dense
from tilewright.formats.registry import Format, parse
from tilewright.formats.weight_form import WeightForm
from tilewright.plan import PackedParameter
from tilewright.targets.static import NUM_INPUT, packed_parameters

UNPACK = "tilewright.unpack"
ANY_MODE = "astcenc gives every block a mode of its own, which is decoded when the model is loaded and not in a kernel"


@dataclass(frozen=True)
class Unpack(WeightForm):
    """What an unpacking call says of its result.

    Attributes:
        name: Relax name hint of its layer.
    """

    name: str = ""

    def call(self, arrays: Sequence[Any]) -> Any:
        """The Relax call for flat arrays in the order of ``roles``; float32 of ``shape``."""
        out_type = relax.TensorType(self.shape, "float32")
        said = {**vars(self), "format": self.format.spec}
        return relax.call_pure_packed(UNPACK, tvm.ir.StringImm(json.dumps(said)), *arrays, ty_args=[out_type])

    @classmethod
    def of(cls, expr: Any) -> tuple[Unpack, tuple[Any, ...]] | None:
        """An unpacking call taken apart into what it says and its arrays; None for any other expression."""
        if getattr(getattr(expr, "op", None), "name", "") != "relax.call_pure_packed":
            return None
        function, *arguments = expr.args
        if str(getattr(function, "global_symbol", "")) != UNPACK:
            return None
        text, *arrays = arguments
        said: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value
            for key, value in json.loads(str(text.value)).items()
        }
        return cls(**{**said, "format": parse(said["format"])}), tuple(arrays)


@dataclass(frozen=True)
class CompressedWeight:
    """The weight matrix [outputs, depth] of a layer, as it is packed.

    Attributes:
        arrays: by role, in the shapes that formats give them.
        source: its packed parameters by role; names and storage of what a target makes of it.
    """

    unpack: Unpack
    arrays: Mapping[str, npt.NDArray[Any]]
    source: Mapping[str, PackedParameter]

    @property
    def format(self) -> Format:
        return self.unpack.format

    @property
    def name(self) -> str:
        """Of the weight: its arrays are named after it."""
        return self.source[self.unpack.roles[0]].name.rpartition(".")[0]


class PackedWeights:
    """The packed parameters of ``main`` while a target rewrites it.

    Attributes:
        added: parameters that the target made, to follow those that are still in use.
        unpacked_bytes: what all compressed weights of the network would take in float32.
    """

    def __init__(self, main: Any, packed: Sequence[PackedParameter]) -> None:
        calls = [Unpack.of(binding.value) for block in main.body.blocks for binding in block.bindings] if packed else []
        self.unpacked_bytes = sum(4 * math.prod(found[0].matrix) for found in calls if found is not None)
        self._known = dict(zip(packed_parameters(main), packed, strict=True))
        self._shared = _shared_parameters(main) if packed else set()
        self.added: dict[Any, PackedParameter] = {}

    def find(self, expr: Any, lookup: Callable[[Any], Any]) -> tuple[CompressedWeight, bool] | None:
        """The compressed weight that an operand is, and whether it was transposed on the way; None if it is none, or if
        somebody else reads it too: then it is unpacked anyway, and an artifact should not hold it twice.

        Args:
            lookup: what a variable is bound to.
        """
        transposed = False
        value = lookup(expr) if isinstance(expr, relax.Var) else expr
        if getattr(getattr(value, "op", None), "name", "") == "relax.permute_dims" and len(value.ty.shape) == 2:
            axes = value.attrs.axes
            transposed = axes is None or [int(axis) % 2 for axis in axes] == [1, 0]
            value = lookup(value.args[0]) if isinstance(value.args[0], relax.Var) else None
        found = None if value is None else Unpack.of(value)
        if found is None or any(array not in self._known or array in self._shared for array in found[1]):
            return None
        unpack, variables = found
        source = {role: self._known[var] for role, var in zip(unpack.roles, variables, strict=True)}
        return CompressedWeight(unpack, {role: p.array for role, p in source.items()}, source), transposed

    def payload(self, weight: CompressedWeight) -> Any:
        """The Relax call that unpacks what a weight's layout keeps when the model is loaded, float32 of
        ``unpack.payload``."""
        unpack, (rows, columns) = weight.unpack, weight.unpack.payload
        variables = {id(parameter): var for var, parameter in self._known.items()}
        roles = tuple(role for role in unpack.roles if role != "index")
        form = replace(unpack.format, layout=Dense())
        kept = Unpack(form, roles, (rows, columns), (rows, columns), (rows, 1, columns), (0, 1, 2), (rows, columns))
        return replace(kept, name=unpack.name).call([variables[id(weight.source[role])] for role in roles])

    def add(self, parameter: PackedParameter) -> Any:
        """A new parameter of ``main``, or the one that has the same name and content."""
        for var, known in self.added.items():
            same = known.name == parameter.name and known.array.shape == parameter.array.shape
            if same and np.array_equal(known.array, parameter.array):
                return var
        name = "".join(char if char.isalnum() and char.isascii() else "_" for char in parameter.name)
        var = relax.Var(name, relax.TensorType(parameter.array.shape, str(parameter.array.dtype)))
        self.added[var] = parameter
        return var

    def finish(self, main: Any) -> tuple[Any, tuple[PackedParameter, ...]]:
        """``main`` with the parameters that it uses now, and what they are."""
        inputs = list(main.params[: int(main.attrs[NUM_INPUT])]) if self._known else list(main.params)
        used = set(relax.analysis.free_vars(main.body))
        kept = {var: parameter for var, parameter in {**self._known, **self.added}.items() if var in used}
        attributes = {key: value for key, value in (main.attrs or {}).items() if key != NUM_INPUT}
        if kept:
            attributes[NUM_INPUT] = len(inputs)
        new = relax.Function([*inputs, *kept], main.body, main.ret_ty).with_attrs(attributes)
        return new, tuple(kept.values())


def _shared_parameters(main: Any) -> set[Any]:
    """The packed parameters of weights that are used more than once, or are results of the network."""
    bindings = [binding for block in main.body.blocks for binding in block.bindings]
    uses = Counter(var for binding in bindings for var in _variables(binding.value))
    uses.update(_variables(main.body.body))
    transposed = {
        binding.value.args[0]: binding.var
        for binding in bindings
        if getattr(getattr(binding.value, "op", None), "name", "") == "relax.permute_dims"
    }
    shared: set[Any] = set()
    for binding in bindings:
        found = Unpack.of(binding.value)
        if found is None:
            continue
        last = transposed.get(binding.var, binding.var)
        if uses[binding.var] > 1 or uses[last] > 1:
            shared.update(found[1])
    return shared


def _variables(expr: Any) -> list[Any]:
    """The variables that an expression reads, each as often as it does."""
    found: list[Any] = []

    def visit(node: Any) -> None:
        if isinstance(node, relax.Var):
            found.append(node)

    tvm_ffi.structural_walk(expr, visit, order="pre")
    return found
