"""Steps as captured graphs, one for each size of batch, over buffers that never move.

A step is one copy in (samples, slots and pages side by side), one launch and one copy out. Two of them can be on their
way: what the host writes for the next and reads of the last is not what the device is working with.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .rows import AnyRows

Body = Callable[[AnyRows, Tensor], Tensor]  # samples fp32 [B, frame_size] of some rows to what is told of them
WARM = 2  # launches before a capture: kernels are compiled, libraries make their workspaces


def buckets(most: int) -> list[int]:
    """Powers of two and what lies half-way between them, up to the first that holds `most`."""
    sizes = sorted({size for power in range(most.bit_length() + 1) for size in (1 << power, 3 << power >> 1)})
    return [size for i, size in enumerate(sizes) if i == 0 or sizes[i - 1] < most]


@dataclass
class Staging:
    """What the host writes and reads of one step."""

    incoming: Tensor  # int32 [most, frame_size + 2] on the host: samples' bits, slot, page
    arriving: Tensor  # the same on the device
    outgoing: Tensor  # int32 [most, told] on the host
    arrived: torch.cuda.Event | None = None
    done: torch.cuda.Event | None = None


class Graphs:
    """`body` for at most `most` rows of `frame_size` samples; it tells int32 [B, told] of them.

    Rows that pad a batch have slot `nobody`. With `capture` off the body is run as it is, also on a CPU.
    """

    def __init__(
        self, body: Body, most: int, frame_size: int, told: int, nobody: int, device: torch.device, capture: bool
    ) -> None:
        self._body, self._nobody, self._device, self._frame_size = body, nobody, device, frame_size
        self.sizes = buckets(most)
        most = self.sizes[-1]
        self._on_gpu = device.type == "cuda"
        assert self._on_gpu or not capture, "there is nothing to capture on a CPU"
        self._input = torch.zeros(most, frame_size + 2, dtype=torch.int32, device=device)
        self._output = torch.zeros(most, told, dtype=torch.int32, device=device)
        self._staging = [self._stage(most, told) for _ in range(2)]
        self._turn = 0
        self._copying = torch.cuda.Stream(device) if self._on_gpu else None
        self.pool = torch.cuda.graph_pool_handle() if capture else None  # the memory that all graphs compute in
        self.captured: dict[int, torch.cuda.CUDAGraph] = self._capture() if capture else {}

    def _stage(self, most: int, told: int) -> Staging:
        incoming, outgoing = (
            torch.zeros(most, width, dtype=torch.int32, pin_memory=self._on_gpu)
            for width in (self._frame_size + 2, told)
        )
        if not self._on_gpu:
            return Staging(incoming, incoming, outgoing)
        return Staging(incoming, torch.zeros_like(self._input), outgoing, torch.cuda.Event(), torch.cuda.Event())

    @torch.inference_mode()
    def launch(self, slots: Sequence[int], pages: NDArray[np.int32], frames: Sequence[NDArray[np.float32]]) -> int:
        """Begin a step of these slots, each with the page of its next position and a frame; gives what `read` takes."""
        count = len(slots)
        size = next(size for size in self.sizes if size >= count)
        ticket, self._turn = self._turn, 1 - self._turn
        stage = self._staging[ticket]
        written = stage.incoming.numpy()
        samples = written.view(np.float32)
        for row, frame in enumerate(frames):
            samples[row, : self._frame_size] = frame.reshape(-1)
        written[:count, -2], written[:count, -1] = slots, pages
        written[count:size, -2:] = self._nobody, 0
        self._run(stage, size)
        return ticket

    def _run(self, stage: Staging, size: int) -> None:
        if self._copying is None or stage.arrived is None or stage.done is None:
            self._input[:size] = stage.arriving[:size]
            self.advance(size)
            stage.outgoing[:size] = self._output[:size]
            return
        with torch.cuda.stream(self._copying):
            stage.arriving[:size].copy_(stage.incoming[:size], non_blocking=True)
            stage.arrived.record()
        working = torch.cuda.current_stream(self._device)
        working.wait_event(stage.arrived)
        self._input[:size].copy_(stage.arriving[:size])
        self.advance(size)
        stage.outgoing[:size].copy_(self._output[:size], non_blocking=True)
        stage.done.record(working)

    def read(self, ticket: int, count: int) -> NDArray[np.int32]:
        """What a launched step tells of its `count` rows, [count, told]; until the next but one is launched."""
        stage = self._staging[ticket]
        if stage.done is not None:
            stage.done.synchronize()
        return stage.outgoing.numpy()[:count]

    def done(self, ticket: int) -> bool:
        """Whether `read` would not wait."""
        done = self._staging[ticket].done
        return done is None or done.query()

    def advance(self, size: int) -> None:
        """One step of what the device has been given."""
        if graph := self.captured.get(size):
            graph.replay()
        else:
            self._advance(size)

    def _advance(self, size: int) -> None:
        given = self._input[:size]
        rows = AnyRows(given[:, -2].long(), given[:, -1])
        audio = given[:, : self._frame_size].view(torch.float32)
        self._output[:size] = self._body(rows, audio)

    @torch.inference_mode()
    def _capture(self) -> dict[int, torch.cuda.CUDAGraph]:
        """The largest first, so that the smaller ones find room in its memory. Nobody's slot is stepped meanwhile."""
        self._input[:, -2] = self._nobody
        graphs = dict[int, torch.cuda.CUDAGraph]()
        for size in reversed(self.sizes):
            aside, working = torch.cuda.Stream(self._device), torch.cuda.current_stream(self._device)
            aside.wait_stream(working)
            with torch.cuda.stream(aside):
                for _ in range(WARM):
                    self._advance(size)
            working.wait_stream(aside)
            torch.cuda.synchronize(self._device)
            torch.cuda.empty_cache()  # the graph needs as much again, of its own
            graphs[size] = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graphs[size], pool=self.pool):
                self._advance(size)
        torch.cuda.synchronize(self._device)
        return graphs
