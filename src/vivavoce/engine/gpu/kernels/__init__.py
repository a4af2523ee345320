"""What PyTorch's own operations would do in more passes over memory, in Triton.

A row is one position of one stream; a batch is rows [R], of one frame or of several, whose slots and positions are
read from memory, so that a captured launch serves any of them. With TRITON_INTERPRET=1 the same code runs on a CPU.
"""

from torch import Tensor


def in_order(*tensors: Tensor) -> bool:
    """Whether kernels, which are given addresses and no strides, read these as they are."""
    return all(tensor.is_contiguous() for tensor in tensors)
