"""Every setting of `vivavoce serve`: a field is a TOML key, a variable VIVAVOCE_<NAME> and a flag --<name>."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, SecretStr, StringConstraints, field_validator, model_validator

from ..core import ExitCode, VivavoceError
from .limits import Limits
from .modules import Module


class SettingsError(VivavoceError):
    """A setting is wrong: one line with its name, where it was set, the limit and the value seen."""

    exit_code = ExitCode.USAGE


def _items(value: Any) -> Any:
    """Lists are written with commas in the environment and after a flag."""
    return [item for part in value.split(",") if (item := part.strip())] if isinstance(value, str) else value


Names = Annotated[tuple[str, ...], BeforeValidator(_items)]
Secrets = Annotated[tuple[SecretStr, ...], BeforeValidator(_items)]
Secret = Annotated[SecretStr, Field(min_length=1)]


class ServeSettings(Limits):
    """What the server is to do; the fields of `Limits` are settings too.

    Built by `load` from flags, environment, `.env`, TOML and defaults, in this order of precedence;
    `ServeSettings(...)` itself reads nothing but its arguments.
    """

    # --- where it listens ---
    addr: str = Field(
        "127.0.0.1", description="IP address to listen on, or localhost; other machines need 0.0.0.0 or ::."
    )
    port: int = Field(8080, ge=0, le=65_535, description="TCP port; 0 takes a free one.")
    tls_cert: Path | None = Field(None, description="Certificate chain (PEM), for https and wss; needs tls_key.")
    tls_key: Path | None = Field(None, description="Private key (PEM) of tls_cert.")
    origins: Names = Field((), description="Origins of web pages that may connect besides the server's own; * for all.")
    trusted_proxies: Names = Field(
        ("127.0.0.1",), description="Addresses whose X-Forwarded-For and X-Forwarded-Proto are believed; * for all."
    )
    static_dir: Path | None = Field(None, description="Folder of files to serve at /; ignored while it does not exist.")

    # --- the model ---
    model: str | None = Field(
        None, description="Folder, Hugging Face repository or hf://owner/name; else the embedded model."
    )
    device: Annotated[str, StringConstraints(pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$")] = Field(
        "auto", description="auto (CUDA where there is one, else the CPU), cpu, cuda, cuda:N or mps."
    )
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field("auto", description="Precision of the weights.")
    slots: int = Field(16, ge=1, le=4096, description="Streams at once (batch_size of moshi-server).")
    threads: int | None = Field(None, ge=1, description="Threads of the arithmetic on a CPU; else torch's choice.")
    temperature: float | None = Field(
        None, ge=0, description="Sampling of text; 0 takes the likeliest, else the model's own."
    )
    seed: int = Field(0, ge=0, lt=2**63, description="Of the sampling, when the temperature is above 0.")
    vad_head: int | None = Field(None, ge=0, description="Which head's pauses end a turn; else the model's own choice.")
    vad_threshold: float = Field(0.5, ge=0, le=1, description="Probability of a pause at which a turn ends.")
    warmup: bool = Field(True, description="Run some steps before /ready says yes.")

    # --- who may come in ---
    api_keys: Secrets = Field((), description="Keys that open the server (authorized_ids of moshi-server).")
    jwt_secret: Secret | None = Field(None, description="Secret of HS256 tokens.")
    no_auth: bool = Field(False, description="Let everybody in, on any address.")
    modal_headers: bool = Field(False, description="Take the headers Modal-Key and Modal-Secret for a key.")
    modal_key: Secret | None = Field(None, description="What Modal-Key must be.")
    modal_secret: Secret | None = Field(None, description="What Modal-Secret must be.")

    # --- what it says ---
    instance_name: str = Field(
        "vivavoce", min_length=1, description="Name of this server in its log file and its status."
    )
    log_level: Literal["off", "error", "warn", "info", "debug", "trace"] = Field("info", description="What is logged.")
    log_style: Literal["pretty", "compact", "verbose"] = Field(
        "pretty", description="Look of the lines on the console."
    )
    log_json: bool = Field(False, description="Log JSON objects, a line each, to console and file.")
    log_dir: Path | None = Field(
        None, description="Folder of the log file log.<instance_name>; without it there is none."
    )
    log_max_size_mb: int = Field(100, ge=1, description="A log file of this size (MB) is rotated; every day's is too.")
    log_max_files: int = Field(10, ge=1, description="Rotated log files that are kept.")
    silent: bool = Field(False, description="No banner and no log on the console.")

    # --- from [modules.NAME] of the TOML ---
    modules: tuple[Module, ...] = Field(
        (), description="What is served where; without one, the settings above at /api/asr-streaming."
    )

    @field_validator("addr")
    @classmethod
    def _address(cls, value: str) -> str:
        if value != "localhost":
            try:
                ip_address(value)
            except ValueError:
                raise ValueError("should be an IP address or localhost") from None
        return value

    @model_validator(mode="after")
    def _together(self) -> Self:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("tls_cert and tls_key must be given together")
        if self.modal_headers and not (self.modal_key and self.modal_secret):
            raise ValueError("modal_headers needs modal_key and modal_secret")
        return self

    @property
    def limits(self) -> Limits:
        """The limits alone."""
        return Limits(**{name: getattr(self, name) for name in Limits.model_fields})

    @property
    def served(self) -> tuple[Module, ...]:
        """What is to run: the modules, or the one that the settings describe."""
        return self.modules or (Module(label="stt", **{name: getattr(self, name) for name in Module.ENGINE}),)

    @property
    def loopback(self) -> bool:
        """Whether only this machine can connect."""
        return self.addr == "localhost" or ip_address(self.addr).is_loopback

    @property
    def protected(self) -> bool:
        """Whether a key, a token or Modal's headers are demanded."""
        return not self.no_auth and bool(self.api_keys or self.jwt_secret or self.modal_headers)

    def demand_protection(self) -> None:
        """Raise SettingsError where other machines could connect and nobody has said who may."""
        if not (self.loopback or self.protected or self.no_auth):
            raise SettingsError(
                f"addr {self.addr} lets other machines connect: set api_keys or jwt_secret, or say no_auth (--no-auth)"
            )
