"""What a backend or a store of your own must do, as checks to run in your tests.

Each check is an async function that is given a function which makes a backend, or a store; it calls
that once and raises `AssertionError` with what is wrong. It needs no test framework. With pytest::

    @pytest.mark.anyio
    @pytest.mark.parametrize("check", BACKEND_CHECKS, ids=lambda check: check.__name__)
    async def test_my_backend(check: BackendCheck) -> None:
        await check(MyBackend)
"""

from __future__ import annotations

from .backends import BACKEND_CHECKS, BackendCheck, MakeBackend
from .stores import STORE_CHECKS, MakeStore, StoreCheck

__all__ = [
    "BACKEND_CHECKS",
    "STORE_CHECKS",
    "BackendCheck",
    "MakeBackend",
    "MakeStore",
    "StoreCheck",
]
