"""A folder of logs into a bucket of S3, or of what speaks its language: what has changed, and what is still missing.

Needs the extra `s3` (boto3).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vivavoce.core import AudioNotFoundError, UnsupportedError, VivavoceError

PART = 8 << 20  # bytes; larger files are sent in parts of this size, and an interrupted one goes on behind its last
RAW = "raw"  # folders of raw traces
TYPES = {".json": "application/json", ".jsonl": "application/x-ndjson", ".gz": "application/gzip"}


class PushError(VivavoceError):
    """The bucket cannot be reached, does not exist, or refuses."""


@dataclass(frozen=True)
class Pushed:
    """What became of one file."""

    key: str
    state: str  # upload, skip, dry-run
    bytes: int
    sent: int  # bytes that went over the line
    reason: str


@dataclass(frozen=True)
class Bucket:
    """Where to, and as whom; None leaves it to the environment and AWS's own files."""

    name: str
    prefix: str = ""
    profile: str | None = None
    region: str | None = None
    endpoint: str | None = None
    acl: str | None = None

    def client(self) -> Any:
        """Raises UnsupportedError without boto3 or for an unknown profile."""
        try:
            import boto3
            from botocore.config import Config
            from botocore.exceptions import BotoCoreError
        except ImportError:
            raise UnsupportedError("logs push needs the extra `s3`: pip install 'vivavoce[s3]'") from None
        try:
            session = boto3.Session(profile_name=self.profile, region_name=self.region)
            region = self.region or session.region_name or "us-east-1"
            config = Config(retries={"mode": "standard", "max_attempts": 5})
            return session.client("s3", region_name=region, endpoint_url=self.endpoint, config=config)
        except (BotoCoreError, ValueError) as error:
            raise UnsupportedError(str(error)) from None

    def key(self, relative: Path) -> str:
        return "/".join(part for part in (self.prefix.strip("/"), relative.as_posix()) if part)


def files_of(folder: Path, *, include_raw: bool) -> list[Path]:
    """Relative, sorted; hidden ones and, unless asked for, what lies in a folder `raw` are left out."""
    if not folder.is_dir():
        raise AudioNotFoundError(f"{folder}: no such folder")
    below = (path.relative_to(folder) for path in sorted(folder.rglob("*")) if path.is_file())
    return [
        path
        for path in below
        if (include_raw or RAW not in path.parts[:-1]) and not any(part.startswith(".") for part in path.parts)
    ]


def push(
    folder: Path, bucket: Bucket, *, include_raw: bool = False, force: bool = False, dry: bool = False
) -> Iterator[Pushed | PushError]:
    """Each file as it is done; what goes wrong with one is its own result."""
    files, client = files_of(folder, include_raw=include_raw), bucket.client()
    for relative in files:
        try:
            yield _one(client, bucket, folder / relative, bucket.key(relative), force=force, dry=dry)
        except PushError as error:
            yield error


def _one(client: Any, bucket: Bucket, path: Path, key: str, *, force: bool, dry: bool) -> Pushed:
    from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

    local = _Local.of(path)
    try:
        there = None if force else _head(client, bucket, key)
        if there and local.same_as(there):
            return Pushed(key, "skip", local.size, 0, "unchanged")
        reason = "forced" if force else "changed" if there else "new"
        if dry:
            return Pushed(key, "dry-run", local.size, 0, reason)
        sent = _send(client, bucket, key, local)
    except NoCredentialsError:
        if dry:  # a plan needs no account
            return Pushed(key, "dry-run", local.size, 0, "not compared: no credentials")
        raise PushError(f"{key}: no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY") from None
    except (BotoCoreError, ClientError) as error:
        raise PushError(f"{key}: {error}") from None
    return Pushed(key, "upload", local.size, sent, "resumed" if sent < local.size else reason)


def _head(client: Any, bucket: Bucket, key: str) -> dict[str, Any] | None:
    """None where there is no such object; every other refusal is raised."""
    from botocore.exceptions import ClientError

    try:
        return dict(client.head_object(Bucket=bucket.name, Key=key))
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404 and _exists(client, bucket):
            return None
        raise


def _exists(client: Any, bucket: Bucket) -> bool:
    """A bucket that does not exist answers as an object that does not."""
    client.head_bucket(Bucket=bucket.name)
    return True


@dataclass(frozen=True)
class _Local:
    """A file as it is now; what is written behind its end meanwhile is not sent."""

    path: Path
    size: int
    md5: str
    parts: tuple[str, ...]  # MD5 of each part

    @classmethod
    def of(cls, path: Path) -> _Local:
        whole, parts, size = hashlib.md5(usedforsecurity=False), list[str](), path.stat().st_size
        with path.open("rb") as file:
            for first in range(0, max(size, 1), PART):
                content = file.read(min(PART, size - first))
                whole.update(content)
                parts.append(hashlib.md5(content, usedforsecurity=False).hexdigest())
        return cls(path, size, whole.hexdigest(), tuple(parts))

    def same_as(self, there: dict[str, Any]) -> bool:
        """By the MD5 that we, or the fork, left with it, else by its ETag, of a file in parts that of its parts."""
        if there["ContentLength"] != self.size:
            return False
        if told := there.get("Metadata", {}).get("local-md5"):
            return bool(told == self.md5)
        together = hashlib.md5(b"".join(map(bytes.fromhex, self.parts)), usedforsecurity=False).hexdigest()
        return there["ETag"].strip('"') in (self.md5, f"{together}-{len(self.parts)}")

    def read(self, part: int) -> bytes:
        with self.path.open("rb") as file:
            file.seek(part * PART)
            return file.read(min(PART, self.size - part * PART))


def _send(client: Any, bucket: Bucket, key: str, local: _Local) -> int:
    """The bytes that were sent."""
    kind = TYPES.get(local.path.suffix, "text/plain; charset=utf-8")
    how = {"Bucket": bucket.name, "Key": key, "ContentType": kind, "Metadata": {"local-md5": local.md5}}
    how |= {"ACL": bucket.acl} if bucket.acl else {}
    if len(local.parts) == 1:
        client.put_object(Body=local.read(0), **how)
        return local.size
    there = {"Bucket": bucket.name, "Key": key}
    upload, done = _pending(client, there, local) or (client.create_multipart_upload(**how)["UploadId"], set[int]())
    sent = 0
    for part in range(len(local.parts)):
        if part not in done:
            content = local.read(part)
            client.upload_part(Body=content, PartNumber=part + 1, UploadId=upload, **there)
            sent += len(content)
    listed = [{"PartNumber": n + 1, "ETag": f'"{digest}"'} for n, digest in enumerate(local.parts)]
    client.complete_multipart_upload(UploadId=upload, MultipartUpload={"Parts": listed}, **there)
    return sent


def _pending(client: Any, there: dict[str, str], local: _Local) -> tuple[str, set[int]] | None:
    """An upload of this content that was interrupted, and the parts that arrived; others of the key are dropped."""
    pages = client.get_paginator("list_multipart_uploads").paginate(Bucket=there["Bucket"], Prefix=there["Key"])
    uploads = [entry["UploadId"] for page in pages for entry in page.get("Uploads", []) if entry["Key"] == there["Key"]]
    for upload in uploads:
        parts = client.get_paginator("list_parts").paginate(UploadId=upload, **there)
        arrived = {
            entry["PartNumber"] - 1: entry["ETag"].strip('"') for page in parts for entry in page.get("Parts", [])
        }
        if arrived and all(n < len(local.parts) and local.parts[n] == etag for n, etag in arrived.items()):
            return upload, set(arrived)
        client.abort_multipart_upload(UploadId=upload, **there)
    return None
