"""What the environment, files and the user's words say: models, the hub, and every setting of the server. No network.

The names below TYPE_CHECKING are imported when asked for: finding a model must not pay for
pydantic.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .sources import (
    EMBEDDED,
    HubSource,
    LocalSource,
    embedded,
    expanded,
    hub_cache,
    hub_endpoint,
    hub_offline,
    hub_token,
    locate,
)

if TYPE_CHECKING:
    from .errors import SettingsError
    from .layers import Loaded, load
    from .limits import Limits
    from .modules import Module, SpeechModule
    from .serve import ServeSettings

__all__ = [
    "EMBEDDED",
    "HubSource",
    "Limits",
    "Loaded",
    "LocalSource",
    "Module",
    "ServeSettings",
    "SettingsError",
    "SpeechModule",
    "embedded",
    "expanded",
    "hub_cache",
    "hub_endpoint",
    "hub_offline",
    "hub_token",
    "load",
    "locate",
]
_LATER = {
    "Limits": "limits",
    "Loaded": "layers",
    "Module": "modules",
    "ServeSettings": "serve",
    "SettingsError": "errors",
    "SpeechModule": "modules",
    "load": "layers",
}


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return getattr(import_module(f"{__name__}.{_LATER[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
