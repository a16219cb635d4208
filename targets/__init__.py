"""Targets by name.

A target is a module here named after its family that holds one subclass of ``Target``; a device is a file
``devices/<family>-<device>.toml``. A bare family name means the family's generic device.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from tilewright.errors import UsageError
from tilewright.targets.base import Device, Target

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_DEVICES = Path(__file__).with_name("devices")


def device_names() -> list[str]:
    """All devices that have a TOML file, sorted."""
    return sorted(path.stem for path in _DEVICES.glob("*.toml"))


def families() -> list[str]:
    """All families, sorted."""
    return sorted({name.split("-")[0] for name in device_names()})


@cache
def device_facts(name: str) -> Mapping[str, Any]:
    """The facts of one device, as in its TOML file."""
    return tomllib.loads((_DEVICES / f"{name}.toml").read_text())


@cache
def model_facts(name: str) -> Mapping[str, Any]:
    """The parameters that a device's cost is modelled with (``models/<name>.toml``), else its family's.

    Raises:
        UsageError: there is no model of it.
    """
    models = _DEVICES.with_name("models")
    paths = (models / f"{each}.toml" for each in (name, name.rpartition("-")[0]))
    path = next((path for path in paths if path.is_file()), None)
    if path is None:
        known = ", ".join(sorted(entry.stem for entry in models.glob("*.toml")))
        raise UsageError(f"there is no model of what '{name}' costs; there are models of: {known}")
    return tomllib.loads(path.read_text())


def target_class(family: str) -> type[Target]:
    """The Target subclass of a family. Imports TVM."""
    module = importlib.import_module(f"tilewright.targets.{family}")
    (found,) = (
        item
        for item in vars(module).values()
        if isinstance(item, type) and issubclass(item, Target) and item.__module__ == module.__name__
    )
    return found


def resolve(name: str, precision: str = "fp32") -> Target:
    """The target of that name, for example ``cpu``, ``cpu-avx2`` or ``mali-g78``.

    Args:
        name: may go on with keys of the device's TOML and other values for them, which this compilation is to go by:
            ``mali-g78:weight_images=65536``, with commas between several.
        precision: "fp32" or "fp16".

    Raises:
        UsageError: no such target, the target has no such precision, or its devices have no such keys or values.
    """
    name, _, settings = name.partition(":")
    if name not in (*families(), *device_names()):
        raise UsageError(f"no target {name!r}; there are: {', '.join(sorted({*families(), *device_names()}))}")
    if precision not in ("fp32", "fp16"):
        raise UsageError(f"no precision {precision!r}; there are: fp32, fp16")
    family = name.split("-")[0]
    found = target_class(family)
    device = found.generic_device() if name == family else name
    return found(Device(device, _changed(device, settings)), precision)


def _changed(device: str, settings: str) -> Mapping[str, Any]:
    """A device's facts, some of them set otherwise: ``key=value,key=value``, values as in TOML, of the same type."""
    facts = device_facts(device)
    changed: dict[str, Any] = {}
    for setting in filter(None, settings.split(",")):
        key, _, text = setting.partition("=")
        try:
            changed[key] = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError as error:
            raise UsageError(
                f"{device}:{setting}: write KEY=VALUE, as in a TOML file, for example work_group_size=64"
            ) from error
        if key not in facts:
            raise UsageError(f"{device}:{setting}: no key {key!r}; there are: {', '.join(facts)}")
        if type(changed[key]) is not type(facts[key]):
            raise UsageError(f"{device}:{setting}: {key} is {facts[key]!r} there: give another of that type")
    return {**facts, **changed}
