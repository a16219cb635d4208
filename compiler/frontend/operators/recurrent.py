"""RNN, GRU and LSTM, unrolled over the (static) sequence: two or three kernels a step."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from tvm import relax, te, tirx

from tilewright.frontend.operators.elementwise import pointwise
from tilewright.frontend.operators.layer import Expr, Layer, Operator, Refusal, const

STEPS = 512  # a longer sequence would make a program of thousands of kernels

Scalar = Callable[[Any], Any]


@dataclass(frozen=True)
class _Direction:
    """Weights and state of one direction.

    Attributes:
        inputs: the projected input with both biases that may be added to it, [T, B, gates * H].
        recurrent: [H, gates * H].
        bias: the recurrent bias [gates * H] where it must stay apart (GRU), else None.
    """

    index: int
    inputs: Expr
    recurrent: Expr
    bias: Expr | None
    activations: Sequence[Scalar]
    hidden: Expr
    cell: Expr | None
    peephole: Expr | None


Step = Callable[[Layer, _Direction, Expr, Expr, "Expr | None"], "tuple[Expr, Expr | None]"]


def _activation(name: str, alpha: float | None, beta: float | None, dtype: str) -> Scalar:
    def c(value: float) -> Any:
        return tirx.const(value, dtype)

    def pick(value: float | None, default: float) -> Any:
        return c(default if value is None else value)

    table: Mapping[str, tuple[float, float, Callable[[Any, Any, Any], Any]]] = {
        "affine": (1.0, 0.0, lambda x, a, b: a * x + b),
        "elu": (1.0, 0.0, lambda x, a, b: tirx.Select(x >= 0, x, a * (tirx.exp(x) - c(1)))),
        "hardsigmoid": (0.2, 0.5, lambda x, a, b: tirx.max(c(0), tirx.min(c(1), a * x + b))),
        "leakyrelu": (0.01, 0.0, lambda x, a, b: tirx.Select(x >= 0, x, a * x)),
        "relu": (0.0, 0.0, lambda x, a, b: tirx.max(x, c(0))),
        "scaledtanh": (1.0, 1.0, lambda x, a, b: a * tirx.tanh(b * x)),
        "sigmoid": (0.0, 0.0, lambda x, a, b: tirx.sigmoid(x)),
        "softplus": (0.0, 0.0, lambda x, a, b: tirx.log(c(1) + tirx.exp(x))),
        "softsign": (0.0, 0.0, lambda x, a, b: x / (c(1) + tirx.abs(x))),
        "tanh": (0.0, 0.0, lambda x, a, b: tirx.tanh(x)),
        "thresholdedrelu": (1.0, 0.0, lambda x, a, b: tirx.Select(x >= a, x, c(0))),
    }
    if name.lower() not in table:
        raise Refusal(f"activation '{name}' is not known to ONNX")
    first, second, function = table[name.lower()]
    a, b = pick(alpha, first), pick(beta, second)
    return lambda x: function(x, a, b)


def _activations(layer: Layer, defaults: Sequence[str], directions: int) -> list[list[Scalar]]:
    names = [str(n) for n in layer.strings("activations", list(defaults) * directions)]
    if len(names) != len(defaults) * directions:
        raise Refusal(f"{len(defaults) * directions} activations are needed, {len(names)} are given")
    alphas, betas = list(layer.numbers("activation_alpha", ())), list(layer.numbers("activation_beta", ()))
    # Parameters are listed only for the functions that take them, in order.
    with_alpha = {"affine", "elu", "hardsigmoid", "leakyrelu", "scaledtanh", "thresholdedrelu"}
    with_beta = {"affine", "hardsigmoid", "scaledtanh"}
    functions = []
    for name in names:
        alpha = alphas.pop(0) if name.lower() in with_alpha and alphas else None
        beta = betas.pop(0) if name.lower() in with_beta and betas else None
        functions.append(_activation(name, alpha, beta, layer.dtype()))
    size = len(defaults)
    return [functions[i * size : (i + 1) * size] for i in range(directions)]


def _recurrent(
    gates: int, defaults: Sequence[str], step: Step, keeps_cell: bool, bias_apart: bool
) -> Callable[..., Any]:
    def convert(layer: Layer) -> Sequence[Expr | None]:
        batch_first = bool(layer.integer("layout", 0))
        x = layer.emit(relax.op.permute_dims(layer[0], (1, 0, 2))) if batch_first else layer[0]
        length, batch = int(x.ty.shape[0]), int(x.ty.shape[1])
        if length > STEPS:
            raise Refusal(f"a sequence of {length} steps is too long to unroll", f"at most {STEPS} are; cut it up")
        names = {"forward": [False], "reverse": [True], "bidirectional": [False, True]}
        backward = names[layer.text("direction", "forward")]
        hidden = layer.shape(2)[2]
        functions = _activations(layer, defaults, len(backward))
        states, cells, outputs = [], [], []
        for index, reverse in enumerate(backward):
            bias, apart = _biases(layer, index, gates * hidden, bias_apart)
            direction = _Direction(
                index=index,
                inputs=_project(layer, x, index, bias),
                recurrent=_transposed(layer, 2, index),
                bias=apart,
                activations=functions[index],
                hidden=_initial(layer, 5, index, batch, hidden, batch_first),
                cell=_initial(layer, 6, index, batch, hidden, batch_first) if keeps_cell else None,
                peephole=_part(layer, 7, index) if keeps_cell else None,
            )
            sequence, state, cell = _unroll(layer, direction, step, length, reverse)
            outputs.append(sequence)
            states.append(state)
            cells.append(cell)
        return [
            _stack_sequence(layer, outputs) if layer.wants(0) else None,
            _stack_state(layer, states, 1) if layer.wants(1) else None,
            _stack_state(layer, cells, 2) if keeps_cell and layer.wants(2) else None,
        ]

    return convert


def _unroll(
    layer: Layer, direction: _Direction, step: Step, length: int, reverse: bool
) -> tuple[list[Expr], Expr, Expr | None]:
    state, cell = direction.hidden, direction.cell
    lengths = _lengths(layer, length)
    sequence: dict[int, Expr] = {}
    for t in reversed(range(length)) if reverse else range(length):
        gates = layer.emit(relax.op.strided_slice(direction.inputs, [0], [t], [t + 1]))
        gates = layer.emit(relax.op.squeeze(gates, [0]))
        new_state, new_cell = step(layer, direction, gates, state, cell)
        if lengths is None:
            state, cell, sequence[t] = new_state, new_cell, new_state
            continue
        # Behind its end a sequence keeps its state and yields zeros.
        alive = layer.emit(relax.op.greater(lengths, const(t, "int32")))
        state = layer.emit(relax.op.where(alive, new_state, state))
        cell = None if new_cell is None else layer.emit(relax.op.where(alive, new_cell, cell))
        sequence[t] = layer.emit(relax.op.where(alive, new_state, const(0, layer.dtype())))
    return [sequence[t] for t in range(length)], state, cell


def _lengths(layer: Layer, length: int) -> Expr | None:
    """Sequence lengths as a column [B, 1], or None where all have full length."""
    array = layer.array(4)
    if layer.optional(4) is None or (array is not None and (array == length).all()):
        return None
    return layer.emit(relax.op.reshape(layer[4], (-1, 1)))


def _part(layer: Layer, index: int, direction: int) -> Expr | None:
    """The slice of an input [D, ...] that belongs to a direction."""
    if layer.optional(index) is None:
        return None
    array = layer.array(index)
    if array is not None:
        return const(array[direction], layer.dtype(index))
    piece = layer.emit(relax.op.strided_slice(layer[index], [0], [direction], [direction + 1]))
    return layer.emit(relax.op.squeeze(piece, [0]))


def _transposed(layer: Layer, index: int, direction: int) -> Expr:
    array = layer.array(index)
    if array is not None:
        return const(array[direction].T, layer.dtype(index))
    return layer.emit(relax.op.permute_dims(_part(layer, index, direction)))


def _biases(layer: Layer, direction: int, size: int, apart: bool) -> tuple[Expr | None, Expr | None]:
    """The bias to add to the projected input, and the one that joins in the step: B holds Wb and then Rb."""
    both = _part(layer, 3, direction)
    if both is None:
        return None, None
    first = layer.emit(relax.op.strided_slice(both, [0], [0], [size]))
    second = layer.emit(relax.op.strided_slice(both, [0], [size], [2 * size]))
    return (first, second) if apart else (layer.emit(relax.op.add(first, second)), None)


def _project(layer: Layer, x: Expr, direction: int, bias: Expr | None) -> Expr:
    projected = layer.emit(relax.op.matmul(x, _transposed(layer, 1, direction)))
    return projected if bias is None else layer.emit(relax.op.add(projected, bias))


def _initial(layer: Layer, index: int, direction: int, batch: int, hidden: int, batch_first: bool) -> Expr:
    if layer.optional(index) is None:
        return const(np.zeros((batch, hidden)), layer.dtype())
    axis = 1 if batch_first else 0
    piece = layer.emit(relax.op.strided_slice(layer[index], [axis], [direction], [direction + 1]))
    return layer.emit(relax.op.squeeze(piece, [axis]))


def _stack_sequence(layer: Layer, outputs: Sequence[Sequence[Expr]]) -> Expr:
    """[T, D, B, H], or [B, T, D, H] with layout 1."""
    batch_first = bool(layer.integer("layout", 0))
    axes = [1, 2] if batch_first else [0, 1]
    steps = []
    for row in zip(*outputs, strict=True):
        wide = [layer.emit(relax.op.expand_dims(h, axes)) for h in row]
        steps.append(_join(layer, wide, 2 if batch_first else 1))
    return _join(layer, steps, 1 if batch_first else 0)


def _stack_state(layer: Layer, states: Sequence[Expr | None], index: int) -> Expr:
    """[D, B, H], or [B, D, H] with layout 1."""
    axis = 1 if layer.integer("layout", 0) else 0
    return _join(layer, [layer.emit(relax.op.expand_dims(state, axis)) for state in states], axis)


def _join(layer: Layer, parts: Sequence[Expr], axis: int) -> Expr:
    return parts[0] if len(parts) == 1 else layer.emit(relax.op.concat(list(parts), axis))


def _clipped(layer: Layer, x: Any) -> Any:
    if not layer.has("clip"):
        return x
    limit = tirx.const(layer.number("clip"), layer.dtype())
    return tirx.max(tirx.min(x, limit), -limit)


def _product(layer: Layer, direction: _Direction, state: Expr) -> Expr:
    product = layer.emit(relax.op.matmul(state, direction.recurrent))
    return product if direction.bias is None else layer.emit(relax.op.add(product, direction.bias))


def _rnn_step(
    layer: Layer, direction: _Direction, gates: Expr, state: Expr, cell: Expr | None
) -> tuple[Expr, Expr | None]:
    f = direction.activations[0]
    product = _product(layer, direction, state)
    return pointwise(layer, lambda a, b: f(_clipped(layer, a + b)), gates, product, name="rnn_cell"), None


def _gru_step(
    layer: Layer, direction: _Direction, gates: Expr, state: Expr, cell: Expr | None
) -> tuple[Expr, Expr | None]:
    """Gates lie in the order update, reset, hidden."""
    f, g = direction.activations
    shape = tuple(int(dim) for dim in state.ty.shape)
    size, one = shape[1], tirx.const(1, layer.dtype())
    if layer.integer("linear_before_reset", 0):
        product = _product(layer, direction, state)
    else:  # the hidden gate multiplies the state that was reset
        product = _reset_product(layer, direction, gates, state)

    def compute(x: Any, r: Any, h: Any) -> Any:
        def at(b: Any, k: Any) -> Any:
            update = f(_clipped(layer, x(b, k) + r(b, k)))
            candidate = r(b, k + 2 * size)
            if layer.integer("linear_before_reset", 0):
                candidate = f(_clipped(layer, x(b, k + size) + r(b, k + size))) * candidate
            candidate = g(_clipped(layer, x(b, k + 2 * size) + candidate))
            return (one - update) * candidate + update * h(b, k)

        return te.compute(shape, at, name="gru_cell")

    return layer.te(compute, gates, product, state, name="gru_cell"), None


def _reset_product(layer: Layer, direction: _Direction, gates: Expr, state: Expr) -> Expr:
    """The recurrent product of all gates, where the hidden gate's is of (reset * state)."""
    f, _ = direction.activations
    shape = tuple(int(dim) for dim in state.ty.shape)
    size = shape[1]
    early = layer.emit(relax.op.strided_slice(direction.recurrent, [1], [0], [2 * size]))
    late = layer.emit(relax.op.strided_slice(direction.recurrent, [1], [2 * size], [3 * size]))
    first = layer.emit(relax.op.matmul(state, early))
    if direction.bias is not None:
        first = layer.emit(
            relax.op.add(first, layer.emit(relax.op.strided_slice(direction.bias, [0], [0], [2 * size])))
        )

    def reset(x: Any, r: Any, h: Any) -> Any:
        return te.compute(
            shape, lambda b, k: f(_clipped(layer, x(b, k + size) + r(b, k + size))) * h(b, k), name="reset"
        )

    second = layer.emit(relax.op.matmul(layer.te(reset, gates, first, state, name="gru_reset"), late))
    if direction.bias is not None:
        second = layer.emit(
            relax.op.add(second, layer.emit(relax.op.strided_slice(direction.bias, [0], [2 * size], [3 * size])))
        )
    return layer.emit(relax.op.concat([first, second], 1))


