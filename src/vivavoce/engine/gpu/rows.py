"""The rows of a captured call: which slots they are is read from memory on the device, each time it is launched."""

from __future__ import annotations

from torch import Tensor

from vivavoce.nn.rows import Rows


class AnyRows(Rows):
    """Rows of slots that the host does not know, each with the page of its next position.

    Rows that pad a batch all have one slot more than there are streams; what they read and write means nothing.
    """

    def __init__(self, index: Tensor, pages: Tensor) -> None:
        self.index, self.pages = index, pages  # int64 [B], int32 [B]

    def read(self, state: Tensor) -> Tensor:
        """The chosen rows, [slots + 1, ...] to [B, ...]; a copy."""
        return state.index_select(0, self.index)

    def write(self, state: Tensor, value: Tensor) -> None:
        """Store [B, ...] back into [slots + 1, ...]."""
        state.index_copy_(0, self.index, value.to(state.dtype))
