"""SHA-256 of named tensors: of a policy's weights, of a calibration, of what packed weights depend on."""

import hashlib

import torch
from torch import Tensor


def add_tensor(digest: "hashlib._Hash", label: str, tensor: Tensor) -> None:
    """Add a tensor to a hash: its label, its shape and its bytes.

    Args:
        digest: the hash, as ``hashlib.sha256()`` returns it.
        label: what distinguishes the tensor beside its shape, such as its name and its dtype.
        tensor: on any device, of any type and layout.
    """
    digest.update(f"{label} {tuple(tensor.shape)}\n".encode())
    digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
