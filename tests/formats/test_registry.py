"""Formats by name."""

from __future__ import annotations

import pytest

from tilewright.errors import RecipeError
from tilewright.formats.codecs.codebook import Codebook
from tilewright.formats.codecs.integer import Integer
from tilewright.formats.codecs.vbd import Vbd
from tilewright.formats.layouts.block_sparse import BlockSparse
from tilewright.formats.layouts.dense import Dense
from tilewright.formats.layouts.two_four import TwoFour
from tilewright.formats.registry import Format, entries, parse
from tilewright.formats.storage.entropy import Entropy
from tilewright.formats.storage.raw import Raw


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "block_sparse(4,4) int4(group=32,asymmetric) entropy",
            Format(BlockSparse(4, 4), Integer(4, 32, asymmetric=True), Entropy()),
        ),
        ("entropy codebook( 16 ) 2:4", Format(TwoFour(), Codebook(16), Entropy())),
        ("int8 ( per = tensor , clip=minmax )", Format(Dense(), Integer(8, per="tensor", clip="minmax"), Raw())),
        ("int4(32)", Format(Dense(), Integer(4, 32), Raw())),
        ("int4(group=32,asymmetric=false)", Format(Dense(), Integer(4, 32), Raw())),
        ("vbd(4.5)", Format(Dense(), Vbd(4.5), Raw())),
        ("block_sparse(bw=1,bh=8)", Format(BlockSparse(8, 1), parse("f32").codec, Raw())),
    ],
)
def test_specs_are_parsed(text: str, expected: Format) -> None:
    assert parse(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "dense f32 raw",
        "two_four f16 entropy",
        "block_sparse(16,1) int3(group=64,asymmetric,scale=f32,clip=minmax) entropy",
        "int8(per=tensor)",
        "int2(scale=f16)",
        "codebook(255)",
        "vbd(2.5)",
        "vbd(3,per=tensor)",
        "astc(6,6)",
    ],
)
def test_a_format_prints_the_text_that_makes_it(text: str) -> None:
    form = parse(text)
    assert parse(form.spec) == form
    assert text.replace("dense ", "").replace(" raw", "") in form.spec


@pytest.mark.parametrize(
    ("text", "match"),
    [
        (
            "foo",
            r"'foo' is unknown; there are layouts block_sparse\(bh,bw\), .*codecs .*int2/int3.*storage entropy, raw",
        ),
        ("int9", "'int9' is unknown"),
        ("int4(foo=2)", r"unknown parameter 'foo'; it is written int4\(group=0,per=channel"),
        ("int4(bits=8)", "unknown parameter 'bits'"),
        ("int4(group=12)", "groups have 16 to 128 columns"),
        ("int4(group=many)", "group is 'many', not a number"),
        ("int4(clip=best)", "not one of mse, minmax"),
        ("int4(asymmetric=maybe)", "not true or false"),
        ("int4(asymmetric,asymmetric)", "given twice"),
        ("int4(asymmetric,32)", "neither a flag nor a value in its place"),
        ("block_sparse(4)", "bw missing"),
        ("block_sparse(4,4,4)", "neither a flag nor a value"),
        ("block_sparse(3,4)", "bh is 3"),
        ("codebook", "k missing"),
        ("raw(1)", "it is written raw$"),
        ("int4 int8", "int4 and int8 are both codecs"),
        ("int4(32", r"cannot read 'int4\(32'"),
        ("int4,raw", "cannot read"),
    ],
)
def test_errors_say_what_exists(text: str, match: str) -> None:
    with pytest.raises(RecipeError, match=match):
        parse(text)


def test_every_name_of_the_issue_is_found() -> None:
    names = {
        kind: {name for name, entry in entries().items() if entry.kind == kind}
        for kind in ("layouts", "codecs", "storage")
    }
    assert names["layouts"] >= {"dense", "block_sparse", "two_four"}
    assert names["codecs"] >= {"f32", "f16", "codebook", "vbd", "astc", *(f"int{bits}" for bits in range(2, 9))}
    assert names["storage"] >= {"raw", "entropy"}
