"""Recipes: what is to be done to a network, as TOML, a dict or a preset's name.

    preset = "int8"                     # start from this; everything below overrides it
    precision = "fp32"                  # arithmetic of activations and dense weights: fp32 or fp16

    [prune]                             # which weights stay
    density = 0.1                       # share to keep; or: threshold = 0.01
    layout = "block_sparse(4,4)"        # or "two_four", "unstructured", "detect" (the structure the zeros have)
    pivot = true                        # permute channels first, so that blocks keep more
    masks = "masks.npz"                 # masks of your own training, by weight or layer

    [quantize]
    weights = "int4(group=32)"          # any codec: int2 to int8, vbd(5), f16 ...
    activations = 8                     # 4 to 12 or 16 bits; 0 leaves them float
    results = 8                         # of layers, where float ones read them: likewise; 0 leaves them 32-bit sums
    dynamic = true                      # their ranges as they come (8 bits), instead of calibrated ones
    method = "mse"                      # of their ranges: minmax, percentile, mse, kl
    equalize = true                     # cross-layer equalisation before
    smooth = true                       # large channels of activations into the weights that read them, by samples
    rounding = "adaptive"               # of weights, by calibration data; "sequential" layer after layer; or "nearest"
    correct_bias = true

    [cluster]                           # instead of quantize.weights: weight sharing
    centroids = 16
    scaled = true                       # a scale for each channel; Deep Compression has none
    [astc]                              # or texture compression
    block = "6x6"
    astcenc = 98                        # by Arm's encoder, quality 0 to 100, instead of Tilewright's own
    [allocate]                          # or the format that suits each layer, for a budget; give one of the five
    bits = 5.0                          # bits a weight on average
    bytes = 1_500_000                   # of all weights
    max_error = 0.01                    # relative squared error of the network's outputs
    traffic_mb = 3.0                    # MB of DRAM traffic an inference, by the model of a target; or
    milliseconds = 0.5                  # of an inference, likewise; both choose depths of activations, too
    target = "nna-vbd"                  # whose model
    activations = [6, 8]                # the depths that both choose from, up to quantize.activations
    candidates = ["int3", "int4", "int8"]
    samples = 8                         # of the calibration data, to measure each candidate on

    [lowrank]
    energy = 0.99                       # or: rank = 64
    residual = "int2"                   # codec of what the factors leave, none by default

    [storage]
    entropy = true                      # entropy-code the arrays in the artifact

    [[layer]]                           # for some layers only; later entries win
    name = "*/attention/*"              # pattern of the layer's name
    kind = "depthwise"                  # or of its kind: conv, depthwise, grouped, transposed, matmul, table
    weights = "int8"                    # any codec, or "float"
    activations = 8
    density = 0.2
    layout = "block_sparse(8,1)"

    [accuracy]                          # exit code 5 where it is missed
    data = "test.npz"                   # inputs by name; with "labels" top-1 accuracy, else agreement with float
    max_drop = 0.01

An unknown key is an error that gives its path, so that a misspelt wish never passes for a fulfilled one.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal

import msgspec

from tilewright.formats.registry import Format, parse

Kind = Literal["conv", "depthwise", "grouped", "transposed", "matmul", "table"]

FLOAT = "float"
UNSTRUCTURED = "unstructured"
DETECT = "detect"

# Steps of about half a bit where steps matter most.
_CANDIDATES = (
    "int2(group=32)",
    "int3(group=128)",
    "int3(group=32)",
    "int4(group=128)",
    "int4(group=32)",
    "int5(group=64)",
    "int6(group=64)",
    "int8",
)

MODELLED = ("int4", "int5", "int6", "int7", "int8")  # one scale a channel: what NNAs compute with
MODELLED_DEPTHS = (4, 5, 6, 7, 8)


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A table of a recipe."""


class Prune(Section, frozen=True):
    """Which weights stay; see passes/coring.py, passes/pivot.py and passes/masks.py."""

    density: float | None = None
    threshold: float | None = None
    layout: str = UNSTRUCTURED
    scope: Literal["layer", "global"] = "layer"
    pivot: bool = True
    masks: str | None = None


class Quantize(Section, frozen=True):
    """Depths of weights and activations."""

    weights: str | None = None
    activations: int = 0
    results: int = 0
    dynamic: bool = False
    method: Literal["minmax", "percentile", "mse", "kl"] = "mse"
    percentile: float = 99.99
    equalize: bool = False
    smooth: bool = False
    rounding: Literal["nearest", "adaptive", "sequential"] = "nearest"
    correct_bias: bool = False


class Cluster(Section, frozen=True):
    """Weight sharing."""

    centroids: int = 16
    scaled: bool = False


class Astc(Section, frozen=True):
    """Texture compression."""

    block: str = "6x6"
    levels: int | None = None
    astcenc: float | None = None


