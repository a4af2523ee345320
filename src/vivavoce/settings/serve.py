"""Every setting of `vivavoce serve`: a field is a TOML key, a variable VIVAVOCE_<NAME> and a flag --<name>."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, SecretStr, model_validator

from .errors import SettingsError
from .limits import CountOrOff, Limits, Seconds
from .modules import NONE, SHARED, AnyModule, Engine, Module, SpeechModule, Voice
from .origins import origin, proxy
from .sources import has_embedded

LEVELS = ("off", "error", "warn", "info", "debug", "trace")


def _items(value: Any) -> Any:
    """Lists are written with commas in the environment and after a flag."""
    return [item for part in value.split(",") if (item := part.strip())] if isinstance(value, str) else value


def _lower(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


def _level(value: Any) -> Any:
    """moshi-server takes 0 to 5 too."""
    return LEVELS[int(value)] if str(value) in "012345" and str(value) else _lower(value)


def _address(value: str) -> str:
    try:
        return value if value == "localhost" else str(ip_address(value))
    except ValueError:
        raise ValueError("should be an IP address or localhost") from None


def _tcp(value: str) -> str:
    host, port = _host_and_port(value)
    if not (host and port.isascii() and port.isdigit() and int(port) < 65_536):
        raise ValueError("should be tcp://ADDRESS:PORT")
    _address(host)
    return value


def _host_and_port(value: str) -> tuple[str, str]:
    host, _, port = value.removeprefix("tcp://").rpartition(":")
    return host.removeprefix("[").removesuffix("]"), port


def _filled(value: SecretStr) -> SecretStr:
    if not value.get_secret_value():
        raise ValueError("should not be empty")
    return value


Origins = Annotated[tuple[Annotated[str, AfterValidator(origin)], ...], BeforeValidator(_items)]
Proxies = Annotated[tuple[Annotated[str, AfterValidator(proxy)], ...], BeforeValidator(_items)]
Tcp = Annotated[str, AfterValidator(_tcp)]
Secret = Annotated[SecretStr, AfterValidator(_filled)]
Secrets = Annotated[tuple[Secret, ...], BeforeValidator(_items)]
Place = Annotated[Path, AfterValidator(Path.expanduser)]


class Listening(BaseModel):
    """Where it listens."""

    addr: Annotated[str, AfterValidator(_address)] = Field(
        "127.0.0.1", description="IP address, or localhost; 0.0.0.0 or :: for other machines to connect."
    )
    port: int = Field(8080, ge=0, le=65_535, description="TCP port; 0 takes a free one.")
    wyoming: Tcp | None = Field(
        None,
        description="tcp://ADDRESS:PORT for Wyoming (Home Assistant), which has no keys; without it there is none.",
    )
    workers: int = Field(
        1, ge=1, le=64, description="Processes that serve connections before the same engines; Linux only beyond 1."
    )
    tls_cert: Place | None = Field(None, description="Certificate chain (PEM), for https and wss; needs tls_key.")
    tls_key: Place | None = Field(None, description="Private key (PEM) of tls_cert.")
    origins: Origins = Field(
        (), description="Origins of pages that may connect besides the server's own, as https://example.org; * for all."
    )
    trusted_proxies: Proxies = Field(
        ("127.0.0.1",), description="Addresses whose X-Forwarded-For and -Proto are believed; * for all."
    )
    static_dir: Place | None = Field(None, description="Folder of files to serve at /, if it exists.")

    @property
    def wyoming_at(self) -> tuple[str, int] | None:
        """Address and port of `wyoming`."""
        if self.wyoming is None:
            return None
        host, port = _host_and_port(self.wyoming)
        return host, int(port)

    @property
    def loopback(self) -> bool:
        """Whether only this machine can connect."""
        return self.addr == "localhost" or ip_address(self.addr).is_loopback


class Access(BaseModel):
    """Who may come in."""

    api_keys: Secrets = Field((), description="Keys that open the server (moshi-server's authorized_ids).")
    jwt_secret: Secret | None = Field(None, description="Secret of HS256 tokens.")
    jwt_old_secrets: Secrets = Field((), description="Secrets before it, whose tokens are still good.")
    no_auth: bool = Field(False, description="Let everybody in, on any address.")
    modal_headers: bool = Field(False, description="Take the headers Modal-Key and Modal-Secret for a key.")
    modal_key: Secret | None = Field(None, description="What Modal-Key must be.")
    modal_secret: Secret | None = Field(None, description="What Modal-Secret must be.")


class Accounts(BaseModel):
    """Who has an account, and what may be used with it."""

    accounts: Secret | None = Field(
        None, description="Database of accounts: sqlite (a file of yours), sqlite:///FILE or postgresql://…; else none."
    )
    accounts_sign_up: bool = Field(True, description="People may make an account for themselves.")
    accounts_approval: bool = Field(True, description="Such an account waits for an administrator's approval.")
    accounts_attempts: CountOrOff = Field(
        10,
        description="Passwords that are tried in a minute, of one account; three times as many from an address; "
        "beyond it 429; 0: any number.",
    )
    accounts_token_seconds: Seconds = Field(900, description="How long a token is good for.")
    accounts_session_seconds: Seconds = Field(604_800, description="How long a sign-in is good for.")


class Logs(BaseModel):
    """What it says."""

    instance_name: str = Field("vivavoce", min_length=1, description="Name of this server, in its log file and status.")
    log_level: Annotated[Literal["off", "error", "warn", "info", "debug", "trace"], BeforeValidator(_level)] = Field(
        "info", description="What is logged."
    )
    log_style: Annotated[Literal["pretty", "compact", "verbose"], BeforeValidator(_lower)] = Field(
        "pretty", description="Look of the lines on the console."
    )
    log_json: bool = Field(False, description="Log JSON objects, a line each, to console and file.")
    log_dir: Place | None = Field(None, description="Folder of the file log.INSTANCE_NAME; without it there is none.")
    log_max_size_mb: int = Field(100, ge=1, description="A log file of this size (MB) is rotated; so is every day's.")
    log_max_files: int = Field(10, ge=1, description="Rotated log files that are kept.")
    silent: bool = Field(False, description="No banner and no log on the console.")
    otel: bool = Field(
        False, description="OpenTelemetry traces, sent where OTEL_EXPORTER_OTLP_ENDPOINT says; needs the extra otel."
    )


class ServeSettings(Limits, Logs, Accounts, Access, Voice, Engine, Listening):
    """What the server is to do.

    Built by `load` from flags, environment, `.env`, TOML and defaults, in this order of precedence;
    `ServeSettings(...)` itself reads nothing but its arguments.
    """

    modules: tuple[AnyModule, ...] | None = Field(None, description="What is served where, of [modules.NAME] tables.")

    @model_validator(mode="after")
    def _together(self) -> Self:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("tls_cert and tls_key must be given together")
        if self.jwt_old_secrets and not self.jwt_secret:
            raise ValueError("jwt_old_secrets needs jwt_secret")
        if self.modal_headers and not (self.modal_key and self.modal_secret):
            raise ValueError("modal_headers needs modal_key and modal_secret")
        return self

    @property
    def protected(self) -> bool:
        """Whether a key, a token or Modal's headers are demanded."""
        return not self.no_auth and bool(self.api_keys or self.jwt_secret or self.modal_headers or self.accounts)

    @property
    def limits(self) -> Limits:
        """The limits alone."""
        return Limits(**{name: getattr(self, name) for name in Limits.model_fields})

    @property
    def served(self) -> tuple[AnyModule, ...]:
        """What is to run: the modules, or those that the settings describe."""
        if self.modules is not None:
            return self.modules
        found: list[AnyModule] = []
        if self.model != NONE:
            found.append(Module(label="stt", **{name: getattr(self, name) for name in Engine.model_fields}))
        if self.tts_model != NONE and (self.tts_model or has_embedded("tts")):
            shared = {name: getattr(self, name) for name in SHARED}
            found.append(SpeechModule(label="tts", **shared, **self.of_tts))
        return tuple(found)

    @property
    def heard(self) -> tuple[Module, ...]:
        """The modules of speech to text."""
        return tuple(module for module in self.served if isinstance(module, Module))

    @property
    def spoken(self) -> tuple[SpeechModule, ...]:
        """The modules of text to speech."""
        return tuple(module for module in self.served if isinstance(module, SpeechModule))

    def demand_protection(self) -> None:
        """Raise SettingsError where other machines could connect and nobody has said who may."""
        if not (self.loopback or self.protected or self.no_auth):
            who = "set api_keys, jwt_secret or accounts, or say no_auth (--no-auth)"
            raise SettingsError(f"addr {self.addr} lets other machines connect: {who}")

    def demand_accounts(self) -> None:
        """Raise SettingsError where accounts lack what they need."""
        if self.accounts and not self.jwt_secret:
            raise SettingsError("accounts needs jwt_secret: the tokens of those who sign in are signed with it")
