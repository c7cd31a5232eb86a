"""`Spans`: how spans and metrics are written with OpenTelemetry's API, whatever they are about."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ..extras import require
from . import attributes

if TYPE_CHECKING:
    from opentelemetry.metrics import Histogram, MeterProvider
    from opentelemetry.trace import Span, TracerProvider

_SCOPE = "ling_agent"
# The conventions' own bounds.
_SECONDS = [0.01 * 2**n for n in range(14)]
_TOKENS = [4**n for n in range(14)]

Redact = Callable[[str], str]


class Spans:
    """Writes to one tracer and one meter.

    Args:
        tracer_provider: Where spans go; None is the program's own.
        meter_provider: Where metrics go; None is the program's own.
        version: Of this package.
        content: Whether texts are recorded.

    Attributes:
        seconds: How long model requests took.
        tokens: How many tokens they used.

    Raises:
        ConfigurationError: opentelemetry-api is not installed.
    """

    def __init__(
        self,
        tracer_provider: TracerProvider | None,
        meter_provider: MeterProvider | None,
        *,
        version: str,
        content: bool,
    ) -> None:
        self._api: Any = require("opentelemetry.trace", extra="otel", why="tracing")
        metrics: Any = require("opentelemetry.metrics", extra="otel", why="tracing")
        self._tracer = self._api.get_tracer(_SCOPE, version, tracer_provider)
        meter = metrics.get_meter(_SCOPE, version, meter_provider)
        self.seconds: Histogram = meter.create_histogram(
            "gen_ai.client.operation.duration",
            unit="s",
            description="GenAI operation duration.",
            explicit_bucket_boundaries_advisory=_SECONDS,
        )
        self.tokens: Histogram = meter.create_histogram(
            "gen_ai.client.token.usage",
            unit="{token}",
            description="Number of input and output tokens used.",
            explicit_bucket_boundaries_advisory=_TOKENS,
        )
        self._content = content

    @contextmanager
    def span(
        self,
        name: str,
        described: Mapping[str, Any],
        redact: Redact,
        *,
        below: Span | None = None,
        client: bool = False,
    ) -> Generator[Span, None, None]:
        """A span that is current until the context is left, by an error or not.

        Args:
            name: Of the span.
            described: Its attributes.
            redact: Takes secrets out of what is recorded.
            below: Its parent; None is the current span.
            client: Whether it is about a request to another process.
        """
        api = self._api
        span: Span = self._tracer.start_span(
            name,
            context=None if below is None else api.set_span_in_context(below),
            kind=api.SpanKind.CLIENT if client else api.SpanKind.INTERNAL,
            attributes=described,
        )
        try:
            with api.use_span(span, record_exception=False, set_status_on_exception=False):
                yield span
        except BaseException as error:
            span.set_attribute(attributes.ERROR_TYPE, attributes.of_error(error))
            if isinstance(error, Exception):  # a cancellation was wanted by somebody
                self.fail(span, str(error), redact)
            raise
        finally:
            span.end()

    def fail(self, span: Span, text: str, redact: Redact) -> None:
        """Mark a span as failed. An error may repeat what was said, so its text is content."""
        described = redact(text) if self._content else None
        span.set_status(self._api.Status(self._api.StatusCode.ERROR, described))

    def record(self, span: Span, made: Callable[[], Mapping[str, str]], redact: Redact) -> None:
        """Record content, where that is wanted and the span is kept; without secrets."""
        if self._content and span.is_recording():
            span.set_attributes({name: redact(text) for name, text in made().items()})
