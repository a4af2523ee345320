"""Sign-up, sign-in, session and sign-out, as browsers and programs do them."""

from __future__ import annotations

from collections.abc import Callable
from http.cookies import SimpleCookie

import httpx2
import jwt
import pytest

from vivavoce.accounts.accounts import Accounts
from vivavoce.accounts.people import Status

from ...accounts.conftest import GOOD, NOON, Clock
from .conftest import SECRET, Serve, client, sign_up, signed_in

Browse = Callable[[], httpx2.Client]
SESSION, TOKEN = "better-auth.session_token", "better-auth.session_data"


def cookies(answer: httpx2.Response) -> SimpleCookie:
    found = SimpleCookie()
    for line in answer.headers.get_list("set-cookie"):
        found.load(line)
    return found


def test_from_sign_up_to_sign_out(browse: Browse, accounts: Accounts) -> None:
    page = browse()
    wish = {"email": "Ada@example.org", "password": GOOD, "name": "Ada", "callbackURL": "/"}
    answer = page.post("/api/auth/sign-up/email", json=wish)
    assert (answer.status_code, answer.json()["token"], answer.json()["user"]["status"]) == (200, None, "pending")
    assert not cookies(answer)
    assert page.get("/api/auth/get-session").json() is None
    told = signed_in(page)
    assert told["user"]["email"] == "ada@example.org"
    assert "refreshToken" not in told  # scripts of a page are not to see it
    session = page.get("/api/auth/get-session").json()
    assert (session["user"]["name"], session["user"]["status"]) == ("Ada", "pending")
    accounts.people.judge(session["user"]["id"], Status.APPROVED)
    token = page.get("/api/auth/token").json()["token"]
    assert (
        jwt.decode(token, SECRET, algorithms=["HS256"], options={"verify_exp": False, "verify_iat": False})["user"][
            "status"
        ]
        == "approved"
    )
    answer = page.post("/api/auth/sign-out")
    assert answer.json() == {"success": True}
    assert not page.cookies
    assert page.get("/api/auth/get-session").json() is None
    assert accounts.sessions.of_token(session["session"]["id"]) is None


def test_an_address_that_has_an_account_gets_the_same_answer(url: str, accounts: Accounts) -> None:
    with client(url) as program:
        answers = [
            program.post("/api/auth/sign-up/email", json={"email": "ada@example.org", "password": GOOD, "name": "Ada"})
            for _ in range(2)
        ]
    first, second = (answer.json() for answer in answers)
    assert [answer.status_code for answer in answers] == [200, 200]
    assert first["user"].pop("id") != second["user"].pop("id")
    assert first == second
    names = [set(answer.headers) - {"date", "content-length", "x-request-id"} for answer in answers]
    assert names[0] == names[1]
    assert len(accounts.people.all()) == 1


@pytest.mark.parametrize("email", ["ada@example.org", "nobody@example.org", "no address", ""])
def test_a_wrong_password_and_no_account_get_the_same_answer(url: str, accounts: Accounts, email: str) -> None:
    sign_up(accounts)
    with client(url) as program:
        answer = program.post("/api/auth/sign-in/email", json={"email": email, "password": "not the password"})
    assert (answer.status_code, answer.json()) == (
        401,
        {
            "error": "invalid_credentials", "code": "invalid_credentials", "hint": "",
            "message": "the e-mail address or the password is wrong",
        },
    )  # fmt: skip
    assert not cookies(answer)


def test_a_rejected_account_learns_it_by_its_password_alone(url: str, accounts: Accounts) -> None:
    accounts.people.judge(sign_up(accounts), Status.REJECTED)
    with client(url) as program:
        for password, code in ((GOOD, "account_rejected"), ("not the password", "invalid_credentials")):
            wish = {"email": "ada@example.org", "password": password}
            assert program.post("/api/auth/sign-in/email", json=wish).json()["code"] == code


def test_cookies_are_out_of_reach_of_scripts_and_other_sites(browse: Browse, accounts: Accounts) -> None:
    sign_up(accounts)
    wish = {"email": "ada@example.org", "password": GOOD}
    answer = browse().post("/api/auth/sign-in/email", json=wish)
    found = cookies(answer)
    assert set(found) == {SESSION, TOKEN}
    assert {name: morsel["max-age"] for name, morsel in found.items()} == {SESSION: "604800", TOKEN: "900"}
    for morsel in found.values():
        assert (morsel["httponly"], morsel["samesite"], morsel["path"], morsel["domain"]) == (True, "lax", "/", "")
        assert not morsel["secure"]  # over http
    assert found[TOKEN].value == answer.json()["token"]
    window = cookies(browse().post("/api/auth/sign-in/email", json={**wish, "rememberMe": False}))
    assert window[SESSION]["max-age"] == ""


