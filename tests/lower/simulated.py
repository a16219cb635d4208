"""Command streams run on the simulated NNA as a session runs them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tilewright.integer.network import Network
from tilewright.lower import ethosu, vbd
from tilewright.runtime import nna


def execute(stream: ethosu.Stream | vbd.Stream, network: Network, inputs: list[NDArray[Any]]) -> list[NDArray[Any]]:
    """A network's outputs: weights are region 0; workspaces, inputs and outputs follow."""
    arrays = [np.zeros(size, np.uint8) for size in stream.workspaces] + [array.copy() for array in inputs]
    arrays += [np.zeros(network.maps[index].shape, network.maps[index].dtype) for index in network.outputs]
    regions = {1 + number: nna.Region(array.reshape(-1).view(np.uint8)) for number, array in enumerate(arrays)}
    regions[0] = nna.Region(np.frombuffer(stream.weights, np.uint8), writable=False)
    nna.run(stream.payload, regions)
    return arrays[-len(network.outputs) :]
