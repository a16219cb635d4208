"""ASTC, the texture format, as a weight format.

In reading order: modes (what a block can say), ise (how its bits hold integers), quantization (what the integers stand
for), infill, endpoints, partitions, decode (all of it, reversed), encode (our encoder), codec (matrices), element (how
kernels and ONNX decode our encoder's blocks), general_tables and general (those of any encoder), oracle (Arm's
encoder), file (.astc).
"""

from tilewright.formats.codecs.astc.codec import Astc

__all__ = ["Astc"]
