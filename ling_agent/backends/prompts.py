"""`Prompts`: requests as prompt text; of each conversation only what is new is rendered."""

from __future__ import annotations

from ..hermes import PromptRenderer
from ..hermes.neutralise import neutralise_generated
from ..messages import Message, to_openai
from .base import ModelRequest
from .recent import Recent

_MOST = 32 << 20  # characters of all conversations together: 32 whole windows of 256K tokens


class Prompts:
    """The prompts of one backend."""

    def __init__(self) -> None:
        self._renderers: Recent[tuple[str, str], PromptRenderer[Message]] = Recent(_MOST)

    def render(self, request: ModelRequest, template: str) -> str:
        """The prompt text of a request, up to the end of what is prefilled.

        A prefill holds text of the model, such as its plan: turn tokens that it has spelled out are
        broken in it, as they are in the later prompts that repeat it.

        Raises:
            ling_agent.hermes.HermesError: It has a message that cannot be rendered.
        """
        key = (request.conversation, template)
        renderer = self._renderers.get(key) or PromptRenderer(to_openai, template=template)
        text = renderer.render(request.messages, request.tools)
        if request.conversation:
            self._renderers.put(key, renderer, size=len(text))
        return text + neutralise_generated(request.prefill, template)
