"""Precision of policies in JAX, whose models are Flax NNX modules or Flax Linen's trees; needs the extra ``jax``.

``casts`` rounds values as ``quant.casts`` does, ``weights`` finds a policy's weights and what shares a scale,
``activations`` rounds the outputs of modules while functions are traced, and ``model`` brings these together. Nothing
here is imported unless a policy has imported Flax.
"""
