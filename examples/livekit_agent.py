"""LiveKit's Gradium plugin, pointed at vivavoce: hears a recording and speaks what was said into a file.

    vivavoce serve
    python examples/livekit_agent.py ws://localhost:8080 examples/digits.flac said.wav

In an agent the two plugins go into its session, which has a room for a recording and a file:
AgentSession(stt=stt, tts=tts, llm=…). Needs the package livekit-plugins-gradium.
"""

import asyncio
import sys
import wave

import aiohttp
import av
from livekit import rtc
from livekit.agents import stt as speech
from livekit.plugins import gradium

RATE = 24_000  # Hz
SILENCE = 4  # seconds behind the recording, in which the model hears that the turn is over


async def heard(stt: gradium.STT, path: str) -> str:
    """What is said in the recording until the plugin has heard its end."""
    stream = stt.stream()
    with av.open(path) as container:
        resampler = av.AudioResampler("s16", "mono", RATE)
        for frame in [*container.decode(audio=0), None]:
            for part in resampler.resample(frame):
                data = part.to_ndarray().tobytes()
                stream.push_frame(rtc.AudioFrame(data, RATE, 1, len(data) // 2))
    stream.push_frame(rtc.AudioFrame(bytes(2 * SILENCE * RATE), RATE, 1, SILENCE * RATE))
    said: list[str] = []
    async for event in stream:
        if event.type is speech.SpeechEventType.FINAL_TRANSCRIPT:
            said.append(event.alternatives[0].text)
        if event.type is speech.SpeechEventType.END_OF_SPEECH:
            break
    await stream.aclose()
    return " ".join(said)


async def spoken(tts: gradium.TTS, text: str, path: str) -> None:
    """The text's speech in a WAV file."""
    stream = tts.stream()
    stream.push_text(text)
    stream.end_input()
    with wave.open(path, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(tts.sample_rate)
        async for audio in stream:
            file.writeframes(audio.frame.data.tobytes())
    await stream.aclose()


async def main(url: str, source: str, target: str, key: str = "none") -> None:
    async with aiohttp.ClientSession() as session:
        stt = gradium.STT(model_endpoint=f"{url}/api/speech/asr", api_key=key, http_session=session)
        tts = gradium.TTS(model_endpoint=f"{url}/api/speech/tts", api_key=key, http_session=session)
        text = await heard(stt, source)
        print(text)
        await spoken(tts, text, target)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
