"""Every series moves."""

from __future__ import annotations

import re
from asyncio import Runner

import numpy as np
import pytest
from prometheus_client import generate_latest

from vivavoce.core import Healed, StreamError
from vivavoce.runtime import Runtime, StreamOptions

from .driver import Samples, events, kill, sample, send, until


def test_series_move_with_what_happens(runner: Runner, runtime: Runtime, digits: Samples) -> None:
    def now(name: str, **labels: str) -> float:
        return sample(runtime, name, **({} if name.startswith("asr_") else {"module": "stt"}), **labels)

    async def main() -> None:
        assert now("vivavoce_ready") == 1
        assert now("vivavoce_slots") == 4
        assert 0 <= now("vivavoce_capacity_streams") <= 4
        streams = [runtime.open(StreamOptions(resumable=True)) for _ in range(4)]
        with pytest.raises(StreamError):
            runtime.open()
        assert now("asr_connect", handler="all") == 5
        assert now("vivavoce_refusals_total", reason="capacity") == 1
        assert now("asr_open_channels", handler="all") == now("vivavoce_slots_used") == 4
        assert now("vivavoce_real_time_load") > 0
        streams[0].park()
        assert now("vivavoce_streams", state="live") == 3
        assert now("vivavoce_streams", state="parked") == 1
        runtime.resume(streams[0].id).close()
        kill(runtime)
        await send(streams[1], digits, end=False)
        streams[1].flush(1)
        assert now("vivavoce_queue_seconds") > 1
        await until(lambda: runtime.state == "restarting")
        assert now("vivavoce_ready") == 0
        assert now("vivavoce_engine_restarts_total", reason="crash") == 1
        streams[1].end()
        await until(lambda: runtime.slots_used == 2)
        for stream in streams:
            stream.close()

    runner.run(main())
    steps = now("asr_model_step_duration_count")
    assert steps == now("vivavoce_step_seconds_count") == now("vivavoce_step_streams_count") > 60
    assert now("asr_connection_num_steps_count") == 4
    assert now("asr_connection_num_steps_sum") == pytest.approx(now("vivavoce_audio_seconds_total") * 12.5)
    assert now("vivavoce_words_total") == 11
    assert now("vivavoce_first_word_seconds_count") == 1
    assert now("vivavoce_flush_seconds_count") == 1
    assert now("vivavoce_real_time_factor_count") == 1
    assert now("asr_open_channels", handler="all") == 0


def test_a_model_that_goes_silent_over_speech_is_healed_and_counted(
    runner: Runner, runtime: Runtime, digits: Samples
) -> None:
    """Speech of another kind: the digits, each sample's neighbourhood turned around, are words to nobody."""

    async def main() -> None:
        babble = np.tile(digits.reshape(-1, 12_000)[:, ::-1].ravel(), 4)
        before = runtime.limits
        runtime.limits = before.model_copy(update={"heal_seconds": 3.0})
        heard = await events(runtime.open(), babble)
        runtime.limits = before
        healed = sum(isinstance(event, Healed) for event in heard)
        assert healed
        assert sample(runtime, "vivavoce_heals_total", module="stt") == healed

    runner.run(main())


def test_moshis_series_look_as_dashboards_expect(runtime: Runtime) -> None:
    text = generate_latest(runtime._metrics.all.registry).decode()
    assert re.search(r'^asr_connect\{handler="all"\} \d', text, re.MULTILINE)
    assert re.search(r'^asr_open_channels\{handler="all"\} \d', text, re.MULTILINE)
    assert 'asr_model_step_duration_bucket{le="0.08"}' in text
    assert 'asr_connection_num_steps_bucket{le="4500.0"}' in text
