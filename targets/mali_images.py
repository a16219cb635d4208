"""Weights as images: a second form of a program, whose kernels read weights through the texture cache.

A kernel that reads a weight in vectors of four only, each at a multiple of four elements, can as well read texels of
four channels of an image over the same buffer: ``image1d_buffer_t`` (OpenCL 1.2, section 6.12.14), read without a
sampler. The program of buffers stays in the artifact, behind that of images: the runtime takes the first that its
device can run.
"""

from __future__ import annotations

import re
from dataclasses import replace

from tilewright.plan import COPY, TEXEL, TEXEL_DTYPES, BufferKind, Plan
from tilewright.targets.opencl_source import closing, divided, extensions, program, split

_READS = {"float": "read_imagef", "half": "read_imageh", "int": "read_imagei", "uint": "read_imageui"}
_DTYPES = dict(zip(("float", "half", "int", "uint"), TEXEL_DTYPES, strict=True))
_PARAMETERS = re.compile(r"^void \w+\((.*)\) \{$", re.MULTILINE)
_POINTER = re.compile(r"__global const (float|half|int|uint)\* restrict (\w+)")


def with_images(plan: Plan, limit: int) -> Plan:
    """The plan with a program of images before that of buffers; as it was where no weight suits.

    Args:
        plan: of at most one module, with one program.
        limit: texels of an image, at most.
    """
    if not plan.modules:
        return plan
    (module,) = plan.modules
    (image,) = module.images
    kernels = split(image.data.decode())[1]
    places, weights = _chosen(plan, kernels, limit)
    if not weights:
        return plan
    for name, kernel in kernels.items():
        for place in places.get(name, ()):
            kernels[name] = _with_image(kernels[name], _parameters(kernel)[place]) or ""
    text = "\n".join(kernels.values())
    feature = f"texels:{max(plan.buffers[index].texels for index in weights)}"
    images = replace(image, features=(*extensions(text), feature), data=program(text).encode())
    buffers = [replace(buffer, texel_buffer=index in weights) for index, buffer in enumerate(plan.buffers)]
    return replace(plan, buffers=tuple(buffers), modules=(replace(module, images=(images, image)),))


def _chosen(plan: Plan, kernels: dict[str, str], limit: int) -> tuple[dict[str, set[int]], set[int]]:
    """Which parameters of which kernels shall be images, and which buffers: a weight is one wherever it is read."""
    launches = [launch for launch in plan.launches if launch.module != COPY]
    at_load = {launch.kernel for launch in plan.prologue}
    places = {
        name: {place for place, one in enumerate(_parameters(kernel)) if _with_image(kernel, one) is not None}
        for name, kernel in kernels.items()
        if name not in at_load
    }
    weights = {
        arg
        for arg in {arg for launch in launches for arg in launch.args}
        if plan.buffers[arg].kind in (BufferKind.CONSTANT, BufferKind.STATIC) and 0 < plan.buffers[arg].texels <= limit
    }
    before = -1
    while before != len(weights):
        before = len(weights)
        for launch in launches:
            dtypes = [_DTYPES.get(_type(one)) for one in _parameters(kernels[launch.kernel])]
            suit = {
                place
                for place, arg in enumerate(launch.args)
                if arg in weights and plan.buffers[arg].dtype == dtypes[place]
            }
            places[launch.kernel] = places.get(launch.kernel, set()) & suit
        for launch in launches:
            weights -= {arg for place, arg in enumerate(launch.args) if place not in places[launch.kernel]}
    return places, weights


def _parameters(kernel: str) -> list[str]:
    found = _PARAMETERS.search(kernel)
    assert found is not None
    return found[1].split(", ")


def _type(parameter: str) -> str:
    found = _POINTER.fullmatch(parameter)
    return found[1] if found else ""


def _with_image(kernel: str, parameter: str) -> str | None:
    """The kernel with a parameter as an image; None where it is read otherwise than texel by texel."""
    found = _POINTER.fullmatch(parameter)
    if found is None:
        return None
    kind, name = found.groups()
    head, _, body = kernel.partition(" {\n")
    between, reads, at = [], [], 0
    for load in re.finditer(rf"\bvload_half4(\()0, {name} \+ |\(\(__global const {kind}4\*\){name}\)\[", body):
        widened = load[1] is not None  # of halves; other vectors are known to be aligned (opencl_vectors.py)
        end = closing(body, load.end(), *("()" if widened else "[]"))
        index = body[load.end() : end - 1]
        texel = divided(index, TEXEL) if widened else index
        if texel is None or load.start() < at:
            return None
        between.append(body[at : load.start()])
        reads.append(f"{'read_imagef' if widened else _READS[kind]}({name}, {texel})")
        at = end
    between.append(body[at:])
    if not reads or any(re.search(rf"\b{name}\b", text) for text in between):
        return None
    body = "".join(text for pair in zip(between, [*reads, ""], strict=True) for text in pair)
    return f"{head.replace(parameter, f'__read_only image1d_buffer_t {name}')} {{\n{body}"
