"""A real server with the embedded model for all tests of the client, and what stands between it and them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ..serving import serving


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """Its URL, http://127.0.0.1:PORT."""
    with serving("--slots", "4", "--load-limit", "0") as url:
        yield url
