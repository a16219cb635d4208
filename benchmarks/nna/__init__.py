"""Checks the Ethos-U interpreter: networks that Vela compiled, against LiteRT's reference kernels."""