class Allocate(Section, frozen=True):
    """A budget for all weights together; see passes/allocate.py, and choice_modelled.py for those of traffic and time.

    Attributes:
        samples: most calibration samples that the outputs are measured on, taken evenly; the network runs some hundred
            times over each. Everything else sees all samples.
    """

    bits: float | None = None
    bytes: int | None = None
    max_error: float | None = None
    traffic_mb: float | None = None
    milliseconds: float | None = None
    target: str = "nna-vbd"
    activations: tuple[int, ...] = MODELLED_DEPTHS
    candidates: tuple[str, ...] | None = None
    samples: int = 8

    @property
    def modelled(self) -> bool:
        """Whether the budget is one of a target's model."""
        return self.traffic_mb is not None or self.milliseconds is not None

    @property
    def specs(self) -> tuple[str, ...]:
        """The candidates, or what they are where none are given."""
        return (MODELLED if self.modelled else _CANDIDATES) if self.candidates is None else self.candidates


class Lowrank(Section, frozen=True):
    """Factors; see passes/lowrank.py."""

    rank: int | None = None
    energy: float | None = None
    residual: str | None = None


class Storage(Section, frozen=True):
    """How arrays lie in the artifact."""

    entropy: bool = False


class Accuracy(Section, frozen=True):
    """The gate."""

    data: str
    max_drop: float = 0.01


class Layer(Section, frozen=True):
    """An override."""

    name: str = "*"
    kind: Kind | None = None
    weights: str | None = None
    activations: int | None = None
    density: float | None = None
    layout: str | None = None


class Recipe(Section, frozen=True):
    """A recipe; the module's docstring shows every key.

    Attributes:
        folder: of the recipe's file; paths in it are relative to that. "" for the working directory.
    """

    preset: str | None = None
    precision: Literal["fp32", "fp16"] = "fp32"
    prune: Prune | None = None
    quantize: Quantize | None = None
    cluster: Cluster | None = None
    astc: Astc | None = None
    allocate: Allocate | None = None
    lowrank: Lowrank | None = None
    storage: Storage | None = None
    layer: tuple[Layer, ...] = ()
    accuracy: Accuracy | None = None
    folder: str = ""

    def to_table(self) -> dict[str, Any]:
        """What a file would say: defaults are left out, and so is where the file was."""
        table: dict[str, Any] = msgspec.to_builtins(msgspec.structs.replace(self, folder=""))
        return table

    @property
    def compresses(self) -> bool:
        """Whether any pass is asked for."""
        sections = (self.prune, self.quantize, self.cluster, self.astc, self.allocate, self.lowrank)
        return any(section is not None for section in sections) or bool(self.layer)

    @property
    def codec(self) -> str:
        """The codec of weights that no layer entry overrides: a spec, or ``float``."""
        if self.quantize is not None and self.quantize.weights is not None:
            return self.quantize.weights
        if self.cluster is not None:
            return f"codebook({self.cluster.centroids}{',scaled' if self.cluster.scaled else ''})"
        if self.astc is not None:
            given = [("levels", self.astc.levels), ("astcenc", self.astc.astcenc)]
            options = "".join(f",{name}={value:g}" for name, value in given if value is not None)
            return f"astc({self.astc.block.replace('x', ',')}{options})"
        return FLOAT

    def settings(self, layer: str, kind: str | None) -> Settings:
        """What holds for one layer; its kind is one of ``Kind``, or None for a node without weights."""
        prune = self.prune or Prune()
        found = Settings(
            codec=self.codec,
            allocated=self.allocate is not None,
            storage="entropy" if self.storage is not None and self.storage.entropy else "raw",
            activations=self.quantize.activations if self.quantize is not None else 0,
            density=prune.density,
            threshold=prune.threshold,
            layout=prune.layout,
        )
        for entry in self.layer:
            if not fnmatchcase(layer, entry.name) or entry.kind not in (None, kind):
                continue
            changes: dict[str, Any] = {}
            if entry.weights is not None:
                changes |= {"codec": entry.weights, "allocated": False}
            if entry.activations is not None:
                changes["activations"] = entry.activations
            if entry.density is not None:
                changes |= {"density": entry.density, "threshold": None}
            if entry.layout is not None:
                changes["layout"] = entry.layout
            found = msgspec.structs.replace(found, **changes)
        return found

    def path(self, name: str) -> Path:
        """A path written in the recipe."""
        return Path(self.folder) / name


class Settings(msgspec.Struct, frozen=True):
    """What a recipe says about one layer.

    Attributes:
        codec: spec of the weight's codec, or ``float``.
        allocated: the codec is left to the allocation.
        storage: "raw" or "entropy".
        activations: bits, 0 for float.
        density, threshold: of pruning; both None for none.
        layout: of what pruning keeps.
    """

    codec: str
    allocated: bool
    storage: str
    activations: int
    density: float | None
    threshold: float | None
    layout: str

    @property
    def prunes(self) -> bool:
        return self.threshold is not None or (self.density is not None and self.density < 1)


def format_of(codec: str, layout: str, storage: str) -> Format:
    """The format of a layer."""
    return parse(f"{layout} {'f32' if codec == FLOAT else codec} {storage}")
