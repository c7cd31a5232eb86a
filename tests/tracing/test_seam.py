"""Without a tracer nothing happens, nothing is imported, and it costs next to nothing."""

from __future__ import annotations

import subprocess
import sys

import pytest

from ling_agent import tool
from ling_agent.tracing import NO_TRACER, RunStart

from .support import BACKEND, Driver

pytestmark = pytest.mark.anyio


@tool
def look() -> str:
    """Look into the box."""
    return "a pearl"


async def test_the_tracer_that_traces_nothing_is_called_like_any_other() -> None:
    with NO_TRACER.run(RunStart("agent", "run-1", BACKEND)) as trace:
        driver = Driver(trace)
        await driver.ask(lambda: driver.call(look))
        again = NO_TRACER.run(RunStart("other", "run-2", BACKEND))
        with again as other, again as nested:
            assert other is nested is trace


async def test_it_lets_errors_through() -> None:
    with (
        pytest.raises(KeyError),
        NO_TRACER.run(RunStart("agent", "run-1", BACKEND)) as trace,
        trace.model(None, None, 1),  # pyright: ignore[reportArgumentType]
    ):
        raise KeyError


def test_opentelemetry_is_not_imported_before_it_is_used() -> None:
    code = (
        "import sys, ling_agent.tracing\n"
        "assert not [m for m in sys.modules if m.startswith('opentelemetry')]\n"
        "ling_agent.tracing.OpenTelemetry()\n"
        "assert 'opentelemetry.trace' in sys.modules\n"
        "assert not [m for m in sys.modules if m.startswith('opentelemetry.sdk')]\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, timeout=60)


def test_without_opentelemetry_the_extra_is_named() -> None:
    code = (
        "import sys\n"
        "sys.modules['opentelemetry'] = None\n"
        "from ling_agent import ConfigurationError\n"
        "from ling_agent.tracing import OpenTelemetry\n"
        "try:\n    OpenTelemetry()\n"
        "except ConfigurationError as error:\n    print(error)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], check=True, timeout=60, capture_output=True, text=True
    )
    assert "pip install 'ling-agent[otel]'" in ended.stdout
    assert ended.stdout.count("\n") == 1
