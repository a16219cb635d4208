"""Builds the C++ runtime beside the Python package; everything else is in pyproject.toml."""

from glob import glob

from setuptools import Extension, setup

setup(
    ext_modules=[
        # Opened through ctypes by tilewright.runtime: a plain shared library, not a CPython module.
        Extension(
            "tilewright.runtime._native",
            sources=sorted(glob("runtime/src/*.cc")),
            include_dirs=["runtime/include", "runtime/src"],
            depends=["runtime/tilewright.map", *sorted(glob("runtime/include/*/*.h") + glob("runtime/src/*.h"))],
            extra_compile_args=["-std=c++17", "-Os", "-fvisibility=hidden", "-fvisibility-inlines-hidden"],
            extra_link_args=[
                *("-ldl", "-pthread", "-s", "-Wl,--version-script=runtime/tilewright.map"),
                "-Wl,-z,max-page-size=16384",  # aarch64's default of 64 KiB pads the file by a third
            ],
            language="c++",
        ),
        # The functional models of NNAs. A library of its own: phones do not need a simulator.
        Extension(
            "tilewright.runtime._nna",
            sources=[*sorted(glob("runtime/src/nna/*.cc") + glob("runtime/src/vbd/*.cc")), "runtime/src/failure.cc"],
            include_dirs=["runtime/include"],
            depends=["runtime/src/nna/nna.map", *sorted(glob("runtime/src/*.h") + glob("runtime/src/*/*.h"))],
            extra_compile_args=["-std=c++17", "-O3", "-fvisibility=hidden", "-fvisibility-inlines-hidden"],
            extra_link_args=["-s", "-Wl,--version-script=runtime/src/nna/nna.map", "-Wl,-z,max-page-size=16384"],
            language="c++",
        ),
    ]
)
