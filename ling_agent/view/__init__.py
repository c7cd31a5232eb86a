"""What a run looks like on a terminal: `RunView`, and texts of others made safe to print.

::

    Event ──► RunView ──► Label + Block ──► console
                 │
                 └ SubagentView, a margin to the right, for each sub-agent

Everything is printed once, as it comes, and broken between words to the right of its label. Only
the line that says what is waited for is overwritten, and on a terminal only. Text of models and
tools is never markup, and its control characters are shown and not obeyed.
"""

from __future__ import annotations

from .block import beginning, visible
from .run_view import RunView

__all__ = ["RunView", "beginning", "visible"]
