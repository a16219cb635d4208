"""Register tiles and loop orders, by an analytical model of a core. A tuner may replace ``best_tile``."""

from __future__ import annotations

from dataclasses import dataclass

from tilewright.targets.base import Device

_FROM_MEMORY, _FROM_CACHE = 1.05, 0.7  # instructions that take as long as reading one float32 weight


@dataclass(frozen=True)
class Core:
    """What the model needs to know of a core; from the device's TOML."""

    lanes: int  # float32 in a vector register
    registers: int
    l1_bytes: int
    l2_bytes: int
    l3_bytes: int  # of the last cache, what one network may hope for
    fma_latency: int = 4
    fma_per_cycle: int = 2
    loads_per_cycle: float = 2
    l2_bytes_per_cycle: float = 32

    @classmethod
    def of(cls, device: Device) -> Core:
        facts = device.facts
        return cls(
            lanes=facts["vector_bytes"] // 4,
            registers=facts["vector_registers"],
            l1_bytes=facts["l1_bytes"],
            l2_bytes=facts["l2_bytes"],
            l3_bytes=facts["l3_bytes"],
        )

    def step_cycles(self, rows: int, vectors: int) -> float:
        """Cycles of one reduction step of a tile: the busiest of multipliers, load ports, latency and L2."""
        latency_bound = self.fma_latency if rows * vectors < self.fma_latency * self.fma_per_cycle else 0
        return max(
            rows * vectors / self.fma_per_cycle,
            (rows + vectors) / self.loads_per_cycle,
            latency_bound,
            vectors * self.lanes * 4 / self.l2_bytes_per_cycle,
        )

    def reading(self, nbytes: int) -> float:
        """Instructions on vectors that take as long as reading a register of float32 weights, of a network that has so
        many bytes of them: from memory, or from the last cache where they are still there since the run before.

        Packed by dense, of one row by 4096x4096 (64 MB) and by 1024x4096, in a run in which memory was nearly as fast
        as the last cache (virtual Sapphire Rapids; it has taken up to three times as long): AVX-512 codebook(64)
        .51 and .56, codebook(128) .92 and .99, codebook(256) .79 and .89; AVX2 codebook(16) .90 and .96,
        codebook(32) 1.23 and 1.34, codebook(256) 1.24 and 1.34.
        """
        return (_FROM_CACHE if nbytes <= self.l3_bytes else _FROM_MEMORY) * self.lanes

    def streams(self, nbytes: int) -> bool:
        """Whether so many bytes of weights come anew from beyond the second-level cache, which holds other data too."""
        return 2 * nbytes > self.l2_bytes

    def fits(self, rows: int, vectors: int) -> bool:
        """Whether accumulators, one step's weights and a broadcast fit into the register file."""
        return rows * vectors + vectors + 1 <= self.registers


@dataclass(frozen=True)
class Tile:
    """Pixels (or matrix rows) x vectors of output channels held in registers."""

    rows: int
    vectors: int


def best_tile(row_length: int, channels: int, depth: int, core: Core, max_rows: int = 14) -> Tile:
    """The tile with the fewest cycles for ``row_length`` pixels x ``channels`` outputs of ``depth`` steps each."""
    vectors_needed = -(-channels // core.lanes)
    best, best_cost = Tile(1, 1), float("inf")
    for vectors in range(1, min(vectors_needed, 8) + 1):
        panels = _pieces(vectors_needed, vectors)
        for rows in range(1, min(row_length, max_rows) + 1):
            if not core.fits(rows, vectors):
                break
            cost = 0.0
            for panel, panel_count in panels:
                for size, count in _pieces(row_length, rows):
                    once = 10 + 1.5 * size * panel
                    cost += panel_count * count * (depth * core.step_cycles(size, panel) + once)
            if cost < best_cost - 1e-9:
                best, best_cost = Tile(rows, vectors), cost
    return best


def _pieces(total: int, size: int) -> list[tuple[int, int]]:
    """(size, count) of the full pieces, then of the rest."""
    pieces = [(size, total // size), (total % size, 1)]
    return [(length, count) for length, count in pieces if length and count]
