"""silero VAD (MIT): is there speech in 32 ms of sound? Two of the graphs that its package ships, both at 16 kHz.

A call takes 512 samples after the 64 before them, float32 [1, 576], and the LSTM state [2, 1, 128]; it gives the
probability of speech [1, 1] and the next state. In the "ifless" graph the sampling rate is a third input that picks a
branch; here it is fixed to 16,000, as a static compiler needs it.

Data: sentences synthesised by espeak-ng (its PyPI package carries the library), with pauses, and noise over everything:
no recorded speech with labels is in any package registry. A frame's label is the synthesiser's own output before the
noise, so it is exact; the score is the area under the ROC curve.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper
from scipy import signal, stats

from benchmarks.zoo.base import Accuracy, Array, Model, Run
from benchmarks.zoo.store import built, pypi_file, pypi_names

RATE, STEP, CONTEXT = 16_000, 512, 64
ESPEAK = ("espeakng-loader", "0.2.4")
SENTENCES = (
    ("en-us", "The morning train leaves from platform seven in ten minutes."),
    ("en-gb", "Please put the copper kettle back on the kitchen shelf."),
    ("de", "Der Zug nach Hamburg faehrt heute von Gleis drei."),
    ("en-us", "Nobody had expected the storm to turn north so early."),
    ("es", "Manana por la tarde vamos a caminar junto al rio."),
    ("en-gb", "She counted forty two swans on the frozen lake."),
    ("fr", "Le musee ferme ses portes a six heures du soir."),
    ("en-us", "A small engine can still pull a very long rope."),
    ("it", "La biblioteca apre alle nove ogni mattina."),
    ("en-gb", "Turn left at the church and follow the river."),
)
Sound = npt.NDArray[np.float32]


@cache
def _sentences() -> list[Sound]:
    """The sentences spoken by espeak-ng, resampled to 16 kHz; peak 1."""
    for name in pypi_names(*ESPEAK, "espeakng_loader/*"):
        pypi_file(*ESPEAK, name)
    endings = {"darwin": "dylib", "win32": "dll"}
    (name,) = pypi_names(*ESPEAK, f"espeakng_loader/*espeak-ng.{endings.get(sys.platform, 'so')}")
    library = pypi_file(*ESPEAK, name)
    espeak = ctypes.CDLL(str(library))
    rate = espeak.espeak_Initialize(2, 0, str(library.parent).encode(), 0)  # 2: hand over the samples, synchronously
    chunks: list[npt.NDArray[np.int16]] = []

    def collect(samples: ctypes._Pointer[ctypes.c_short], count: int, _events: int | None) -> int:
        if samples and count:
            chunks.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 0

    callback_type = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)
    callback = callback_type(collect)  # kept alive for as long as espeak may call it
    espeak.espeak_SetSynthCallback(callback)
    spoken: list[Sound] = []
    for voice, text in SENTENCES:
        chunks.clear()
        espeak.espeak_SetVoiceByName(voice.encode())
        raw = text.encode()
        espeak.espeak_Synth(raw, ctypes.c_size_t(len(raw) + 1), 0, 0, 0, 1, None, None)
        sound = signal.resample_poly(np.concatenate(chunks).astype(np.float64), RATE, rate)
        spoken.append((sound / np.abs(sound).max()).astype(np.float32))
    espeak.espeak_Terminate()
    return spoken


@cache
def _stream() -> tuple[Sound, npt.NDArray[np.bool_]]:
    """About a minute of sound with pauses and noise, and for each frame whether most of it is voiced."""
    rng = np.random.default_rng(11)
    clean: list[Sound] = []
    for sentence in _sentences():
        clean += [np.zeros(int(rng.uniform(0.8, 3.0) * RATE), np.float32), 0.3 * sentence]
    speech = np.concatenate(clean)
    speech = speech[: len(speech) // STEP * STEP]
    noise = rng.normal(0, 0.01, len(speech)) + 0.03 * signal.lfilter([0.05], [1, -0.95], rng.normal(0, 1, len(speech)))
    loud = (np.abs(speech) > 0.005).reshape(-1, STEP // 8, 8).any(axis=2).mean(axis=1)
    return (speech + noise).astype(np.float32), loud > 0.5


def _frames() -> Iterator[Sound]:
    sound, _ = _stream()
    padded = np.concatenate([np.zeros(CONTEXT, np.float32), sound])
    for start in range(0, len(sound), STEP):
        yield padded[start : start + CONTEXT + STEP][None].copy()


def _listen(run: Run) -> npt.NDArray[np.float32]:
    """The probability of speech in every frame, the state carried along."""
    state: Array = np.zeros((2, 1, 128), np.float32)
    scores = []
    for frame in _frames():
        outputs = run({"input": frame, "state": state})
        state = outputs["stateN"]
        scores.append(outputs["output"].item())
    return np.array(scores, np.float32)


def _auc(run: Run) -> float:
    """Area under the ROC curve, by the rank-sum identity."""
    scores, voiced = _listen(run), _stream()[1]
    ranks = stats.rankdata(scores)
    positive, negative = int(voiced.sum()), int((~voiced).sum())
    return float((ranks[voiced].sum() - positive * (positive + 1) / 2) / (positive * negative))


def _samples() -> list[dict[str, Array]]:
    rng = np.random.default_rng(5)
    frames = list(_frames())[::200]
    return [{"input": frame, "state": rng.normal(0, 0.5, (2, 1, 128)).astype(np.float32)} for frame in frames]


def _ifless(path: Path) -> None:
    """The shipped graph with its sampling-rate input turned into a constant."""
    model = onnx.load(pypi_file("silero-vad", "6.2.3", "silero_vad/data/silero_vad_op18_ifless.onnx"))
    rest = [entry for entry in model.graph.input if entry.name != "sr"]
    del model.graph.input[:]
    model.graph.input.extend(rest)
    model.graph.initializer.append(numpy_helper.from_array(np.array(RATE, np.int64), "sr"))
    onnx.checker.check_model(model)
    onnx.save(model, path)


def _model(name: str, path: Callable[[], Path]) -> Model:
    return Model(
        name=name,
        onnx=path,
        shapes={"input": (1, CONTEXT + STEP), "state": (2, 1, 128)},
        samples=_samples,
        labels=lambda outputs: outputs["output"] > 0.5,
        accuracy=(Accuracy("AUC on a synthesised stream, 1375 frames", _auc, 0.952, 0.001),),
    )


MODELS = (
    _model(
        "silero-vad-openvino", lambda: pypi_file("silero-vad", "6.2.3", "silero_vad/data/silero_vad_openvino_16k.onnx")
    ),
    _model("silero-vad-ifless", lambda: built("silero-vad-ifless-16k.onnx", _ifless)),
)
