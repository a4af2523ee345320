"""A Pipecat bot that hears and speaks by vivavoce: Pipecat's own Gradium services, pointed at its URL.

    vivavoce serve
    python examples/pipecat_bot.py ws://localhost:8080 examples/digits.flac said.wav

A recording stands for the caller and a file for their ear; in a real bot a transport takes their places, and an LLM
service that of Echo. Needs the package pipecat-ai.
"""

import asyncio
import sys
import wave
from pathlib import Path

import av
from loguru import logger
from pipecat.frames.frames import (
    EndFrame,
    Frame,
    InputAudioRawFrame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
    LLMTextFrame,
    TranscriptionFrame,
    TTSAudioRawFrame,
    TTSStoppedFrame,
    VADUserStoppedSpeakingFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.services.gradium.stt import GradiumSTTService
from pipecat.services.gradium.tts import GradiumTTSService
from pipecat.workers.runner import WorkerRunner

RATE = 24_000  # Hz


class Echo(FrameProcessor):
    """In the place of an LLM: answers with what was said."""

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if isinstance(frame, TranscriptionFrame):
            print(frame.text)
            await self.push_frame(LLMFullResponseStartFrame())
            await self.push_frame(LLMTextFrame(frame.text))
            await self.push_frame(LLMFullResponseEndFrame())
        else:
            await self.push_frame(frame, direction)


class Ear(FrameProcessor):
    """In the place of a transport: keeps what is spoken."""

    def __init__(self) -> None:
        super().__init__()
        self.audio = bytearray()
        self.rate = 0
        self.heard_all = asyncio.Event()

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if isinstance(frame, TTSAudioRawFrame):
            self.audio += frame.audio
            self.rate = frame.sample_rate
        if isinstance(frame, TTSStoppedFrame):
            self.heard_all.set()
        await self.push_frame(frame, direction)


async def converse(url: str, recording: bytes, key: str) -> Ear:
    stt = GradiumSTTService(api_key=key, api_endpoint_base_url=f"{url}/api/speech/asr")
    tts = GradiumTTSService(api_key=key, url=f"{url}/api/speech/tts")
    ear = Ear()
    params = PipelineParams(audio_in_sample_rate=RATE, audio_out_sample_rate=48_000)
    worker = PipelineWorker(Pipeline([stt, Echo(), tts, ear]), params=params, enable_rtvi=False)

    async def call() -> None:
        for start in range(0, len(recording), RATE // 25 * 2):  # 40 ms
            piece = recording[start : start + RATE // 25 * 2]
            await worker.queue_frame(InputAudioRawFrame(audio=piece, sample_rate=RATE, num_channels=1))
        await worker.queue_frame(VADUserStoppedSpeakingFrame())
        await ear.heard_all.wait()
        await worker.queue_frame(EndFrame())

    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    await asyncio.gather(runner.run(), call())
    return ear


def pcm(path: Path) -> bytes:
    """Any file as 16-bit mono at RATE."""
    with av.open(str(path)) as container:
        resampler = av.AudioResampler("s16", "mono", RATE)
        frames = [part for frame in [*container.decode(audio=0), None] for part in resampler.resample(frame)]
        return b"".join(frame.to_ndarray().tobytes() for frame in frames)


def save(path: Path, audio: bytes, rate: int) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(audio)


if __name__ == "__main__":
    logger.remove()
    url, source, target, *key = sys.argv[1:]
    heard = asyncio.run(converse(url, pcm(Path(source)), key[0] if key else "none"))
    save(Path(target), bytes(heard.audio), heard.rate)
