"""Decodes ASTC textures by an OpenGL ES implementation, through ctypes: EGL without a window, one texture, one read."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from ctypes import byref, c_int, c_uint, c_void_p
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

_INSTALL = "install a software one with: apt-get install libegl1 libgles2 libgl1-mesa-dri"

# Khronos registries: egl.xml, gl.xml.
_SURFACELESS_MESA, _ES_API, _PBUFFER, _ES3_BIT = 0x31DD, 0x30A0, 0x0001, 0x0040
_SURFACE_TYPE, _RENDERABLE, _VERSION, _NONE = 0x3033, 0x3040, 0x3098, 0x3038
_EXTENSIONS, _RENDERER, _TEXTURE_2D, _FRAMEBUFFER, _COLOR = 0x1F03, 0x1F01, 0x0DE1, 0x8D40, 0x8CE0
_NEAREST, _MIN_FILTER, _MAG_FILTER, _RGBA, _RGBA8, _BYTE = 0x2600, 0x2801, 0x2800, 0x1908, 0x8058, 0x1401
_VERTEX, _FRAGMENT, _COMPILED, _LINKED, _TRIANGLES = 0x8B31, 0x8B30, 0x8B81, 0x8B82, 0x0004

# GL_COMPRESSED_RGBA_ASTC_4x4_KHR and those after it, in the order of KHR_texture_compression_astc_hdr.
_FIRST_FORMAT = 0x93B0
_FORMATS = ("4x4", "5x4", "5x5", "6x5", "6x6", "8x5", "8x6", "8x8", "10x5", "10x6", "10x8", "10x10", "12x10", "12x12")

_VERTICES = b"""#version 300 es
void main() {
  vec2 corner = vec2(float(gl_VertexID & 1), float(gl_VertexID >> 1)) * 4.0 - 1.0;
  gl_Position = vec4(corner, 0.0, 1.0);
}"""
_PIXELS = b"""#version 300 es
precision highp float;
uniform highp sampler2D image;
out vec4 color;
void main() { color = texelFetch(image, ivec2(gl_FragCoord.xy), 0); }"""


class Gles:
    """A context of OpenGL ES 3 that is current in this thread.

    Attributes:
        renderer: who draws.
    """

    def __init__(self, gl: ctypes.CDLL) -> None:
        self._gl = gl
        gl.glGetString.restype = ctypes.c_char_p
        self.renderer = gl.glGetString(_RENDERER).decode()
        if b"GL_KHR_texture_compression_astc_ldr" not in gl.glGetString(_EXTENSIONS):
            pytest.skip(f"{self.renderer} reads no ASTC; {_INSTALL}")

    def decode(
        self, blocks: npt.NDArray[np.uint8], footprint: tuple[int, int], shape: tuple[int, int]
    ) -> npt.NDArray[np.uint8]:
        """The texels of an image as eight-bit red, green, blue and alpha: [rows, columns, 4].

        Args:
            blocks: uint8 [block rows, block columns, 16].
            shape: rows and columns in texels.
        """
        gl, (rows, columns), data = self._gl, shape, np.ascontiguousarray(blocks)
        self._texture()
        kind = _FIRST_FORMAT + _FORMATS.index("{}x{}".format(*footprint))
        gl.glCompressedTexImage2D(_TEXTURE_2D, 0, kind, columns, rows, 0, data.nbytes, c_void_p(data.ctypes.data))
        image = self._texture()
        gl.glTexImage2D(_TEXTURE_2D, 0, _RGBA8, columns, rows, 0, _RGBA, _BYTE, None)
        frame = c_uint()
        gl.glGenFramebuffers(1, byref(frame))
        gl.glBindFramebuffer(_FRAMEBUFFER, frame)
        gl.glFramebufferTexture2D(_FRAMEBUFFER, _COLOR, _TEXTURE_2D, image, 0)
        gl.glBindTexture(_TEXTURE_2D, c_uint(image.value - 1))
        gl.glViewport(0, 0, columns, rows)
        gl.glUseProgram(self._program())
        gl.glDrawArrays(_TRIANGLES, 0, 3)
        found = np.zeros((rows, columns, 4), np.uint8)
        gl.glReadPixels(0, 0, columns, rows, _RGBA, _BYTE, c_void_p(found.ctypes.data))
        error = gl.glGetError()
        assert error == 0, f"OpenGL ES error {error:#x}"
        return found

    def _texture(self) -> c_uint:
        name = c_uint()
        self._gl.glGenTextures(1, byref(name))
        self._gl.glBindTexture(_TEXTURE_2D, name)
        for parameter in (_MIN_FILTER, _MAG_FILTER):
            self._gl.glTexParameteri(_TEXTURE_2D, parameter, _NEAREST)
        return name

    def _program(self) -> int:
        gl, program, done = self._gl, self._gl.glCreateProgram(), c_int()
        for kind, text in ((_VERTEX, _VERTICES), (_FRAGMENT, _PIXELS)):
            shader = gl.glCreateShader(kind)
            gl.glShaderSource(shader, 1, byref(ctypes.c_char_p(text)), None)
            gl.glCompileShader(shader)
            gl.glGetShaderiv(shader, _COMPILED, byref(done))
            assert done.value, "a shader does not compile"
            gl.glAttachShader(program, shader)
        gl.glLinkProgram(program)
        gl.glGetProgramiv(program, _LINKED, byref(done))
        assert done.value, "the shaders do not link"
        return int(program)


@contextmanager
def context() -> Iterator[Gles]:
    """A context without a window, by Mesa's software renderer; skips the test where there is none."""
    try:
        egl, gl = ctypes.CDLL("libEGL.so.1"), ctypes.CDLL("libGLESv2.so.2")
    except OSError as error:
        pytest.skip(f"no OpenGL ES ({error}); {_INSTALL}")
    os.environ.setdefault("LIBGL_ALWAYS_SOFTWARE", "1")
    for name in ("eglGetPlatformDisplay", "eglCreateContext"):
        getattr(egl, name).restype = c_void_p
    display = c_void_p(egl.eglGetPlatformDisplay(_SURFACELESS_MESA, None, None))
    if not display or not egl.eglInitialize(display, None, None):
        pytest.skip(f"no display without a window; {_INSTALL}")
    try:
        egl.eglBindAPI(_ES_API)
        config, count = c_void_p(), c_int()
        wanted = _ints(_SURFACE_TYPE, _PBUFFER, _RENDERABLE, _ES3_BIT, _NONE)
        egl.eglChooseConfig(display, wanted, byref(config), 1, byref(count))
        made = c_void_p(egl.eglCreateContext(display, config, None, _ints(_VERSION, 3, _NONE))) if count.value else None
        if not made or not egl.eglMakeCurrent(display, None, None, made):
            pytest.skip(f"no context of OpenGL ES 3; {_INSTALL}")
        yield Gles(gl)
        egl.eglMakeCurrent(display, None, None, None)
    finally:
        egl.eglTerminate(display)


def _ints(*values: int) -> Any:
    return (c_int * len(values))(*values)
