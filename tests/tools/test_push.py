"""`vivavoce logs push` against a server that speaks S3, over the loopback interface."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from vivavoce.core import ExitCode
from vivavoce.tools.s3 import PART

from .conftest import Ran, Run

pytestmark = pytest.mark.filterwarnings("ignore")  # of moto and its web server
LARGE = bytes(range(256)) * (2 * PART // 256) + b"the last part"


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    from moto.server import ThreadedMotoServer

    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    host, port = moto.get_host_and_port()
    yield f"http://{host}:{port}"
    moto.stop()


@pytest.fixture
def s3(server: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    """A client of an account with the bucket `logs`, and a folder with three files of which one is raw."""
    import boto3

    for name, value in {
        "AWS_ACCESS_KEY_ID": "me", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_ENDPOINT_URL_S3": server,
        "AWS_CONFIG_FILE": str(tmp_path / "aws"), "AWS_EC2_METADATA_DISABLED": "true", "NO_PROXY": "127.0.0.1",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_DEFAULT_REGION", raising=False)
    client = boto3.client("s3", region_name="us-east-1", endpoint_url=server)
    client.create_bucket(Bucket="logs")
    for name, text in {"log.a": "one\n", "day/log.b": "two\n", "raw/trace.json": "{}", ".hidden": "x"}.items():
        path = tmp_path / "here" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    yield client
    for entry in client.list_objects_v2(Bucket="logs").get("Contents", []):
        client.delete_object(Bucket="logs", Key=entry["Key"])
    for upload in client.list_multipart_uploads(Bucket="logs").get("Uploads", []):
        client.abort_multipart_upload(Bucket="logs", Key=upload["Key"], UploadId=upload["UploadId"])
    client.delete_bucket(Bucket="logs")
    client.close()


def push(run: Run, *flags: str, **variables: str) -> tuple[Ran, dict[str, str]]:
    """What became of each key."""
    ran = run("logs", "push", "here", "--bucket", "logs", "--json", *flags, **variables)
    return ran, {one["key"]: one["state"] for one in json.loads(ran.out)["files"]}


def keys(s3: Any) -> set[str]:
    return {entry["Key"] for entry in s3.list_objects_v2(Bucket="logs").get("Contents", [])}


def test_a_tree_is_sent_once(run: Run, s3: Any, tmp_path: Path) -> None:
    ran, first = push(run, "--prefix", "office/")
    assert ran.code == 0, ran.err
    assert first == {"office/day/log.b": "upload", "office/log.a": "upload"}
    assert keys(s3) == first.keys()
    found = s3.get_object(Bucket="logs", Key="office/day/log.b")
    assert found["Body"].read() == b"two\n"
    assert found["ContentType"].startswith("text/plain")
    assert set(push(run, "--prefix", "office")[1].values()) == {"skip"}
    (tmp_path / "here/log.a").write_text("one\nmore\n")
    assert push(run, "--prefix", "office")[1] == {"office/day/log.b": "skip", "office/log.a": "upload"}
    assert set(push(run, "--prefix", "office", "--force")[1].values()) == {"upload"}


def test_raw_traces_only_when_asked(run: Run, s3: Any) -> None:
    assert push(run, "--include-raw")[1].keys() == {"day/log.b", "log.a", "raw/trace.json"}
    assert s3.head_object(Bucket="logs", Key="raw/trace.json")["ContentType"] == "application/json"


def test_what_others_have_sent_is_known_by_its_etag_or_its_md5(run: Run, s3: Any) -> None:
    s3.put_object(Bucket="logs", Key="log.a", Body=b"one\n")
    s3.put_object(Bucket="logs", Key="day/log.b", Body=b"xxx\n", Metadata={"local-md5": "00"})
    assert push(run)[1] == {"log.a": "skip", "day/log.b": "upload"}


def test_a_dry_run_sends_nothing_and_needs_no_account(run: Run, s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(push(run, "--dry-run")[1].values()) == {"dry-run"}
    assert not keys(s3)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    ran, planned = push(run, "--dry-run")
    assert (ran.code, set(planned.values())) == (0, {"dry-run"})
    refused, nothing = push(run)
    assert (refused.code, nothing) == (ExitCode.FAILURE, {})
    assert "no credentials: set AWS_ACCESS_KEY_ID" in refused.err


def test_a_bucket_that_does_not_exist_is_no_reason_to_upload(run: Run, s3: Any) -> None:
    """The fork took every refusal of HEAD for a file that is new (defect B-42)."""
    ran = run("logs", "push", "here", "--bucket", "other", "--json")
    assert ran.code == ExitCode.FAILURE
    assert len(json.loads(ran.out)["failures"]) == 2


def test_a_large_file_goes_on_where_it_was_interrupted(run: Run, s3: Any, tmp_path: Path) -> None:
    (tmp_path / "here/log.a").write_bytes(LARGE)
    upload = s3.create_multipart_upload(Bucket="logs", Key="log.a")["UploadId"]
    for number in (1, 2):
        part = LARGE[(number - 1) * PART : number * PART]
        s3.upload_part(Bucket="logs", Key="log.a", PartNumber=number, UploadId=upload, Body=part)
    ran, _ = push(run)
    (sent,) = [one for one in json.loads(ran.out)["files"] if one["key"] == "log.a"]
    assert (sent["state"], sent["reason"], sent["sent"]) == ("upload", "resumed", len(LARGE) - 2 * PART)
    assert s3.get_object(Bucket="logs", Key="log.a")["Body"].read() == LARGE
    assert push(run)[1]["log.a"] == "skip"


def test_what_was_interrupted_of_another_content_is_dropped(run: Run, s3: Any, tmp_path: Path) -> None:
    (tmp_path / "here/log.a").write_bytes(LARGE)
    upload = s3.create_multipart_upload(Bucket="logs", Key="log.a")["UploadId"]
    s3.upload_part(Bucket="logs", Key="log.a", PartNumber=1, UploadId=upload, Body=b"x" * PART)
    ran, _ = push(run, "--acl", "public-read")
    (sent,) = [one for one in json.loads(ran.out)["files"] if one["key"] == "log.a"]
    assert sent["sent"] == len(LARGE)
    assert s3.get_object(Bucket="logs", Key="log.a")["Body"].read() == LARGE
    assert not s3.list_multipart_uploads(Bucket="logs").get("Uploads")
    grants = s3.get_object_acl(Bucket="logs", Key="log.a")["Grants"]
    assert any(grant["Permission"] == "READ" for grant in grants)


def test_wrong_usage(run: Run, s3: Any) -> None:
    assert run("logs", "push", "here").code == ExitCode.USAGE
    assert run("logs", "push", "here", "--bucket", "logs", "--acl", "pubic-read").code == ExitCode.USAGE
    assert run("logs", "push", "none", "--bucket", "logs").code == ExitCode.FILE_NOT_FOUND
    assert run("logs", "push", "--bucket", "logs").code == ExitCode.USAGE
    assert run("logs", "push", "here", "--bucket", "logs", "--profile", "nobody").code == ExitCode.UNSUPPORTED
    ran = run("logs", "push", "--bucket", "logs", "--json", VIVAVOCE_LOG_DIR="here")
    assert ran.code == 0
