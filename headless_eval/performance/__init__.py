"""What inference costs and what quantization does to it: ``bench``, ``profile`` and ``sensitivity``.

``source``, ``workload`` and ``chip`` say what is measured, on what inputs and on which hardware; ``costs`` counts
what it cannot do without. Each command has a file that measures and one that shows.
"""
