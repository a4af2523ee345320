"""vivavoce on Modal: one server in each container, no proxy before it.

modal deploy deploy/modal/app.py

KYUTAI_GPU (L40S), BATCH_SIZE (8 streams a container), MODEL_NAME (kyutai/stt-1b-en_fr), KYUTAI_APP_NAME (kyutai-stt),
KYUTAI_GPU_SNAPSHOT (0; 1 takes a snapshot of the loaded GPU), KYUTAI_SECRET (a secret of Modal's, with settings).
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import modal

GPU = os.environ.get("KYUTAI_GPU", "L40S")
STREAMS = int(os.environ.get("BATCH_SIZE", "8"))
MODEL = os.environ.get("MODEL_NAME", "kyutai/stt-1b-en_fr")
SNAPSHOT = os.environ.get("KYUTAI_GPU_SNAPSHOT", "0") == "1"
SECRET = os.environ.get("KYUTAI_SECRET")
PORT = 8000
LOADS = 900  # seconds: a first start downloads the model
STOPS = 45  # seconds: streams have 30 to finish
SETTINGS = {
    "VIVAVOCE_ADDR": "0.0.0.0",
    "VIVAVOCE_PORT": str(PORT),
    "VIVAVOCE_NO_AUTH": "true",  # Modal's edge wants Modal-Key and Modal-Secret before anything comes here
    "VIVAVOCE_TRUSTED_PROXIES": "*",
    "VIVAVOCE_MODEL": MODEL,
    "VIVAVOCE_TTS_MODEL": "none",
    "VIVAVOCE_SLOTS": str(STREAMS),
    "VIVAVOCE_IDLE_SECONDS": "10",  # a forgotten stream would keep the container, and its bill, alive
    "HF_HOME": "/models",
    "TRITON_CACHE_DIR": "/models/triton",
}
SOURCES = ("pyproject.toml", "hatch_build.py", "README.md", "LICENSE", "NOTICE")


def image() -> modal.Image:
    """The package from this checkout, with the kernels compiled and a compiler for Triton's launchers."""
    found = modal.Image.debian_slim(python_version="3.12").apt_install("g++")
    if not modal.is_local():  # in the container it is made already
        return found
    root = Path(__file__).resolve().parents[2]
    for name in SOURCES:
        found = found.add_local_file(root / name, f"/src/{name}", copy=True)
    found = found.add_local_dir(root / "src", "/src/src", copy=True, ignore=["**/__pycache__", "**/*.so"])
    return found.run_commands("pip install '/src[engine]'").env({"KYUTAI_GPU": GPU, "BATCH_SIZE": str(STREAMS)})


app = modal.App(os.environ.get("KYUTAI_APP_NAME", "kyutai-stt"))


@app.server(
    image=image(),
    gpu=GPU,
    env={**SETTINGS, "MODEL_NAME": MODEL},
    secrets=[modal.Secret.from_name(SECRET)] if SECRET else [],
    volumes={"/models": modal.Volume.from_name("kyutai-models", create_if_missing=True)},
    port=PORT,
    target_concurrency=STREAMS,
    max_concurrency=STREAMS,
    min_containers=0,
    max_containers=10,
    scaledown_window=60,
    startup_timeout=LOADS,
    exit_grace_period=STOPS,
    enable_memory_snapshot=SNAPSHOT,
    experimental_options={"enable_gpu_snapshot": True} if SNAPSHOT else None,
)
class Kyutai:
    """The server's process, from when its model is loaded to when its streams have ended."""

    @modal.enter(snap=SNAPSHOT)
    def start(self) -> None:
        self.process = subprocess.Popen([sys.executable, "-m", "vivavoce", "serve"])
        deadline = time.monotonic() + LOADS
        while not _ready():
            if self.process.poll() is not None:
                raise RuntimeError(f"vivavoce serve ended with exit code {self.process.returncode}; its log says why")
            if time.monotonic() > deadline:
                raise TimeoutError(f"not ready after {LOADS} s")
            time.sleep(0.2)

    @modal.exit()
    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(STOPS)
        except subprocess.TimeoutExpired:
            self.process.kill()


def _ready() -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    port = os.environ.get("VIVAVOCE_PORT", str(PORT))
    try:
        with opener.open(f"http://127.0.0.1:{port}/ready", timeout=5):
            return True
    except OSError:  # not listening yet, or 503
        return False