def test_over_https_cookies_are_secure_by_flag_and_name(url: str, accounts: Accounts) -> None:
    sign_up(accounts)
    headers = {"origin": url.replace("http:", "https:"), "x-forwarded-proto": "https"}  # of a proxy on this machine
    with client(url, headers) as page:
        wish = {"email": "ada@example.org", "password": GOOD}
        found = cookies(page.post("/api/auth/sign-in/email", json=wish))
        assert set(found) == {f"__Secure-{SESSION}", f"__Secure-{TOKEN}"}
        assert all(morsel["secure"] for morsel in found.values())
        carried = {"cookie": f"__Secure-{SESSION}={found[f'__Secure-{SESSION}'].value}"}
        assert page.get("/api/auth/get-session", headers=carried).json()["user"]["email"] == "ada@example.org"


def test_signing_in_ends_the_session_that_was_there_and_takes_none_that_was_planted(
    browse: Browse, accounts: Accounts
) -> None:
    sign_up(accounts)
    page = browse()
    page.cookies.set(SESSION, "planted", domain="127.0.0.1", path="/")
    signed_in(page)
    first = page.cookies[SESSION]
    assert first != "planted"
    signed_in(page)
    assert page.cookies[SESSION] != first
    assert accounts.sessions.find(first) is None


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:1", None])
def test_another_sites_page_can_do_nothing_with_the_cookies(
    browse: Browse, url: str, accounts: Accounts, origin: str | None
) -> None:
    sign_up(accounts)
    page = browse()
    signed_in(page)
    session = page.cookies[SESSION]
    headers = {"cookie": f"{SESSION}={session}"} | ({"origin": origin} if origin else {})
    with client(url, headers) as forged:
        for path in ("/api/auth/sign-out", "/api/auth/change-password", "/api/keys", "/api/auth/sign-in/email"):
            answer = forged.post(path, json={})
            assert (answer.status_code, answer.json()["code"]) == (
                403, "origin_not_allowed" if origin else "origin_missing",
            )  # fmt: skip
    assert accounts.sessions.find(session)


def test_a_page_of_a_named_origin_may_use_them(serve: Serve, accounts: Accounts) -> None:
    sign_up(accounts)
    page = "https://app.example.org"
    with client(serve(origins=(page,)), {"origin": page}) as browser:
        answer = browser.post("/api/auth/sign-in/email", json={"email": "ada@example.org", "password": GOOD})
        assert answer.headers["access-control-allow-origin"] == page
        assert answer.headers["access-control-allow-credentials"] == "true"


