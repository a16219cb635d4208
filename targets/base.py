"""What a target is. A target is one file in this folder (its subclass of Target) plus one TOML file a device."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from tilewright.plan import Module, PackedParameter, Plan


@dataclass(frozen=True)
class Device:
    """A device of a family: its full name (``mali-g78``) and the facts from ``devices/<name>.toml``."""

    name: str
    facts: Mapping[str, Any]


@dataclass(frozen=True)
class KernelCall:
    """One launch inside a lowered PrimFunc.

    Attributes:
        args: i >= 0 is the PrimFunc's parameter i; -1 - j is its workspace j.
    """

    entry: str
    module: int
    args: tuple[int, ...]
    grid: tuple[int, int, int] = (1, 1, 1)
    block: tuple[int, int, int] = (1, 1, 1)


@dataclass(frozen=True)
class KernelCode:
    """What one PrimFunc became: its launches in order, and workspaces (bytes) that live between them."""

    calls: tuple[KernelCall, ...]
    workspaces: tuple[int, ...] = ()
    source: str = ""  # readable source, for --dump and golden tests


@dataclass(frozen=True)
class Code:
    """All kernels of a network."""

    kernels: Mapping[str, KernelCode]  # by PrimFunc name
    modules: tuple[Module, ...]
    scratch_bytes: int = 0


@dataclass(frozen=True)
class Prepared:
    """A network as a target wants it.

    Attributes:
        mod: the IRModule.
        packed: what the parameters of ``main`` after its inputs are.
        unpacked: why no kernel reads a compressed weight packed, by the weight's name, as far as the target knows.
    """

    mod: Any
    packed: tuple[PackedParameter, ...]
    unpacked: Mapping[str, str] = field(default_factory=dict)


class Target(ABC):
    """Turns a Relax module into kernels for one device. Stateless but for the device it was made for."""

    family: ClassVar[str]  # "cpu", "mali", ...
    backend: ClassVar[str]  # runtime back end that executes the plan
    description: ClassVar[str]  # one line for `tilewright targets`

    def __init__(self, device: Device, precision: str = "fp32") -> None:
        self.device = device
        self.precision = precision  # "fp32" or "fp16": arithmetic and storage of activations

    @classmethod
    def generic_device(cls) -> str:
        """The device that the bare family name means."""
        return cls.family

    @property
    @abstractmethod
    def tvm_target(self) -> Any:
        """The tvm.target.Target that Relax and TIR passes run under."""

    def prepare(self, mod: Any, packed: Sequence[PackedParameter]) -> Prepared:
        """Relax-level rewrites before legalisation: layouts, packed weights, own operators.

        Unpacking calls may be left (see packed_weights.py).

        Args:
            packed: what the parameters of ``main`` after its inputs are.
        """
        return Prepared(mod, tuple(packed))

    @abstractmethod
    def schedule(self, mod: Any) -> Any:
        """Schedules every PrimFunc of a fused module. Returns an IRModule."""

    @abstractmethod
    def codegen(self, kernels: Mapping[str, Any]) -> Code:
        """Generates code for the scheduled PrimFuncs, by name.

        Raises:
            ToolError: an external compiler or linker is missing or failed.
        """

    def finish(self, plan: Plan) -> Plan:
        """What a target does when it is known which buffers its kernels are given."""
        return plan
