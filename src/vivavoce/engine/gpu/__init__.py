"""Speech to text on a GPU: one captured graph a step, keys and values in pages.

Imported only where it is used: it needs Triton, which comes with PyTorch for CUDA.
"""
