"""What a tool can ask of the run that called it: `RunContext`."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from ..results import Usage

DepsT = TypeVar("DepsT")


class RunContext(Generic[DepsT]):
    """The run as a tool sees it; a tool asks for it with a parameter annotated `RunContext`.

    The parameter is found by its annotation (`RunContext` or `RunContext[MyDeps]`), is not part of
    the schema that the model sees, and is filled in when the tool is called. In a unit test, make
    one by hand: `my_tool(RunContext(deps=MyDeps()), city="Oslo")`.

    Attributes:
        deps: What the caller passed as `Agent.run(..., deps=...)`.
        run_id: The run's identifier; empty outside a run.
        step: The model step that asked for this call, from 1; 0 outside a run.
        call_id: This call's identifier; empty outside a call.
    """

    def __init__(
        self,
        deps: DepsT,
        *,
        run_id: str = "",
        step: int = 0,
        usage: Usage | None = None,
        call_id: str = "",
        sink: Callable[[str, object], None] | None = None,
        pins: Callable[[str], object] | None = None,
        host: object = None,
    ) -> None:
        """Make a context.

        Args:
            deps: The caller's own object.
            run_id: The run's identifier.
            step: Index of the model step.
            usage: The run's running totals; zeros when not given.
            call_id: The call's identifier.
            sink: Where `emit` puts events, called as `sink(call_id, event)` in the event loop's
                thread; it must not block. Without it events are dropped.
            pins: Where `pin` puts texts, called like ``sink``. Without it they are dropped.
            host: What a sub-agent gets from the run; see `ling_agent.subagents`.
        """
        self.deps = deps
        self.run_id = run_id
        self.step = step
        self.call_id = call_id
        self._usage = usage
        self._sink = sink
        self._pins = pins
        self._host = host
        self._cancelled = threading.Event()
        self._loop_thread: int | None = None
        self._loop_token: Any = None

    @property
    def usage(self) -> Usage:
        """The run's totals so far: tokens, requests, tool calls, seconds."""
        if self._usage is None:
            from ..results import Usage

            self._usage = Usage()
        return self._usage

    @property
    def host(self) -> object:
        """What a sub-agent gets from the run; None outside of one."""
        return self._host

    @property
    def cancelled(self) -> bool:
        """True once the call has timed out or its run was cancelled.

        An async tool is cancelled in the usual way and need not look. A sync tool runs in a
        thread, and a thread cannot be stopped from outside: a long one should look now and then.
        """
        return self._cancelled.is_set()

    def emit(self, event: object) -> None:
        """Hand `event` to whoever streams the run; it is an ordinary call, not a coroutine.

        Works from an async tool, and from a sync tool in its thread (which waits until the event
        loop has taken the event). Dropped when nobody listens or the call was cancelled.
        """
        if (sink := self._sink) is not None:
            self._in_loop(lambda: sink(self.call_id, event))

    def pin(self, text: str) -> None:
        """Keep `text` in the run's prompts, from the next compaction on, whatever leaves them.

        It tells the model nothing now: what it should know at once belongs into the result. Called
        as `emit` is, and dropped outside a run or when the call was cancelled.

        Raises:
            ToolError: All pinned texts together would take more than an eighth of the window.
        """
        if (pins := self._pins) is not None:
            self._in_loop(lambda: pins(text))

    def _in_loop(self, work: Callable[[], object]) -> None:
        """Do something in the event loop's thread, unless the call was cancelled."""
        if self.cancelled:
            return
        if self._loop_thread is None or threading.get_ident() == self._loop_thread:
            work()
            return
        from anyio import from_thread

        try:
            from_thread.run_sync(work, token=self._loop_token)
        except Exception:
            # The loop has gone on (timeout, cancellation) while the thread was on its way here.
            if not self.cancelled:
                raise

    def for_call(self, call_id: str) -> RunContext[DepsT]:
        """A context for one call: same run, own `call_id` and own `cancelled`.

        Call it in the event loop's thread; `emit` uses that to find its way back from a thread.
        """
        from anyio.lowlevel import current_token

        child: RunContext[DepsT] = RunContext(
            self.deps,
            run_id=self.run_id,
            step=self.step,
            usage=self._usage,
            call_id=call_id,
            sink=self._sink,
            pins=self._pins,
            host=self._host,
        )
        child._loop_thread = threading.get_ident()
        child._loop_token = current_token()
        return child

    def cancel(self) -> None:
        """Set `cancelled`. The executor does it; a test of a sync tool may."""
        self._cancelled.set()
