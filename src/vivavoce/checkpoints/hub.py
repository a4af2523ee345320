"""Models on the Hugging Face hub: fetching files, and which ones are known or already here.

`HF_HOME`, `HF_HUB_CACHE`, `HF_TOKEN`, `HF_ENDPOINT` and `HF_HUB_OFFLINE` count as they are when a function is called;
huggingface_hub itself reads most of them once, when it is imported.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import huggingface_hub
from huggingface_hub import constants, errors

from ..core import CheckpointError, DownloadError
from ..settings import hub_cache, hub_endpoint, hub_offline, hub_token

_CODEC = 384_644_900  # bytes of the codec that lies in every repository


@dataclass(frozen=True)
class KnownModel:
    """A released speech-to-text model."""

    name: str
    languages: tuple[str, ...]
    bytes: int  # to download, to a few percent
    layout: str
    pause_heads: bool = False  # only one release has a semantic VAD


KNOWN_MODELS = (
    KnownModel("kyutai/stt-1b-en_fr", ("en", "fr"), 1_978_423_520 + _CODEC, "pytorch"),
    KnownModel("kyutai/stt-1b-en_fr-candle", ("en", "fr"), 1_978_522_200 + _CODEC, "candle", pause_heads=True),
    KnownModel("kyutai/stt-1b-en_fr-trfs", ("en", "fr"), 1_978_423_520 + _CODEC, "trfs"),
    KnownModel("kyutai/stt-2.6b-en", ("en",), 5_234_275_128 + _CODEC, "pytorch"),
    KnownModel("kyutai/stt-2.6b-en-candle", ("en",), 5_234_275_128 + _CODEC, "candle"),
    KnownModel("kyutai/stt-2.6b-en-trfs", ("en",), 5_234_275_128 + _CODEC, "trfs"),
)


def fetch(repository: str, file: str, revision: str | None = None) -> Path:
    """The local path of a repository's file, downloaded when needed, with a progress bar on a terminal.

    Raises DownloadError, one line that says what to do.
    """
    try:
        return _download(repository, file, revision)
    except Exception as error:  # the client also lets through errors of its HTTP library, which differs by version
        raise DownloadError(_explain(error, repository, file, revision)) from error


def find(repository: str, file: str, revision: str | None = None) -> Path | None:
    """`fetch`, but None where the repository, or offline its copy in the cache, has no such file."""
    try:
        return fetch(repository, file, revision)
    except DownloadError as error:
        if isinstance(error.__cause__, errors.EntryNotFoundError):
            return None
        raise


def snapshot(repository: str, pattern: str, revision: str | None = None) -> Path:
    """The folder of a repository's files that match a pattern (`*` also matches `/`), downloaded when needed.

    Raises DownloadError, one line that says what to do.
    """
    try:
        path = huggingface_hub.snapshot_download(
            repository,
            revision=revision,
            cache_dir=hub_cache(),
            endpoint=hub_endpoint(),
            token=hub_token(),
            allow_patterns=[pattern],
            local_files_only=hub_offline(),
        )
    except Exception as error:  # as in `fetch`
        raise DownloadError(_explain(error, repository, pattern, revision)) from error
    return Path(path)


def _download(repository: str, file: str, revision: str | None) -> Path:
    path = huggingface_hub.hf_hub_download(
        repository,
        file,
        revision=revision,
        cache_dir=hub_cache(),
        endpoint=hub_endpoint(),
        token=hub_token(),
        local_files_only=hub_offline(),
    )
    return Path(path)


def _explain(error: Exception, repository: str, file: str, revision: str | None) -> str:
    at = f"{repository}@{revision}" if revision else repository
    match error:
        case errors.GatedRepoError():
            return f"{repository} is gated: accept its conditions at {hub_endpoint()}/{repository} and set HF_TOKEN"
        case errors.RepositoryNotFoundError():
            return f"{hub_endpoint()} has no repository {repository}, or it is private and HF_TOKEN does not open it"
        case errors.RevisionNotFoundError():
            return f"{repository} has no revision {revision}"
        case errors.RemoteEntryNotFoundError():
            return f"{at} has no file {file}"
        case errors.OfflineModeIsEnabled() | errors.LocalEntryNotFoundError() if (
            hub_offline() or constants.HF_HUB_OFFLINE
        ):
            return f"{file} of {at} is not in the cache {hub_cache()} and HF_HUB_OFFLINE is set"
        case errors.LocalEntryNotFoundError():
            reason = _first_line(error.__cause__ or error)
            return f"cannot reach {hub_endpoint()} ({reason}), and {file} of {at} is not in the cache {hub_cache()}"
    return f"{file} of {at} could not be fetched: {_first_line(error)}"


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def cached_models() -> list[tuple[str, Path, int]]:
    """Models of ours in the cache: name, folder of the newest copy, bytes on disk."""
    found = []
    for repository in _cached():
        newest = max(repository.revisions, key=lambda revision: revision.last_modified, default=None)
        if newest is not None and _is_model(newest.snapshot_path / "config.json"):
            found.append((repository.repo_id, newest.snapshot_path, repository.size_on_disk))
    return sorted(found)


def remove(name: str, revision: str | None = None, *, dry: bool = False) -> tuple[list[str], int]:
    """Take a repository, or one revision of it, out of the cache: the commits removed, and the bytes that frees.

    `dry` only tells. Raises CheckpointError where the cache has no such thing.
    """
    held = {repository.repo_id: repository for repository in _cached()}
    if name not in held:
        raise CheckpointError(f"{name} is not in the cache {hub_cache()}")
    found = [one for one in held[name].revisions if revision is None or revision in {one.commit_hash, *one.refs}]
    if not found:
        there = ", ".join(sorted(one.commit_hash for one in held[name].revisions))
        raise CheckpointError(f"{name} is in the cache, but not at {revision}; there is {there}")
    commits = sorted(one.commit_hash for one in found)
    strategy = huggingface_hub.scan_cache_dir(hub_cache()).delete_revisions(*commits)
    if not dry:
        strategy.execute()
    return commits, strategy.expected_freed_size


def _cached() -> list[huggingface_hub.CachedRepoInfo]:
    if not hub_cache().is_dir():
        return []
    return [one for one in huggingface_hub.scan_cache_dir(hub_cache()).repos if one.repo_type == "model"]


def _is_model(config: Path) -> bool:
    try:
        values = json.loads(config.read_text("utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(values, dict) and values.get("model_type") in ("stt", "tts", "kyutai_speech_to_text")
