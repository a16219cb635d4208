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
    dynamic = true                      # their ranges as they come (8 bits), instead of calibrated ones
    method = "mse"                      # of their ranges: minmax, percentile, mse, kl
    equalize = true                     # cross-layer equalisation before
    rounding = "adaptive"               # of weights, by calibration data; or "nearest"
    correct_bias = true

    [cluster]                           # instead of quantize.weights: weight sharing
    centroids = 16
    scaled = true                       # a scale for each channel; Deep Compression has none
    [astc]                              # or texture compression
    block = "6x6"
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

import os
import sys
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal

import msgspec

from tilewright.errors import RecipeError, UsageError
from tilewright.formats.registry import Format, parse
from tilewright.targets import model_facts

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Kind = Literal["conv", "depthwise", "grouped", "transposed", "matmul", "table"]

FLOAT = "float"
UNSTRUCTURED = "unstructured"
DETECT = "detect"
ACTIVATION_BITS = (0, 4, 5, 6, 7, 8, 9, 10, 11, 12, 16)


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


_MODELLED = ("int4", "int5", "int6", "int7", "int8")  # one scale a channel: what NNAs compute with
_MODELLED_DEPTHS = (4, 5, 6, 7, 8)


class _Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    pass


class Prune(_Section, frozen=True):
    """Which weights stay; see passes/coring.py, passes/pivot.py and passes/masks.py."""

    density: float | None = None
    threshold: float | None = None
    layout: str = UNSTRUCTURED
    scope: Literal["layer", "global"] = "layer"
    pivot: bool = True
    masks: str | None = None


class Quantize(_Section, frozen=True):
    """Depths of weights and activations."""

    weights: str | None = None
    activations: int = 0
    dynamic: bool = False
    method: Literal["minmax", "percentile", "mse", "kl"] = "mse"
    percentile: float = 99.99
    equalize: bool = False
    rounding: Literal["nearest", "adaptive"] = "nearest"
    correct_bias: bool = False


class Cluster(_Section, frozen=True):
    """Weight sharing."""

    centroids: int = 16
    scaled: bool = False


class Astc(_Section, frozen=True):
    """Texture compression."""

    block: str = "6x6"
    levels: int | None = None


class Allocate(_Section, frozen=True):
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
    activations: tuple[int, ...] = _MODELLED_DEPTHS
    candidates: tuple[str, ...] | None = None
    samples: int = 8

    @property
    def modelled(self) -> bool:
        """Whether the budget is one of a target's model."""
        return self.traffic_mb is not None or self.milliseconds is not None

    @property
    def specs(self) -> tuple[str, ...]:
        """The candidates, or what they are where none are given."""
        return (_MODELLED if self.modelled else _CANDIDATES) if self.candidates is None else self.candidates


class Lowrank(_Section, frozen=True):
    """Factors; see passes/lowrank.py."""

    rank: int | None = None
    energy: float | None = None
    residual: str | None = None


class Storage(_Section, frozen=True):
    """How arrays lie in the artifact."""

    entropy: bool = False


class Accuracy(_Section, frozen=True):
    """The gate."""

    data: str
    max_drop: float = 0.01


class Layer(_Section, frozen=True):
    """An override."""

    name: str = "*"
    kind: Kind | None = None
    weights: str | None = None
    activations: int | None = None
    density: float | None = None
    layout: str | None = None


class Recipe(_Section, frozen=True):
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
            levels = "" if self.astc.levels is None else f",levels={self.astc.levels}"
            return f"astc({self.astc.block.replace('x', ',')}{levels})"
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


# Depthwise weights are few and each matters: below 8 bits they cost much accuracy and save nothing that shows.
_SPARE = [{"kind": "depthwise", "weights": "int8"}]
# Scales of channels do for weights what equalisation would; on networks with ReLU6 it makes activations worse.
_INT8 = {"weights": "int8", "activations": 8, "correct_bias": True}
# 16x4 blocks fill the registers of integer dot products; activations by their own range need no samples.
_SPARSE = {"density": 0.1, "layout": "block_sparse(16,4)"}
_DYNAMIC = {"activations": 8, "dynamic": True}

_PRESETS: Mapping[str, Mapping[str, Any]] = {
    "fp32": {},
    "fp16": {"precision": "fp16"},
    "int8": {"quantize": _INT8},
    "weights8": {"quantize": {"weights": "int8(asymmetric)"}},
    "int4": {"quantize": {"weights": "int4(group=32)"}, "layer": _SPARE},
    "codebook4": {"cluster": {"centroids": 16, "scaled": True}, "storage": {"entropy": True}, "layer": _SPARE},
    "astc6x5": {"astc": {"block": "6x5"}, "layer": _SPARE},
    "astc6x6": {"astc": {"block": "6x6"}, "layer": _SPARE},
    "mixed5": {"allocate": {"bits": 5.0}, "quantize": {"rounding": "adaptive"}},
    "mixed4": {"allocate": {"bits": 4.0}, "quantize": {"rounding": "adaptive"}},
    "sparse90-int8": {"prune": _SPARSE, "quantize": {"weights": "int8", **_DYNAMIC}, "layer": _SPARE},
    "sparse90-int4": {"prune": _SPARSE, "quantize": {"weights": "int4(group=32)", **_DYNAMIC}, "layer": _SPARE},
}

