"""What inference costs and what quantization does to it: ``bench``, ``profile`` and ``sensitivity``.

``measured_model``, ``workload`` and ``chip`` say what is measured, on what inputs and on which hardware; ``costs``
counts what it cannot do without. Each command has a folder with files that measure, show and draw.
"""