def _lstm_step(
    layer: Layer, direction: _Direction, gates: Expr, state: Expr, cell: Expr | None
) -> tuple[Expr, Expr | None]:
    """Gates lie in the order input, output, forget, cell; peepholes in the order input, output, forget."""
    f, g, h = direction.activations
    shape = tuple(int(dim) for dim in state.ty.shape)
    size, one = shape[1], tirx.const(1, layer.dtype())
    product = _product(layer, direction, state)
    extra = [] if direction.peephole is None else [direction.peephole]

    def gate(x: Any, r: Any, b: Any, k: Any, index: int, look: Any) -> Any:
        return _clipped(layer, x(b, k + index * size) + r(b, k + index * size) + look)

    def peek(p: tuple[Any, ...], index: int, k: Any, value: Any) -> Any:
        return p[0](k + index * size) * value if p else tirx.const(0, layer.dtype())

    def new_cell(x: Any, r: Any, c: Any, *p: Any) -> Any:
        def at(b: Any, k: Any) -> Any:
            enter = f(gate(x, r, b, k, 0, peek(p, 0, k, c(b, k))))
            forget = f(gate(x, r, b, k, 2, peek(p, 2, k, c(b, k))))
            if layer.integer("input_forget", 0):
                forget = one - enter
            return forget * c(b, k) + enter * g(gate(x, r, b, k, 3, tirx.const(0, layer.dtype())))

        return te.compute(shape, at, name="lstm_cell")

    def new_state(x: Any, r: Any, c: Any, *p: Any) -> Any:
        def at(b: Any, k: Any) -> Any:
            return f(gate(x, r, b, k, 1, peek(p, 1, k, c(b, k)))) * h(c(b, k))

        return te.compute(shape, at, name="lstm_state")

    assert cell is not None
    after = layer.te(new_cell, gates, product, cell, *extra, name="lstm_cell")
    return layer.te(new_state, gates, product, after, *extra, name="lstm_state"), after


_LIMIT = f"sequences up to {STEPS} steps, which are unrolled"

OPERATORS: Mapping[str, Operator] = {
    "GRU": Operator(_recurrent(3, ("Sigmoid", "Tanh"), _gru_step, keeps_cell=False, bias_apart=True), _LIMIT),
    "LSTM": Operator(_recurrent(4, ("Sigmoid", "Tanh", "Tanh"), _lstm_step, keeps_cell=True, bias_apart=False), _LIMIT),
    "RNN": Operator(_recurrent(1, ("Tanh",), _rnn_step, keeps_cell=False, bias_apart=False), _LIMIT),
}
