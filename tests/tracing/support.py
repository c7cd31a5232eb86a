"""What the tests of tracing share: the real SDK, which keeps its spans in memory, and a small loop.

`Driver` calls a tracer as the loop does, so that the seam is tested on its own.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from ling_agent import RunContext, Tool, Usage
from ling_agent.backends import ModelInfo, ModelRequest
from ling_agent.limits import Sampling
from ling_agent.messages import AssistantMessage, SystemMessage, ToolCall, UserMessage
from ling_agent.tools import ToolOutcome, execute_call
from ling_agent.tracing import OpenTelemetry, RunStart, RunTrace

INFO = ModelInfo("ling-mini")
BACKEND = "vllm:http://model.example:8000#ling-mini"
REQUEST = ModelRequest(
    (SystemMessage("Be short."), UserMessage("What is in the box?")),
    ({"type": "function", "function": {"name": "look", "description": "Look.", "parameters": {}}},),
    Sampling(temperature=0.5, top_k=40, max_tokens=64, seed=7),
)


_MESSAGE = AssistantMessage("A pearl.")
_USAGE = Usage(
    prompt_tokens=20, completion_tokens=5, cached_tokens=12, requests=1, prefill_seconds=0.25
)


@dataclass(frozen=True)
class Answered:
    """What a request brought, as the loop's `Turn` says it."""

    message: AssistantMessage = _MESSAGE
    finish_reason: str = "stop"
    usage: Usage = _USAGE


class Recorded:
    """The SDK's providers, and what they were given."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self._reader = InMemoryMetricReader()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self._meters = MeterProvider([self._reader])

    def tracer(self, *, record_content: bool = False) -> OpenTelemetry:
        """One that writes here."""
        return OpenTelemetry(self.provider, self._meters, record_content=record_content)

    @property
    def spans(self) -> tuple[ReadableSpan, ...]:
        """The spans that have ended, in the order in which they did."""
        return self._exporter.get_finished_spans()

    def span(self, name: str) -> ReadableSpan:
        """The only span of that name."""
        (found,) = [span for span in self.spans if span.name == name]
        return found

    def attributes(self, name: str) -> dict[str, Any]:
        """Those of the only span of that name."""
        return dict(self.span(name).attributes or {})

    def tree(self) -> dict[str, str | None]:
        """The name of each span's parent; names have to be unique."""
        by_id = {span.context.span_id: span.name for span in self.spans if span.context}
        assert len(set(by_id.values())) == len(by_id)
        return {
            span.name: by_id.get(span.parent.span_id) if span.parent else None
            for span in self.spans
        }

    def metrics(self) -> dict[str, list[tuple[dict[str, Any], float]]]:
        """Attributes and sum of each point, by metric."""
        data: Any = self._reader.get_metrics_data()
        if data is None:
            return {}
        return {
            metric.name: [(dict(point.attributes), point.sum) for point in metric.data.data_points]
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }

    def everything(self) -> str:
        """All that was recorded, as one text."""
        return "\n".join([*(span.to_json() for span in self.spans), str(self.metrics())])


@dataclass(frozen=True)
class Driver:
    """Calls a tracer as the loop does."""

    trace: RunTrace

    async def ask(
        self,
        during: Callable[[], Awaitable[object]] | None = None,
        *,
        request: ModelRequest = REQUEST,
        answer: Answered | None = None,
        info: ModelInfo | None = INFO,
    ) -> None:
        """One model request, with something that happens meanwhile."""
        with self.trace.model(request, info, 1) as answered:
            if during is not None:
                await during()
            answered(answer or Answered())

    async def call(
        self, made: Tool[..., Any], arguments: Mapping[str, Any] | None = None, *, id_: str = "c1"
    ) -> ToolOutcome:
        """One call, by the real executor."""
        call = ToolCall(id_, made.name, dict(arguments or {}))
        with self.trace.tool(call, made) as ended:
            outcome = await execute_call(made, call.id, call.arguments, RunContext(None))
            ended(outcome)
        return outcome


def run(
    tracer: OpenTelemetry, *, agent: str = "agent", **options: Any
) -> AbstractContextManager[RunTrace]:
    """A run that begins."""
    return tracer.run(RunStart(agent, "run-1", options.pop("backend", BACKEND), **options))
