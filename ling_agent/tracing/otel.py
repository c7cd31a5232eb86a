"""`OpenTelemetry`: runs as spans and metrics; needs opentelemetry-api, the extra ``otel``."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from . import attributes, content
from .seam import Answer, RunStart, RunTrace
from .spans import Spans

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import Span, TracerProvider

    from ..backends.base import ModelInfo, ModelRequest
    from ..messages import ToolCall
    from ..results import RunResult
    from ..tools import Tool, ToolOutcome


class OpenTelemetry:
    """Traces runs by OpenTelemetry's conventions for generative AI: `Agent(tracing=…)`.

    Spans: ``invoke_agent`` for a run, and below it ``chat`` for each model request and
    ``execute_tool`` for each call that runs. Metrics: ``gen_ai.client.operation.duration`` and
    ``gen_ai.client.token.usage`` of the model requests. It may be shared by agents, event loops
    and threads.

    Args:
        tracer_provider: Where spans go; None is the program's own, as
            ``opentelemetry.trace.set_tracer_provider`` has set it.
        meter_provider: Where metrics go; None is the program's own.
        record_content: Whether instructions, messages, arguments, results and the texts of errors
            are recorded. Otherwise a trace holds names, numbers and ids. Secrets that the run
            knows are taken out of what is recorded.

    Raises:
        ConfigurationError: opentelemetry-api is not installed.
    """

    def __init__(
        self,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
        *,
        record_content: bool = False,
    ) -> None:
        from ..version import __version__

        self._spans = Spans(
            tracer_provider, meter_provider, version=__version__, content=record_content
        )
        self._content = record_content

    def __repr__(self) -> str:
        return f"OpenTelemetry(record_content={self._content})"

    @contextmanager
    def run(self, start: RunStart) -> Generator[RunTrace, None, None]:
        """Trace one run, below whatever span is current."""
        described = attributes.of_run(start)
        with self._spans.span(f"invoke_agent {start.agent}", described, start.redact) as span:
            if (task := start.task) is not None:
                self._spans.record(span, lambda: content.of_task(task), start.redact)
            yield _Run(self._spans, start, span)


class _Run:
    """One run's spans; the run's own is their parent, whatever span is current.

    Args:
        spans: Where they are written.
        start: The run.
        span: The run's own.
    """

    def __init__(self, spans: Spans, start: RunStart, span: Span) -> None:
        self._spans = spans
        self._start = start
        self._redact = start.redact
        self._span = span
        self._model_known = False

    @contextmanager
    def model(
        self, request: ModelRequest, info: ModelInfo | None, step: int
    ) -> Generator[Callable[[Answer], None], None, None]:
        described = attributes.of_request(self._start, request, info)
        described[attributes.STEP] = step
        name = "chat"
        if info is not None:
            name = f"chat {info.model}"
            if not self._model_known:  # nor does a run know it when it begins
                self._model_known = True
                self._span.set_attribute(attributes.REQUEST_MODEL, info.model)
        measured = attributes.for_metrics(described)
        client = not attributes.is_embedded(self._start.backend)
        began = time.perf_counter()
        try:
            with self._spans.span(
                name, described, self._redact, below=self._span, client=client
            ) as span:
                # What a broken-off answer says; the whole one says better.
                span.set_attribute(attributes.FINISH_REASONS, ["error"])
                self._spans.record(span, lambda: content.of_request(request), self._redact)

                def answered(answer: Answer) -> None:
                    found = attributes.of_answer(answer, info, streamed=not request.whole)
                    measured.update(attributes.for_metrics(found))
                    self._answered(span, answer, found, measured)

                yield answered
        except BaseException as error:
            measured[attributes.ERROR_TYPE] = attributes.of_error(error)
            raise
        finally:
            self._spans.seconds.record(time.perf_counter() - began, measured)

    def _answered(
        self,
        span: Span,
        answer: Answer,
        found: attributes.Attributes,
        measured: attributes.Attributes,
    ) -> None:
        span.set_attributes(found)
        reason = attributes.finish_reason(answer)
        self._spans.record(span, lambda: content.of_answer(answer.message, reason), self._redact)
        used = {
            "input": answer.usage.prompt_tokens,
            "output": answer.usage.completion_tokens,
        }
        for kind, tokens in used.items():
            self._spans.tokens.record(tokens, {**measured, attributes.TOKEN_TYPE: kind})

    @contextmanager
    def tool(
        self, call: ToolCall, tool: Tool[..., Any] | None
    ) -> Generator[Callable[[ToolOutcome], None], None, None]:
        described = attributes.of_call(self._start, call, tool)
        name = f"execute_tool {call.name}"
        with self._spans.span(name, described, self._redact, below=self._span) as span:
            arguments = call.arguments
            self._spans.record(span, lambda: content.of_arguments(arguments), self._redact)

            def ended(outcome: ToolOutcome) -> None:
                span.set_attributes(attributes.of_outcome(outcome))
                text = outcome.text
                self._spans.record(span, lambda: content.of_observation(text), self._redact)
                if outcome.is_error:
                    self._spans.fail(span, text, self._redact)

            yield ended

    def finished(self, result: RunResult) -> None:
        self._span.set_attributes(attributes.of_result(result))
        if (output := result.output) is not None:
            status = str(result.status)
            made = functools.partial(content.of_output, output, status)
            self._spans.record(self._span, made, self._redact)
        if result.error is not None:
            self._span.set_attribute(attributes.ERROR_TYPE, attributes.of_error(result.error))
            self._spans.fail(self._span, str(result.error), self._redact)
