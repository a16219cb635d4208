"""Tilewright: an ahead-of-time compiler backend for compressed neural networks."""

from __future__ import annotations

__version__ = "0.1.0"
