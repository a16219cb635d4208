"""How a compressed weight is stored: layout (which elements) x codec (how each is encoded) x storage (bytes in a file).

Read base.py first, then packed.py. One layout, codec or storage is one file in its folder; registry.py finds them.
"""
