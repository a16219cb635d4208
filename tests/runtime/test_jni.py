"""The Java binding compiles, and where there is a JDK, runs the toy."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tilewright.artifact import Artifact

from . import toys
from .conftest import CMakeBuild

PROGRAM = """
import dev.tilewright.Tilewright;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.file.Paths;

class Check {
  public static void main(String[] args) throws Exception {
    FileChannel file = FileChannel.open(Paths.get(args[0]));
    ByteBuffer artifact = file.map(FileChannel.MapMode.READ_ONLY, 0, file.size());
    try (Tilewright model = new Tilewright(artifact, "", 1, "")) {
      ByteBuffer x = ByteBuffer.allocateDirect((int) model.inputSizes()[0]).order(ByteOrder.nativeOrder());
      ByteBuffer y = ByteBuffer.allocateDirect((int) model.outputSizes()[0]).order(ByteOrder.nativeOrder());
      x.putFloat(0, -1).putFloat(4, 2);
      model.run(new ByteBuffer[] {x}, new ByteBuffer[] {y});
      System.out.println(model.device() + " " + y.getFloat(0) + " " + y.getFloat(4));
      try {
        model.run(new ByteBuffer[] {}, new ByteBuffer[] {y});
      } catch (IllegalStateException error) {
        System.out.println(error.getMessage());
      }
    }
    try {
      new Tilewright(ByteBuffer.allocateDirect(100), "", 1, "");
    } catch (IllegalStateException error) {
      System.out.println(error.getMessage());
    }
  }
}
"""


def test_a_java_program_runs_the_toy(cmake_build: CMakeBuild, cpu_toy: Artifact, tmp_path: Path) -> None:
    javac = shutil.which("javac")
    if javac is None:
        pytest.skip("no JDK: apt-get install default-jdk-headless")
    home = Path(javac).resolve().parents[1]
    if not (home / "include" / "jni.h").exists():
        pytest.skip(f"no jni.h under {home}: apt-get install default-jdk-headless")
    # The headless JDK lacks AWT, which CMake's FindJNI asks for but nothing here uses.
    awt = [f"-D{name}=NotNeeded" for name in ("JAVA_AWT_LIBRARY", "JAVA_AWT_INCLUDE_PATH")]
    folder = cmake_build("tools", "-DTILEWRIGHT_TOOLS=ON", "-DTILEWRIGHT_JNI=ON", f"-DJAVA_HOME={home}", *awt)
    cpu_toy.save(tmp_path / "toy.tw")
    (tmp_path / "Check.java").write_text(PROGRAM)
    sources = [toys.ROOT / "runtime" / "jni" / "Tilewright.java", tmp_path / "Check.java"]
    subprocess.run([javac, "-Xlint:all", "-Werror", "-d", tmp_path, *sources], check=True)
    done = subprocess.run(
        ["java", f"-Djava.library.path={folder}", "-cp", tmp_path, "Check", tmp_path / "toy.tw"],
        capture_output=True,
        text=True,
        env={**os.environ, "LD_LIBRARY_PATH": str(folder)},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0].endswith(" cpu 0.0 3.0")  # relu(-1 + 0), relu(2 + 1)
    assert done.stdout.splitlines()[1:] == [
        "0 inputs given, the model has 1",
        "not a Tilewright artifact (wrong magic number)",
    ]