BUDGETS = ("bits", "bytes", "max_error", "traffic_mb", "milliseconds")

RecipeLike = Recipe | Mapping[str, Any] | str | os.PathLike[str] | None


def load_recipe(source: RecipeLike) -> Recipe:
    """Reads a recipe.

    Args:
        source: a Recipe, a mapping, a preset's name, the path of a TOML file, or None for the default.

    Raises:
        RecipeError: the file cannot be read, is not TOML, or has unknown keys or wrong values: all of them, by path.
    """
    if source is None:
        return Recipe()
    if isinstance(source, Recipe):
        return source
    if isinstance(source, Mapping):
        return _convert(source, "recipe")
    if str(source) in PRESETS:
        return PRESETS[str(source)]
    path = Path(source)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        known = ", ".join(PRESETS)
        raise RecipeError(f"{path}: neither a readable recipe file nor a preset ({known}): {error}") from error
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"{path}: not valid TOML: {error}") from error
    return msgspec.structs.replace(_convert(table, str(path)), folder=str(path.parent))


def _convert(table: Mapping[str, Any], where: str) -> Recipe:
    if "folder" in table:
        raise RecipeError(f"{where}: unknown field `folder`: paths are relative to the recipe's own folder")
    merged = dict(table)
    preset = table.get("preset")
    if isinstance(preset, str):
        if preset not in _PRESETS:
            raise RecipeError(f"{where}: preset: '{preset}' is unknown; there are {', '.join(_PRESETS)}")
        merged = _merge(_PRESETS[preset], table)
    try:
        recipe = msgspec.convert(merged, Recipe)
    except msgspec.ValidationError as error:
        raise RecipeError(f"{where}: {error}{_keys(str(error))}") from error
    problems = _problems(recipe)
    if problems:
        raise RecipeError("\n".join([f"{where}: wrong values", *(f"  - {problem}" for problem in problems)]))
    return recipe


