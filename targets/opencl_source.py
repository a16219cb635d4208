"""The text of OpenCL C kernels: programs taken apart and put together, extensions, halves as floats, indices."""

from __future__ import annotations

import ast
import re

from tilewright.targets.schedules import gpu_dot

_KERNEL = re.compile(r"^__kernel .*?^\}\n", re.MULTILINE | re.DOTALL)
_HALF_POINTER = re.compile(r"\bhalf\* restrict (\w+)")


def program(kernels: str) -> str:
    """A complete OpenCL program: the pragmas that these kernels need, then the kernels."""
    pragmas = [f"#pragma OPENCL EXTENSION {extension} : enable\n" for extension in extensions(kernels)]
    return "".join(pragmas) + ("\n" if pragmas else "") + gpu_dot.source_of(gpu_dot.OPENCL, kernels) + kernels


def split(text: str) -> tuple[str, dict[str, str]]:
    """What a program has before its kernels, and these by name."""
    kernels = _KERNEL.findall(text)
    names = [re.search(r"void (\w+)\(", kernel) for kernel in kernels]
    prelude = text[: text.find("__kernel")]
    return prelude, {name[1]: kernel for name, kernel in zip(names, kernels, strict=True) if name}


def extensions(kernels: str) -> tuple[str, ...]:
    """The OpenCL extensions that these kernels need; the runtime refuses a device that lacks one."""
    found = []
    if any(computes_halves(kernel) for kernel in kernels.split("__kernel ")):
        found.append("cl_khr_fp16")
    if re.search(r"\b(convert_)?double\d*\b", kernels):
        found.append("cl_khr_fp64")
    return tuple(found)


def without_halves(params: str, body: str) -> str:
    """A kernel's body with loads of halves that are converted at once done without cl_khr_fp16, if that spares it."""
    floats = body
    for name in _HALF_POINTER.findall(params):
        floats = load_as_float(floats, name)
    return body if computes_halves(f"{params} {floats}") else floats


def load_as_float(body: str, name: str) -> str:
    """Loads of halves that are converted at once, by the functions that OpenCL has for them without cl_khr_fp16."""
    body = _replace_loads(body, f"convert_float({name}[", "]", f"vload_half({{}}, {name})")
    for lanes in (2, 4, 8, 16):
        start = f"convert_float{lanes}(vload{lanes}(0, {name} + "
        body = _replace_loads(body, start, ")", f"vload_half{lanes}(0, {name} + {{}})")
    return body


def closing(text: str, at: int, opening: str, close: str) -> int:
    """Where the bracket closes that is open at ``at``: the place after it."""
    depth = 1
    while depth:
        depth += {opening: 1, close: -1}.get(text[at], 0)
        at += 1
    return at


def _replace_loads(body: str, start: str, close: str, load: str) -> str:
    """Replaces every ``start``, an expression, ``close`` and ``)`` by ``load`` of the expression."""
    parts, opening = [], {"]": "[", ")": "("}[close]
    while (at := body.find(start)) >= 0:
        end = closing(body, at + len(start), opening, close)
        if body[end] == ")":
            parts += [body[:at], load.format(body[at + len(start) : end - 1])]
            end += 1
        else:  # an expression that begins with the load
            parts.append(body[:end])
        body = body[end:]
    return "".join([*parts, body])


def computes_halves(kernel: str) -> bool:
    """Whether a kernel has halves other than those that ``vload_half`` reads."""
    rest = re.sub(r"\bhalf\*|\bvload_half\d+\(0, \w+ \+", "", kernel)
    if re.search(r"\b(convert_)?half\d*\b|\bread_imageh\b", rest):
        return True
    return any(
        re.search(rf"\b{name}(?:\[| \+)|\bvload\d+\(\w+, {name}\b", rest) for name in _HALF_POINTER.findall(kernel)
    )


def divided(index: str, by: int) -> str | None:
    """An integer expression of C divided by a number, in brackets; None where that may leave a rest."""
    try:
        return _divided(ast.parse(index, mode="eval").body, index, by)
    except SyntaxError:
        return None


def _divided(node: ast.expr, text: str, by: int) -> str | None:
    if isinstance(node, ast.Constant) and isinstance(node.value, int):
        return str(node.value // by) if node.value % by == 0 else None
    if not isinstance(node, ast.BinOp):
        return None
    left, right = _divided(node.left, text, by), _divided(node.right, text, by)
    if isinstance(node.op, ast.Add | ast.Sub):
        sign = "+" if isinstance(node.op, ast.Add) else "-"
        return f"({left} {sign} {right})" if left is not None and right is not None else None
    if isinstance(node.op, ast.Mult):
        if right == "1":
            return f"({ast.get_source_segment(text, node.left)})"
        if right is not None:
            return f"(({ast.get_source_segment(text, node.left)}) * {right})"
        return f"({left} * ({ast.get_source_segment(text, node.right)}))" if left is not None else None
    return None
