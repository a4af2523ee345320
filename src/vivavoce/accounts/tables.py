"""The tables. Moments are seconds since 1970, spans seconds, days numbers such as 20261129 (UTC); secrets are digests.

A change here needs a migration in `migrations/versions`; a test compares the two.
"""

from __future__ import annotations

from sqlalchemy import Boolean, Column, Double, ForeignKey, Index, Integer, MetaData, String, Table, Text

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)
_ID = String(32)


def _account() -> Column[str]:
    return Column("account_id", _ID, ForeignKey("accounts.id", ondelete="CASCADE"), nullable=False)


accounts = Table(
    "accounts",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("email", String(254), nullable=False, unique=True),  # lower case
    Column("name", String(200), nullable=False),
    Column("image", Text),
    Column("email_verified", Boolean, nullable=False),
    Column("password_hash", Text, nullable=False),  # argon2id
    Column("status", String(16), nullable=False),  # pending, approved, rejected
    Column("role", String(16), nullable=False),  # user, admin
    Column("max_streams", Integer),  # at once; none: no limit
    Column("audio_seconds", Double),  # in a calendar month; none: no limit
    Column("created_at", Double, nullable=False),
    Column("updated_at", Double, nullable=False),
)
sessions = Table(
    "sessions",
    metadata,
    Column("id", _ID, primary_key=True),
    _account(),
    Column("secret_hash", String(64), nullable=False, unique=True),
    Column("previous_hash", String(64), unique=True),  # of the secret before the last refresh
    Column("created_at", Double, nullable=False),
    Column("updated_at", Double, nullable=False),
    Column("expires_at", Double, nullable=False),
    Column("ip_address", String(64), nullable=False),
    Column("user_agent", String(200), nullable=False),
    Index(None, "account_id"),
)
api_keys = Table(
    "api_keys",
    metadata,
    Column("id", _ID, primary_key=True),
    _account(),
    Column("name", String(200), nullable=False),
    Column("secret_hash", String(64), nullable=False),
    Column("scopes", String(100), nullable=False),  # with spaces between
    Column("max_streams", Integer),
    Column("audio_seconds", Double),
    Column("created_at", Double, nullable=False),
    Column("expires_at", Double),
    Column("revoked_at", Double),
    Index(None, "account_id"),
)
usage = Table(
    "usage",
    metadata,
    Column("account_id", _ID, ForeignKey("accounts.id", ondelete="CASCADE"), primary_key=True),
    Column("key_id", _ID, primary_key=True),  # empty: what was used with a token
    Column("day", Integer, primary_key=True, autoincrement=False),
    Column("streams", Integer, nullable=False),
    Column("seconds", Double, nullable=False),
)
open_streams = Table(
    "open_streams",
    metadata,
    Column("id", _ID, primary_key=True),
    _account(),
    Column("key_id", _ID, nullable=False),
    Column("server", _ID, nullable=False),  # one process
    Column("reserved", Double, nullable=False),  # seconds of audio granted and not yet in `usage`
    Column("seen_at", Double, nullable=False),
    Index(None, "account_id"),
    Index(None, "server"),
)
