"""How a compressed weight is stored: layout (which elements) x codec (how each is encoded) x storage (bytes in a file).

Read base.py first. One layout, codec or storage is one file in its folder; ``registry`` finds them by name.
"""
