"""Which recipes make sense: the checks of values that their types leave open."""

from __future__ import annotations

from typing import Literal

from tilewright.errors import RecipeError, UsageError
from tilewright.formats.registry import parse
from tilewright.recipe import (
    DETECT,
    FLOAT,
    MODELLED,
    MODELLED_DEPTHS,
    UNSTRUCTURED,
    Allocate,
    Quantize,
    Recipe,
    Section,
)
from tilewright.targets import model_facts

ACTIVATION_BITS = (0, 4, 5, 6, 7, 8, 9, 10, 11, 12, 16)
BUDGETS = ("bits", "bytes", "max_error", "traffic_mb", "milliseconds")


def problems_of(recipe: Recipe) -> list[str]:
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
    depths += [("quantize.results", recipe.quantize.results)] if recipe.quantize else []
    if recipe.quantize and recipe.quantize.results and (recipe.quantize.dynamic or not recipe.quantize.activations):
        found.append("quantize.results: goes with quantize.activations, and not with dynamic ones")
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
        keys = [key for key, own in (("target", "nna-vbd"), ("activations", MODELLED_DEPTHS)) if
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
    listed = ", ".join(map(str, MODELLED_DEPTHS))
    wrong = [bits for bits in budget.activations if bits not in MODELLED_DEPTHS]
    found += [f"allocate.activations: {bits} bits; there are {listed}" for bits in wrong]
    found += [
        f"allocate.candidates[{place}]: '{spec}' is not one of {', '.join(MODELLED)}, which the target computes with"
        for place, spec in enumerate(budget.specs)
        if spec not in MODELLED
    ]
    quantize = recipe.quantize or Quantize()
    if not quantize.activations or quantize.dynamic:
        found.append("allocate: the target computes in integers: give quantize.activations, and not dynamic ones")
    return found


def _exactly_one(found: list[str], name: str, section: Section, keys: tuple[str, ...]) -> None:
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
