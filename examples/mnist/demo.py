"""Compiles the bundled digit classifier for this machine's devices and runs it on 500 digits that it never saw.

    python examples/mnist/demo.py

Prints accuracy, latency, agreement with onnxruntime and sizes; the exit code is 5 where a device disagrees.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

import tilewright
from tilewright.errors import AccuracyError, TilewrightError
from tilewright.numeric import relative_l2
from tilewright.runtime import Session, devices

HERE = Path(__file__).parent
MODEL = HERE / "mnist.onnx"
SHAPES = {"image": (1, 1, 28, 28)}
TOLERANCE = 1e-4  # relative L2 of the logits: fp32 sums in another order differ by about 1e-6
Floats: TypeAlias = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Score:
    """What one device made of the digits."""

    target: str
    device: str
    right: int
    milliseconds: float  # median over the digits
    error: float  # relative L2 of all logits against onnxruntime
    same: int  # digits named as onnxruntime names them
    sizes: tuple[int, ...] = ()  # bytes of the artifact: file, weights, kernels, tables, padding

    @property
    def agrees(self) -> bool:
        return self.error <= TOLERANCE


def main() -> int:
    """Returns the exit code: 0, or that of the first error."""
    out = Console(soft_wrap=True)
    with np.load(HERE / "digits.npz") as digits:
        images = (digits["images"].astype(np.float32) / 255).reshape(-1, *SHAPES["image"])
        labels = digits["labels"]
    show(out, images, labels)
    expected, milliseconds = timed(onnxruntime(), images)
    right = int((expected.argmax(1) == labels).sum())
    scores = [Score("onnxruntime", "1 thread", right, milliseconds, 0.0, len(images))]
    errors: list[TilewrightError] = []
    for target in targets(out):
        try:
            with out.status(f"compiling {MODEL.name} for {target} ..."):
                scores.append(measure(target, images, labels, expected))
        except TilewrightError as error:
            errors.append(error)
    out.print(results(scores, len(images)))
    out.print(sizes(scores[1:]))
    wrong = [score.target for score in scores if not score.agrees]
    if wrong:
        errors.append(AccuracyError(f"the logits of {', '.join(wrong)} differ from onnxruntime's by over {TOLERANCE}"))
    for problem in errors:
        Console(stderr=True).print(f"demo: {problem}", style="red", markup=False, highlight=False, soft_wrap=True)
    if errors:
        return errors[0].exit_code
    out.print(
        f"Every target agrees with onnxruntime: relative L2 of the logits at most {TOLERANCE:.0e}.", highlight=False
    )
    return 0


def targets(out: Console) -> list[str]:
    """What to compile for; says so where there is no OpenCL, or only PoCL's."""
    opencl = [device for device in devices() if device.backend == "opencl"]
    if not opencl:
        out.print("No OpenCL driver here, so no mali target (Debian, Ubuntu: apt-get install pocl-opencl-icd).")
        return ["cpu"]
    if "PoCL" in opencl[0].driver:
        out.print("OpenCL here is PoCL, which runs on the CPU: mali's results are real, its time is no phone's.")
    return ["cpu", "mali"]


def measure(target: str, images: Floats, labels: npt.NDArray[np.uint8], expected: Floats) -> Score:
    """Compiles for one target, writes the artifact, loads it again and runs every digit."""
    artifact = tilewright.compile(MODEL, target=target, shapes=SHAPES)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mnist.tw"
        artifact.save(path)
        size = path.stat().st_size
        with Session(path) as session:
            logits, milliseconds = timed(lambda image: session.run({"image": image})["logits"], images)
            name = session.device
    spent = artifact.sizes()
    kernels, padding = spent.rest["code"], spent.rest["padding"]
    weights = sum(spent.constants.values())
    guesses = logits.argmax(1)
    return Score(
        target=artifact.plan.target,
        device=name,
        right=int((guesses == labels).sum()),
        milliseconds=milliseconds,
        error=relative_l2(logits, expected),
        same=int((guesses == expected.argmax(1)).sum()),
        sizes=(size, weights, kernels, size - weights - kernels - padding, padding),
    )


def onnxruntime() -> Callable[[Floats], Any]:
    """The reference: the same file in onnxruntime, one thread."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(str(MODEL), options, providers=["CPUExecutionProvider"])
    return lambda image: session.run(None, {"image": image})[0]


def timed(run: Callable[[Floats], Any], images: Floats) -> tuple[Floats, float]:
    """The logits [N, 10] of all digits, one call each, and the median milliseconds of a call."""
    run(images[0])  # the first call may still set things up
    logits, seconds = [], []
    for image in images:
        start = time.perf_counter()
        logits.append(run(image))
        seconds.append(time.perf_counter() - start)
    return np.concatenate(logits), statistics.median(seconds) * 1e3


def show(out: Console, images: Floats, labels: npt.NDArray[np.uint8]) -> None:
    """Names the model; on a terminal, draws as many digits as fit, two rows of pixels to a line of text."""
    out.print(f"{MODEL.name}: {MODEL.stat().st_size:,} bytes; {len(images)} digits it never saw", highlight=False)
    if not out.is_terminal or not out.encoding.lower().startswith("utf"):
        return
    count = max(1, min(8, out.width // 22))
    ink = np.concatenate(list(images[:count, 0, 3:25, 3:25]), axis=1) > 0.4
    for upper, lower in zip(ink[::2], ink[1::2], strict=True):
        out.print("".join(" ▄▀█"[2 * a + b] for a, b in zip(upper, lower, strict=True)).rstrip(), highlight=False)
    out.print("".join(f"{label:^22}" for label in labels[:count]).rstrip(), highlight=False)


def results(scores: list[Score], count: int) -> Table:
    """Accuracy, latency and agreement."""
    table = Table("target", "runs on", title=f"{count} digits, one at a time; agreement with onnxruntime")
    for heading in ("accuracy", "median ms", "same digit", "relative L2"):
        table.add_column(heading, justify="right")
    for score in scores:
        agreement = (f"{score.same}/{count}", f"{score.error:.1e}") if score.sizes else ("", "")
        row = (f"{score.right / count:.1%}", f"{score.milliseconds:.3f}", *agreement)
        table.add_row(score.target, shorten(score.device), *row)
    return table


def shorten(name: str, width: int = 24) -> str:
    """Drivers give devices long names."""
    return name if len(name) <= width else name[: width - 3] + "..."


def sizes(scores: list[Score]) -> Table:
    """Where an artifact's bytes go; kernels as they lie in the file, deflated."""
    table = Table("", title="bytes in the artifact")
    for heading in ("ONNX file", "artifact", "weights", "kernels", "tables", "padding"):
        table.add_column(heading, justify="right")
    for score in scores:
        table.add_row(score.target, *(f"{number:,}" for number in (MODEL.stat().st_size, *score.sizes)))
    return table


if __name__ == "__main__":
    sys.exit(main())
