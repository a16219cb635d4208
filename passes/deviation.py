"""How far a network's outputs move when its weights change: the label-free loss of compression.

The deviation is sum |y - y0|**2 / sum |y0|**2 over all feeds, y0 being the float network's output; its mean over the
outputs that are floating-point. Where an output is a Softmax, LogSoftmax or Sigmoid, logits count: what goes into it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from tilewright.errors import DataError
from tilewright.passes.execution import Feed, runner
from tilewright.passes.parts import advance, crossing, part, reads
from tilewright.passes.weights import Weight

Array = npt.NDArray[Any]
Results = Iterable[Mapping[str, Array]]
Run = Callable[[Feed], dict[str, Array]]
Probe = Callable[[Array], float]
"""The deviation with another array in the place of one weight."""
ValueProbe = Callable[[Callable[[Array], Array]], float]
"""The deviation with one value changed so in every feed."""

_ACTIVATIONS = frozenset({"Softmax", "LogSoftmax", "Sigmoid"})


class Deviation:
    """The deviation of variants of one network over the same feeds.

    Attributes:
        names: the values that are compared.
    """

    def __init__(self, model: ir.Model, feeds: Iterable[Feed]) -> None:
        """
        Args:
            model: the float network, normalised; left unchanged.
            feeds: inputs by name, of the model's shapes. All are kept.

        Raises:
            DataError: no feed, no floating-point output, or outputs with NaN or infinity.
            ModelError: onnxruntime cannot run the model.
        """
        self._model, self._feeds = model, list(feeds)
        if not self._feeds:
            raise DataError("there is no calibration data; give at least one sample")
        run = runner(model, [_logits(output).name or "" for output in model.graph.outputs])
        self._wanted = [run(feed) for feed in self._feeds]
        self.names = [name for name, array in self._wanted[0].items() if array.dtype.kind == "f"]
        if not self.names:
            raise DataError("the model has no floating-point output whose error could be measured")
        for count, outputs in enumerate(self._wanted):
            for name in self.names:
                if not np.isfinite(outputs[name]).all():
                    raise DataError(f"sample {count}: the float network's '{name}' has NaN or infinite elements")
        self._energy = {name: sum(_energy(outputs[name]) for outputs in self._wanted) or 1.0 for name in self.names}
        self._free: list[str] = []
        self._run: Run | None = None

    def of(self, results: Results) -> float:
        """The deviation of a variant's results, feed by feed; infinite where any is NaN or infinite."""
        error = dict.fromkeys(self.names, 0.0)
        for wanted, outputs in zip(self._wanted, results, strict=True):
            for name in self.names:
                error[name] += _energy(np.subtract(outputs[name], wanted[name], dtype=np.float64))
        mean = sum(error[name] / self._energy[name] for name in self.names) / len(self.names)
        return mean if math.isfinite(mean) else math.inf

    def joint(self, weights: Mapping[str, Array]) -> float:
        """The deviation with several weights replaced at once.

        One session serves all calls: its weights are inputs.

        Args:
            weights: arrays by initializer, the same names in every call.
        """
        if self._run is None or self._free != list(weights):
            self._free = list(weights)
            given = [value.name or "" for value in self._model.graph.inputs]
            self._run = runner(part(self._model, [*given, *self._free], self.names))
        run = self._run
        return self.of(run({**feed, **weights}) for feed in self._feeds)

    def probes(self, weights: Sequence[Weight]) -> Iterator[tuple[Weight, Probe]]:
        """For each weight a way to try arrays in its place, in graph order; a probe is valid until the next one.

        A probe runs only what comes after the weight: what comes before is computed once and kept, for all feeds, as
        long as something after reads it. All other weights are constants, which onnxruntime is fastest with.
        """
        nodes = list(self._model.graph)
        read_by = [reads(node) for node in nodes]
        first = {weight: min(at for at, read in enumerate(read_by) if weight.value in read) for weight in weights}
        live: list[Feed] = self._feeds
        for weight in sorted(weights, key=first.__getitem__):
            live = advance(self._model, live, crossing(self._model.graph, nodes, read_by, first[weight], self.names))
            name = weight.value.name or ""
            run = runner(part(self._model, [*live[0], name], self.names))
            yield weight, self._probe(run, name, live)

    def value_probes(self, names: Sequence[str]) -> Iterator[tuple[str, ValueProbe]]:
        """For each value (an input, or what a node makes) a way to try changes to it, in graph order.

        As with ``probes``, only what comes after the value runs, and a probe is valid until the next one.
        """
        nodes = list(self._model.graph)
        read_by = [reads(node) for node in nodes]
        made = {value.name or "": 0 for value in self._model.graph.inputs}
        made |= {value.name or "": at + 1 for at, node in enumerate(nodes) for value in node.outputs}
        live: list[Feed] = self._feeds
        for name in sorted(names, key=made.__getitem__):
            live = advance(self._model, live, crossing(self._model.graph, nodes, read_by, made[name], self.names))
            run = runner(part(self._model, list(live[0]), self.names))
            yield name, self._value_probe(run, name, live)

    def _value_probe(self, run: Run, name: str, live: list[Feed]) -> ValueProbe:
        return lambda change: self.of(run({**feed, name: change(feed[name])}) for feed in live)

    def _probe(self, run: Run, name: str, live: list[Feed]) -> Probe:
        return lambda array: self.of(run({**feed, name: array}) for feed in live)


def _logits(output: ir.Value) -> ir.Value:
    node = output.producer()
    if node is None or node.domain != "" or node.op_type not in _ACTIVATIONS or node.inputs[0] is None:
        return output
    return node.inputs[0]


def _energy(array: Array) -> float:
    flat = array.ravel().astype(np.float64, copy=False)
    return float(flat @ flat)
