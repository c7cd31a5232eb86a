"""The text of the parts of a prompt, by template: its head, each message, the end.

A part depends on nothing but its own message, on whether reasoning is shown, on whether it is the
last one, and for tool results on whether the neighbours are such results too. `render` puts the
parts together. The names, and what each is:

| name | of |
|---|---|
| ``ling1`` | Ling 1: roles without an end token; knows no tools, so their section is Ling 2's |
| ``ling2`` | Ling 2.0: thinking is off |
| ``ling2.5``, ``ling2.5-thinking`` | Ling 2.5 and 2.6: the same, and the system text may switch |
| ``ling3``, ``ling3-thinking`` | Ling 3.0: calls with ``<arg_key>``, switched twice |
| ``chatml`` | Qwen2.5, with its own system text where there is none |
| ``qwen3``, ``qwen3-no-thinking`` | Qwen3 |
| ``hermes`` | Hermes 2 Pro and Hermes 3, with their prompt for tools |
| ``plain`` | ChatML as most others have it, with Qwen's section for tools |
"""

from __future__ import annotations

from .chatml_templates import CHATML, PLAIN, QWEN3, QWEN3_NO_THINKING
from .ling_templates import LING1, LING2, LING3, LING3_THINKING, LING25, LING25_THINKING
from .nous_template import HERMES
from .template_parts import (
    Dialect,
    Message,
    Template,
    Tools,
    content_of,
    function_of,
    render_call,
    render_tool_response,
)

__all__ = [
    "BY_NAME",
    "Dialect",
    "Message",
    "Template",
    "Tools",
    "content_of",
    "function_of",
    "render_call",
    "render_tool_response",
]

BY_NAME = {
    "chatml": CHATML,
    "ling2": LING2,
    "ling1": LING1,
    "ling2.5": LING25,
    "ling2.5-thinking": LING25_THINKING,
    "ling3": LING3,
    "ling3-thinking": LING3_THINKING,
    "qwen3": QWEN3,
    "qwen3-no-thinking": QWEN3_NO_THINKING,
    "hermes": HERMES,
    "plain": PLAIN,
}
