"""No secret in an error, a representation or the printed settings."""

from __future__ import annotations

import pickle

import pytest

from vivavoce.settings import SettingsError, load
from vivavoce.settings.render import as_toml

from .conftest import Write

SECRET = "hunter2"
GIVEN = {
    "VIVAVOCE_API_KEYS": f"{SECRET}-a,{SECRET}-b",
    "BETTER_AUTH_SECRET": SECRET,
    "MODAL_KEY": SECRET,
    "MODAL_SECRET": SECRET,
}


def test_secrets_are_held_but_not_shown() -> None:
    loaded = load(environment=GIVEN)
    assert [key.get_secret_value() for key in loaded.settings.api_keys] == [f"{SECRET}-a", f"{SECRET}-b"]
    shown = (repr(loaded), str(loaded.settings), loaded.settings.model_dump_json(), as_toml(loaded))
    assert not any(SECRET in text for text in shown)
    assert SECRET.encode() in pickle.dumps(loaded.settings)  # it is there


@pytest.mark.parametrize(
    "text",
    [f'api_keys = {{ a = "{SECRET}" }}', f'jwt_secret = ["{SECRET}"]', f'authorized_ids = [1, "{SECRET}"]',
     f'modal_key = "{SECRET}"\nmodal_secret = 3\nmodal_headers = "maybe"'],
)  # fmt: skip
def test_a_secret_of_the_wrong_kind_is_not_quoted(toml: Write, text: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(config=toml(text))
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_an_empty_secret_is_none(toml: Write) -> None:
    with pytest.raises(SettingsError, match=r"jwt_secret should not be empty$"):
        load(config=toml('jwt_secret = ""\n'))
    assert load({"api_keys": " , "}).settings.api_keys == ()
