"""The one exception tree. Every error says what, where, why and what to do; the CLI maps it to an exit code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong, in terms of the user's own model, recipe or data."""

    where: str  # layer, file, or key path; "" where the whole input is meant
    what: str  # operator or object, then the reason
    remedy: str = ""  # what the user can do about it

    def __str__(self) -> str:
        head = f"{self.where}: {self.what}" if self.where else self.what
        return f"{head} ({self.remedy})" if self.remedy else head


class TilewrightError(Exception):
    """Base of all errors raised on purpose. ``exit_code`` is what the command line returns."""

    exit_code = 1


class UsageError(TilewrightError):
    """A wrong option, argument or combination of them."""

    exit_code = 2


class RecipeError(UsageError):
    """A recipe that cannot be read: unknown key, wrong type, value out of range."""


class DataError(UsageError):
    """Input or calibration data of the wrong name, shape, dtype, or with NaN in it."""


class ModelError(TilewrightError):
    """A model that cannot be read or is not supported."""

    exit_code = 3


class UnsupportedError(ModelError):
    """Everything in a model that cannot be compiled, listed at once.

    Attributes:
        problems: one entry a node or tensor.
    """

    def __init__(self, summary: str, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join([summary, *(f"  - {problem}" for problem in self.problems)]))


class ArtifactError(ModelError):
    """A damaged, truncated, hostile or too new artifact."""


class DeviceError(TilewrightError):
    """No such device, no driver, or the driver reported an error."""

    exit_code = 4


class ToolError(TilewrightError):
    """An external tool (linker, NVRTC) is missing or failed; the message says how to install it."""

    exit_code = 4


class AccuracyError(TilewrightError):
    """An accuracy gate was missed."""

    exit_code = 5
