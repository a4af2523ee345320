"""What a recording says, asked of a transcription API as OpenAI has it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx

from vivavoce.core import VivavoceError

from .manifest import WordTime, words_of

PATIENCE = 600.0  # seconds for an answer
PUBLIC = "https://api.openai.com/v1"


class AnnotatorError(VivavoceError):
    """The API cannot be reached, refuses, or answers something else."""


class OpenAi:
    """`annotator(path)`: text and words with their times, by POST BASE/audio/transcriptions."""

    def __init__(self, key: str, model: str, base: str = PUBLIC) -> None:
        self._url, self._model = f"{base.rstrip('/')}/audio/transcriptions", model
        self._headers = {"Authorization": f"Bearer {key}"}

    def __call__(self, path: Path) -> tuple[str, tuple[WordTime, ...]]:
        told = self._ask(path)
        if not isinstance(told.get("text"), str):
            raise AnnotatorError(f"{path.name}: the answer of {self._url} has no text")
        return told["text"].strip(), words_of(told.get("words") or [], f"{path.name}: the answer of {self._url}")

    def _ask(self, path: Path) -> dict[str, Any]:
        # Words stand at the top of verbose_json, if they are asked for; the fork looked into the segments.
        form = {"model": self._model, "response_format": "verbose_json", "timestamp_granularities[]": "word"}
        try:
            with path.open("rb") as file:
                files = {"file": (path.name, file, "audio/wav")}
                answer = httpx.post(self._url, headers=self._headers, data=form, files=files, timeout=PATIENCE)
            if answer.is_error:
                raise AnnotatorError(f"{path.name}: {self._url} answers {answer.status_code}: {answer.text[:200]}")
            told = answer.json()
        except (httpx.HTTPError, OSError) as error:
            raise AnnotatorError(f"{path.name}: {self._url} cannot be asked: {error}") from None
        except ValueError:
            raise AnnotatorError(f"{path.name}: the answer of {self._url} is not JSON") from None
        if not isinstance(told, dict):
            raise AnnotatorError(f"{path.name}: the answer of {self._url} is no object")
        return told
