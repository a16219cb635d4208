"""What the format does not hold, and proofs that sums fit their accumulators."""

from __future__ import annotations

import numpy as np

from tilewright.errors import Problem
from tilewright.integer.depths import DEPTHS
from tilewright.integer.elementwise import Sum, product_scale
from tilewright.integer.network import Binary, Convolution, Map, Network
from tilewright.integer.rounding import Int, Requantize

_ACCUMULATOR = 1 << 47
_LEAST_SHIFT = 16  # below, a product of 48 and 31 bits may not fit the reference's 63


def problems(network: Network) -> list[Problem]:
    """Why a network cannot be compiled; empty if it can."""
    return [Problem("", reason) for reason in (*_map_problems(network), *_layer_problems(network))]


def _map_problems(network: Network) -> list[str]:
    found = []
    for source in network.maps:
        low, high = source.affine.limits
        if source.affine.bits not in DEPTHS and source.dtype != "int32":
            found.append(f"map '{source.name}' has {source.affine.bits} bits")
        elif not low <= source.affine.zero <= high:
            found.append(f"map '{source.name}' has a zero point of {source.affine.zero}, outside of its depth")
    return found


def _layer_problems(network: Network) -> list[str]:
    found = []
    for layer in network.operations:
        output = layer.output if isinstance(layer, Convolution) else None
        if isinstance(layer, Binary):
            try:
                output = output_of(network, layer)
            except ValueError as error:
                found.append(f"'{layer.layer}' has scales that do not fit: {error}")
        if output is not None and np.any((output.shift < _LEAST_SHIFT) & (output.factor > 1)):
            found.append(f"'{layer.layer}' scales its results up by more than 2^15")
        if isinstance(layer, Convolution) and int(most_sums(network.maps[layer.source], layer).max()) >= _ACCUMULATOR:
            found.append(f"'{layer.layer}' has sums that may leave 48 bits")
    return found


def output_of(network: Network, layer: Binary) -> Requantize:
    """From a sum or product to the target."""
    a, b, out = (network.maps[index].affine for index in (layer.first, layer.second, layer.target))
    return product_scale(a, b, out) if layer.kind == "MUL" else sum_of(network, layer).output


def sum_of(network: Network, layer: Binary) -> Sum:
    """How a sum or difference brings its operands together."""
    a, b, out = (network.maps[index].affine for index in (layer.first, layer.second, layer.target))
    return Sum.of(a, b, out, 1 if layer.kind == "ADD" else -1)


def most_sums(source: Map, layer: Convolution) -> Int:
    """The greatest magnitude of each channel's accumulator that any input can make."""
    low, high = source.affine.limits
    reach = max(high - source.affine.zero, source.affine.zero - low)
    sizes: Int = np.abs(layer.weights).sum(axis=(1, 2, 3)) * reach + np.abs(layer.bias)
    return sizes
