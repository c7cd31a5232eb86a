"""Claims: one at a time, in a process and among processes."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from ling_agent import ConfigurationError, StoreError
from ling_agent.memory.claims import FileClaims, LocalClaims
from tests.memory.processes import in_child


@pytest.fixture(params=["local", "file"])
def claims(request: pytest.FixtureRequest, tmp_path: Path) -> LocalClaims | FileClaims:
    return LocalClaims() if request.param == "local" else FileClaims(tmp_path / "claims")


def test_a_claim_ends_with_its_context(claims: LocalClaims | FileClaims) -> None:
    with claims.claim("a"), claims.claim("b"):
        assert claims.claimed("a")
        with pytest.raises(ConfigurationError, match="'a' has not ended"), claims.claim("a"):
            pytest.fail("not reached")
        assert claims.claimed("a"), "a refused claim gives nothing back"
    with pytest.raises(LookupError), claims.claim("a"):
        raise LookupError
    assert not claims.claimed("a")


def test_a_claim_may_end_in_another_thread(claims: LocalClaims | FileClaims) -> None:
    claim = claims.claim("a")
    thread = threading.Thread(target=claim.__enter__)
    thread.start()
    thread.join()
    assert claims.claimed("a")
    claim.__exit__(None, None, None)
    assert not claims.claimed("a")


def test_all_that_use_a_file_share_its_claims(tmp_path: Path) -> None:
    first, second = FileClaims(tmp_path / "claims"), FileClaims(tmp_path / "claims")
    with first.claim("a"):
        second.close()
        with pytest.raises(ConfigurationError, match="has not ended"), second.claim("a"):
            pass
        with second.claim("b"):
            pass
        assert in_child(lambda: take(second, "a")) == 1, "the lock outlives another's close"
    assert in_child(lambda: take(second, "a")) == 0
    first.close()


def take(claims: FileClaims, run_id: str) -> None:
    with claims.claim(run_id):
        pass


def test_a_child_has_no_claims_of_its_parent_and_ends_none(tmp_path: Path) -> None:
    claims = FileClaims(tmp_path / "claims")

    def child() -> None:
        with pytest.raises(ConfigurationError, match=f"pid {os.getppid()}"), claims.claim("a"):
            pass
        assert claims.claimed("a")
        claim.__exit__(None, None, None)  # the parent's context, that it has a copy of
        take(claims, "b")

    claim = claims.claim("a")
    claim.__enter__()
    assert in_child(child) == 0
    assert in_child(lambda: take(claims, "a")) == 1
    claim.__exit__(None, None, None)
    assert in_child(lambda: take(claims, "a")) == 0
    claims.close()


def test_a_claim_outlives_the_removal_of_its_file_in_this_process(tmp_path: Path) -> None:
    claims = FileClaims(tmp_path / "claims")
    with claims.claim("a"):
        (tmp_path / "claims").unlink()
        assert claims.claimed("a")
        with pytest.raises(ConfigurationError, match="has not ended"), claims.claim("a"):
            pass
    take(claims, "a")
    claims.close()


def test_any_name_can_be_claimed(tmp_path: Path) -> None:
    claims = FileClaims(tmp_path / "claims")
    with claims.claim("\ud83d"), claims.claim(""), claims.claim("a\x00"), claims.claim("../x"):
        assert not claims.claimed("a")
    claims.close()


def test_asking_makes_no_file(tmp_path: Path) -> None:
    claims = FileClaims(tmp_path / "claims")
    assert not claims.claimed("a")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_cannot_be_opened_is_an_error_that_says_so(tmp_path: Path) -> None:
    (tmp_path / "claims").mkdir()
    with pytest.raises(StoreError, match="cannot be opened to claim"):
        take(FileClaims(tmp_path / "claims"), "a")
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be opened to claim"):
        take(FileClaims(tmp_path / "file" / "claims"), "a")