def test_origins_for_everyone_do_not_lend_out_cookies(serve: Serve, accounts: Accounts) -> None:
    sign_up(accounts)
    with client(serve(origins=("*",)), {"origin": "https://evil.example"}) as browser:
        answer = browser.post("/api/auth/sign-in/email", json={"email": "ada@example.org", "password": GOOD})
        assert answer.status_code == 403
        assert "access-control-allow-credentials" not in answer.headers


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
def test_a_form_of_another_site_is_no_wish(url: str, kind: str) -> None:
    with client(url) as program:
        answer = program.post("/api/auth/sign-in/email", content=b"{}", headers={"content-type": kind})
    assert (answer.status_code, answer.json()["code"]) == (415, "not_json")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'{"email": 1, "password": "hunter2"}',
        b'{"password": "hunter2"}',
        b"\xff",
        b'{"x":' + b"[" * 60_000,
    ],
)
def test_a_body_that_cannot_be_read_is_said_and_not_quoted(url: str, body: bytes) -> None:
    with client(url) as program:
        answer = program.post("/api/auth/sign-in/email", content=body, headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_body")
    assert "hunter2" not in answer.text


def test_a_body_is_small(url: str) -> None:
    with client(url) as program:
        answer = program.post("/api/auth/sign-in/email", json={"email": "x" * 70_000, "password": "y"})
    assert answer.status_code == 413


def test_a_program_gets_tokens_and_refreshes_them(url: str, accounts: Accounts, clock: Clock) -> None:
    sign_up(accounts)
    with client(url) as program:
        told = signed_in(program)
        program.cookies.clear()
        clock.now += 901
        stale = program.get("/api/auth/get-session", headers={"authorization": f"Bearer {told['token']}"})
        assert (stale.status_code, stale.json()["code"]) == (401, "expired_token")
        after = program.post("/api/auth/refresh", json={"refreshToken": told["refreshToken"]}).json()
        headers = {"authorization": f"Bearer {after['token']}"}
        assert program.get("/api/auth/get-session", headers=headers).json()["user"]["email"] == "ada@example.org"
        again = program.post("/api/auth/refresh", json={"refreshToken": told["refreshToken"]})
        assert (again.status_code, again.json()["code"]) == (401, "invalid_session")
        assert program.get("/api/auth/get-session", headers=headers).json() is None  # one of the two was a thief


def test_a_token_is_good_for_a_quarter_of_an_hour_a_session_for_a_week(url: str, accounts: Accounts) -> None:
    sign_up(accounts)
    with client(url) as program:
        claims = jwt.decode(signed_in(program)["token"], options={"verify_signature": False})
    assert claims["exp"] - claims["iat"] == 900
    assert claims["session"]["expiresAt"] == "2026-12-06T12:00:00.000Z"
    assert claims["iat"] == NOON


def test_a_changed_password_ends_all_other_sessions(browse: Browse, accounts: Accounts) -> None:
    sign_up(accounts)
    here, there = browse(), browse()
    signed_in(here)
    signed_in(there)
    wish = {"currentPassword": "wrong", "newPassword": "a newer good password"}
    assert here.post("/api/auth/change-password", json=wish).json()["code"] == "invalid_credentials"
    assert here.post("/api/auth/change-password", json=wish | {"currentPassword": GOOD}).status_code == 200
    assert here.get("/api/auth/get-session").json()
    assert there.get("/api/auth/get-session").json() is None
    signed_in(there, password="a newer good password")
    assert here.post("/api/auth/revoke-other-sessions").status_code == 200
    assert there.get("/api/auth/get-session").json() is None


def test_passwords_are_tried_so_often_and_no_more(serve: Serve, accounts: Accounts) -> None:
    sign_up(accounts)
    wish = {"email": "ada@example.org", "password": "not the password"}
    with client(serve(accounts_attempts=2)) as program:
        codes = [program.post("/api/auth/sign-in/email", json=wish).status_code for _ in range(2)]
        assert codes == [401, 401]
        answer = program.post("/api/auth/sign-in/email", json=wish | {"password": GOOD, "email": " Ada@example.org"})
        assert (answer.status_code, answer.json()["code"]) == (429, "too_many_attempts")
        assert answer.headers["retry-after"] == "30"
        others = [f"{name}@example.org" for name in "abc"]
        codes = [program.post("/api/auth/sign-in/email", json=wish | {"email": other}).status_code for other in others]
        assert codes == [401, 401, 401]  # they have not been tried
        answer = program.post("/api/auth/sign-up/email", json=wish)
        assert "for one address" in answer.json()["message"]


def test_who_may_sign_up_and_whether_it_waits_are_settings(serve: Serve, accounts: Accounts) -> None:
    wish = {"email": "ada@example.org", "password": GOOD}
    with client(serve(accounts_sign_up=False)) as program:
        answer = program.post("/api/auth/sign-up/email", json=wish)
        assert (answer.status_code, answer.json()["code"]) == (403, "sign_up_closed")
        assert accounts.people.all() == []
    with client(serve(accounts_approval=False)) as program:
        assert program.post("/api/auth/sign-up/email", json=wish).json()["user"]["status"] == "approved"


def test_no_answer_is_kept_by_anyone(browse: Browse, accounts: Accounts) -> None:
    sign_up(accounts)
    page = browse()
    signed_in(page)
    for answer in (page.get("/api/auth/get-session"), page.get("/api/auth/token"), page.get("/api/keys")):
        assert answer.headers["cache-control"] == "no-store"


def test_health_and_what_is_not_there(url: str) -> None:
    with client(url) as program:
        assert program.get("/health").json() == {"status": "ok"}
        assert program.get("/api/auth/nothing").json()["code"] == "not_found"
        assert program.get("/api/auth/sign-out").status_code == 405
