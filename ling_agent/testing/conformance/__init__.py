"""What a backend or a store of your own must do, as pytest classes to subclass.

A subclass says how one is made and gets one test for each check::

    from ling_agent.testing.conformance import BackendConformance

    class TestMyBackend(BackendConformance):
        def make(self) -> Backend:
            return MyBackend("http://localhost:8000")

The tests are async and marked for anyio, whose pytest plugin comes with it: they run on each
backend of your ``anyio_backend`` fixture, or on each that is installed. What `make` needs of other
fixtures, an ``autouse`` fixture of the class puts on ``self``; it may be async.

Importing this module needs pytest; nothing else in ling_agent does.
"""

from __future__ import annotations

from importlib.util import find_spec

from ...errors import ConfigurationError

if find_spec("pytest") is None:
    raise ConfigurationError(
        "ling_agent.testing.conformance needs pytest, which is not installed: pip install pytest"
    )

from .backends import BackendConformance
from .stores import StoreConformance

__all__ = ["BackendConformance", "StoreConformance"]