def _merge(base: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Own keys win, section by section; a preset's layer entries come first; one codec replaces another."""
    merged = {**base, **own}
    for key, section in own.items():
        if isinstance(section, Mapping) and isinstance(base.get(key), Mapping):
            merged[key] = {**base[key], **section}
    if "layer" in own and isinstance(own["layer"], list | tuple):
        merged["layer"] = [*base.get("layer", ()), *own["layer"]]
    chosen = [key for key in ("cluster", "astc", "allocate") if key in own]
    for key in ("cluster", "astc", "allocate"):
        if chosen and key not in chosen:
            merged.pop(key, None)
    if chosen and "weights" not in own.get("quantize", {}) and isinstance(merged.get("quantize"), Mapping):
        merged["quantize"] = {key: value for key, value in merged["quantize"].items() if key != "weights"}
    return merged


def _keys(message: str) -> str:
    """The keys that there are where msgspec met an unknown one."""
    if "unknown field" not in message:
        return ""
    path = message.partition("`$")[2].partition("`")[0].strip(".").partition("[")[0]
    sections: dict[str, type[_Section]] = {
        "prune": Prune,
        "quantize": Quantize,
        "cluster": Cluster,
        "astc": Astc,
        "allocate": Allocate,
    }
    sections |= {"lowrank": Lowrank, "storage": Storage, "accuracy": Accuracy, "layer": Layer}
    fields = msgspec.structs.fields(sections.get(path, Recipe))
    return "; keys are: " + ", ".join(field.name for field in fields if field.name != "folder")


def _problems(recipe: Recipe) -> list[str]:
    """Everything wrong with values, each with its key's path."""
    found: list[str] = []
    codecs = [("quantize.weights", recipe.quantize.weights)] if recipe.quantize and recipe.quantize.weights else []
    given = [key for key, _ in codecs]
    given += [key for key in ("cluster", "astc", "allocate") if getattr(recipe, key) is not None]
    if len(given) > 1:
        found.append(f"{' and '.join(given)} each choose the weights' codec: keep one")
    if recipe.cluster or recipe.astc:
        codecs.append(("cluster.centroids" if recipe.cluster else "astc.block", recipe.codec))
    if recipe.allocate is not None:
        codecs += [(f"allocate.candidates[{n}]", spec) for n, spec in enumerate(recipe.allocate.specs)]
        _exactly_one(found, "allocate", recipe.allocate, BUDGETS)
        found += _modelled_problems(recipe, recipe.allocate)
        if not recipe.allocate.specs:
            found.append("allocate.candidates: none given")
        if recipe.allocate.samples < 1:
            found.append(f"allocate.samples: {recipe.allocate.samples} is not 1 or more")
    if recipe.lowrank is not None:
        _exactly_one(found, "lowrank", recipe.lowrank, ("rank", "energy"))
        if recipe.lowrank.rank is not None and recipe.lowrank.rank < 1:
            found.append(f"lowrank.rank: {recipe.lowrank.rank} is not 1 or more")
        if recipe.lowrank.energy is not None and not 0 < recipe.lowrank.energy <= 1:
            found.append(f"lowrank.energy: {recipe.lowrank.energy} is not in (0, 1]")
        codecs += [("lowrank.residual", recipe.lowrank.residual)] if recipe.lowrank.residual else []
    layouts = [("prune.layout", recipe.prune.layout)] if recipe.prune else []
    densities = [("prune.density", recipe.prune.density)] if recipe.prune else []
    depths = [("quantize.activations", recipe.quantize.activations)] if recipe.quantize else []
    if recipe.prune and recipe.prune.density is not None and recipe.prune.threshold is not None:
        found.append("prune: density and threshold exclude each other")
    for place, entry in enumerate(recipe.layer):
        at = f"layer[{place}]"
        codecs += [(f"{at}.weights", entry.weights)] if entry.weights and entry.weights != FLOAT else []
        layouts += [(f"{at}.layout", entry.layout)] if entry.layout else []
        densities.append((f"{at}.density", entry.density))
        depths += [(f"{at}.activations", entry.activations)] if entry.activations is not None else []
    for key, spec in codecs:
        _check_codec(found, key, spec)
    for key, layout in layouts:
        if layout not in (UNSTRUCTURED, DETECT):
            _check_part(found, key, layout, "layout")
    found += [
        f"{key}: {value} is not in (0, 1]" for key, value in densities if value is not None and not 0 < value <= 1
    ]
    listed = ", ".join(map(str, ACTIVATION_BITS))
    found += [f"{key}: {bits} bits; there are {listed}" for key, bits in depths if bits not in ACTIVATION_BITS]
    if recipe.accuracy is not None and not 0 <= recipe.accuracy.max_drop <= 1:
        found.append(f"accuracy.max_drop: {recipe.accuracy.max_drop} is not in [0, 1]")
    return found


def _modelled_problems(recipe: Recipe, budget: Allocate) -> list[str]:
    """What is wrong with a budget of traffic or time, or with its keys where there is none."""
    if not budget.modelled:
        keys = [key for key, own in (("target", "nna-vbd"), ("activations", _MODELLED_DEPTHS)) if
                getattr(budget, key) != own]  # fmt: skip
        return [f"allocate.{key}: goes with traffic_mb or milliseconds only" for key in keys]
    found = [
        f"allocate.{key}: {value:g} is not more than 0"
        for key in ("traffic_mb", "milliseconds")
        if (value := getattr(budget, key)) is not None and not value > 0
    ]
    try:
        model_facts(budget.target)
    except UsageError as error:
        found.append(f"allocate.target: {error}")
    listed = ", ".join(map(str, _MODELLED_DEPTHS))
    wrong = [bits for bits in budget.activations if bits not in _MODELLED_DEPTHS]
    found += [f"allocate.activations: {bits} bits; there are {listed}" for bits in wrong]
    found += [
        f"allocate.candidates[{place}]: '{spec}' is not one of {', '.join(_MODELLED)}, which the target computes with"
        for place, spec in enumerate(budget.specs)
        if spec not in _MODELLED
    ]
    quantize = recipe.quantize or Quantize()
    if not quantize.activations or quantize.dynamic:
        found.append("allocate: the target computes in integers: give quantize.activations, and not dynamic ones")
    return found


def _exactly_one(found: list[str], name: str, section: _Section, keys: tuple[str, ...]) -> None:
    given = [key for key in keys if getattr(section, key) is not None]
    if len(given) != 1:
        found.append(
            f"{name}: give exactly one of {', '.join(keys)}" + (f", not {' and '.join(given)}" if given else "")
        )


def _check_codec(found: list[str], key: str, spec: str | None) -> None:
    _check_part(found, key, spec or "", "codec")


def _check_part(found: list[str], key: str, spec: str, part: Literal["layout", "codec"]) -> None:
    try:
        form = parse(spec)
    except RecipeError as error:
        found.append(f"{key}: {error}")
        return
    rest = {"layout": (form.codec.spec, "f32"), "codec": (form.layout.spec, "dense")}[part]
    if rest[0] != rest[1] or form.storage.spec != "raw" or (part == "layout" and form.layout.spec == "dense"):
        found.append(f"{key}: '{spec}' is no {part} alone; layouts belong to prune, storage to its own section")


def format_of(codec: str, layout: str, storage: str) -> Format:
    """The format of a layer."""
    return parse(f"{layout} {'f32' if codec == FLOAT else codec} {storage}")


PRESETS: Mapping[str, Recipe] = {name: _convert({"preset": name}, name) for name in _PRESETS}
