"""Tracing: what a run does, as spans. Off unless an agent is given a tracer.

`OpenTelemetry` records the spans and metrics of OpenTelemetry's conventions for generative AI. To
write another tracer, implement `Tracer` and `RunTrace`.

The loop calls a tracer so::

    with tracer.run(RunStart(...)) as trace:                        # in the task that runs the loop
        with trace.model(request, info, step) as answered:          # around each request, in the
            turn = await reader.read(backend)                       # task that reads its answer
            answered(turn)
        with trace.tool(call, tool) as ended:                       # around `execute_one`, in the
            outcome = await execute_one(...)                        # task that awaits it
            ended(outcome)
        trace.finished(result)                                      # last, before the run is left

- ``run`` is entered once per `Agent.run`, ``stream`` or ``resume``, in the run's own task, so that
  a sub-agent's run, which is made while a tool runs, comes below that tool.
- ``model`` is entered for every request that goes out, those for a record of dropped steps and
  those that are sent again included; not across a ``yield`` of an asynchronous generator.
- ``tool`` is entered for each call that runs, behind approvals and hooks and with the arguments
  that they left; never for one that is only answered (denied, repeated, unreadable). It encloses
  nothing but the tool's run, retries included, and its outcome is the one whose text the model
  reads, without secrets. It may be entered while ``model`` is: both are children of the run.
- An error or a cancellation is told by its exception, which passes through the context manager and
  is never swallowed; then ``answered``, ``ended`` and ``finished`` are not called.
- Without a tracer the loop uses `NO_TRACER`.
"""

from __future__ import annotations

from .logged import logged, logged_broken
from .otel import OpenTelemetry
from .seam import NO_TRACE, NO_TRACER, Answer, RunStart, RunTrace, Tracer

__all__ = [
    "NO_TRACE",
    "NO_TRACER",
    "Answer",
    "OpenTelemetry",
    "RunStart",
    "RunTrace",
    "Tracer",
    "logged",
    "logged_broken",
]
