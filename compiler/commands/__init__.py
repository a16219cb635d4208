"""The command line's verbs, one file each: ``configure`` declares the options, ``execute`` does the work.

Heavy imports (TVM, ONNX) happen inside ``execute``: ``run`` on a board needs NumPy and rich alone.
"""
