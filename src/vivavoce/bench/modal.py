"""The same application on several of Modal's GPUs: deployed, measured, and taken down again."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from vivavoce.client.services import Service
from vivavoce.client.supervise import wait_ready
from vivavoce.core import UnsupportedError, VivavoceError

from .programs import program
from .targets import Target

WARM = 900.0  # seconds for a container to load its model
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_!:-]*")  # as Modal writes GPUs: L4, A100-80GB, H100!, L40S:2


def gpus(text: str) -> list[str]:
    """GPUs with commas between them. Raises VivavoceError."""
    found = [name.strip() for name in text.split(",") if name.strip()]
    if not found or not all(NAME.fullmatch(name) for name in found):
        raise VivavoceError(f"--compare-gpus wants names of Modal's GPUs with commas, such as L4,A10G, not {text!r}")
    return found


@contextmanager
def deployed(names: Sequence[str], app: Path, service: Service) -> Iterator[list[Target]]:
    """A target for each GPU once its model is loaded; in the end all are taken down, whatever happened.

    `service` has what opens them (Modal-Key, Modal-Secret). Raises VivavoceError.
    """
    modal = program("modal")
    if modal is None:
        raise UnsupportedError("--compare-gpus needs Modal's command: pip install modal && modal setup")
    if not app.is_file():
        raise VivavoceError(
            f"{app}: no such file; --modal-app names the application, deploy/modal/app.py of the sources"
        )
    with ExitStack() as cleanup:
        urls = []
        for name in names:
            place = f"kyutai-stt-{re.sub(r'[^a-z0-9]+', '-', name.lower()).strip('-')}"
            told = _deploy(modal, app, place, name)
            cleanup.callback(_stop, modal, place)
            urls.append(_url(told, name))
        for url in urls:  # all of them load at the same time
            wait_ready(url, WARM, headers=service.headers)
        yield [
            Target(name, Service(url, "stream", service.key, service.token, service.headers))
            for name, url in zip(names, (f"ws{url.removeprefix('http')}/v1/stream" for url in urls), strict=True)
        ]


def _deploy(modal: str, app: Path, place: str, gpu: str) -> str:
    environment = os.environ | {"KYUTAI_GPU": gpu, "KYUTAI_APP_NAME": place}
    done = subprocess.run([modal, "deploy", str(app)], env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise VivavoceError(f"modal deploy for {gpu} failed: {_last(done.stderr or done.stdout)}")
    return done.stdout


def _url(told: str, gpu: str) -> str:
    """Where it answers, of all that `modal deploy` says."""
    found = re.findall(r"https?://[^\s\x1b]+", told)
    found = [url.rstrip("/.") for url in found if "modal.com/" not in url]  # of the dashboard
    if not found:
        raise VivavoceError(f"modal deploy for {gpu} named no URL: {_last(told)}")
    return found[-1]


def _stop(modal: str, place: str) -> None:
    done = subprocess.run([modal, "app", "stop", "--yes", place], capture_output=True, text=True, check=False)
    if done.returncode:
        raise VivavoceError(
            f"{place} may still run and cost: modal app stop failed: {_last(done.stderr or done.stdout)}"
        )


def _last(text: str) -> str:
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "it said nothing")
