"""The estimate that the fork's server makes of a GPU's memory at start (spec/features.md 1.24), whose users know it.

Coarser than ours: it counts neither the codec's memory of each stream nor what libraries take, and puts a factor and a
reserve in their place.
"""

from __future__ import annotations

from dataclasses import dataclass

from vivavoce.nn.lm import LmConfig

MIB = 1 << 20
RESERVED, CODEC = 2560, 1024  # MiB: MOSHI_VRAM_RESERVED_MB, MOSHI_MIMI_ESTIMATE_MB


@dataclass(frozen=True)
class ForkPlan:
    """All in MiB but the factor, in tenths."""

    memory: int  # keys and values of a stream
    tenths: int  # the safety factor
    per_slot: int
    weights: int
    available: int  # for streams
    slots: int  # at least 1, as the fork has it

    @property
    def critical(self) -> bool:
        """Nothing is left for streams; the fork starts with one all the same."""
        return self.available == 0


def fork_plan(
    lm: LmConfig,
    total: int,
    free: int,
    *,
    billions: float,
    bytes: int = 2,
    reserved: int = RESERVED,
    codec: int = CODEC,
    per_slot: int | None = None,
) -> ForkPlan:
    """`total` and `free` MiB of the GPU; `billions` of weights of `bytes` each; `per_slot` MiB replaces the formula."""
    memory = 2 * lm.context * lm.dim * lm.num_layers * bytes // MIB
    tenths = safety(lm, total)
    each = per_slot or max(1, -(-memory * tenths // 10))
    weights = round(billions * 1e9) * bytes // MIB
    available = max(0, free - reserved - weights - codec)
    return ForkPlan(memory, tenths, each, weights, available, max(1, available // each))


def safety(lm: LmConfig, total: int) -> int:
    """Tenths, 11 to 20: more for long contexts, large models and small cards."""
    tenths = 13 + (lm.context >= 4096) + (lm.context >= 8192) + (lm.depformer is not None)
    tenths += 2 if lm.dim >= 4096 or lm.num_layers >= 32 else int(lm.dim >= 3072 or lm.num_layers >= 24)
    gib = total / 1024
    tenths += 2 if gib <= 8 else 1 if gib <= 12 else -2 if gib >= 48 else -1 if gib >= 24 else 0
    return min(20, max(11, tenths))
