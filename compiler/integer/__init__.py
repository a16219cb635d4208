"""What quantized layers compute, in integers: the definition that every executor equals bit for bit.

Arrays are NHWC. Nothing here rounds in floating point; real numbers occur only where scales become integer factors.
Files in reading order: ``rounding`` (shifts, factors, requantization), ``windows`` (convolution, pooling),
``elementwise``, ``tables``, ``depths``; ``network`` puts them together.
"""
