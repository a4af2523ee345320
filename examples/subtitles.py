"""Subtitles beside every recording: talk.mp4 gets a talk.srt.

vivavoce serve
python examples/subtitles.py ws://localhost:8080 examples/digits.flac
"""

import sys
from pathlib import Path

from vivavoce import subtitles
from vivavoce.client import transcribe

url, *recordings = sys.argv[1:]
for recording in map(Path, recordings):
    target = recording.with_suffix(".srt")
    target.write_text(subtitles.srt(transcribe(url, recording)), "utf-8")
    print(target)
