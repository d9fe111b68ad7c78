"""Measurements of inference: ``bench`` (latency, memory), ``profile`` (time by module) and ``sensitivity`` (errors).

``measured_model``, ``workload`` and ``chip`` provide the model, its inputs and the hardware's speeds; ``costs`` counts
the operations and bytes of an inference. Each command has a folder with modules that measure, print and plot.
"""
