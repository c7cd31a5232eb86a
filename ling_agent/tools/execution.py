"""Run calls: validate, time out, retry, render. Every call ends in one `ToolOutcome`."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import inspect
import json
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import anyio
from anyio import get_cancelled_exc_class

from ..errors import ToolError
from ..messages import ToolCall
from .context import RunContext
from .cutting import CountTokens, render_within
from .decorator import Tool
from .failures import failure_text
from .problems import ArgumentError
from .rendering import RenderError, to_json_value
from .runner import CallRunner
from .threads import run_abandonable
from .toolset import Toolset
from .validation import ValidatedCall

_FIRST_PAUSE = 0.1  # seconds before the first retry; doubled each time
_LONGEST_PAUSE = 2.0


@dataclass(frozen=True, slots=True)
class ToolOutcome:
    """What came of one call.

    Attributes:
        call_id: The call's identifier.
        name: The tool's name.
        text: The observation: what the model reads.
        is_error: True when the tool did not deliver; `text` then starts with `Error: `.
        seconds: Wall-clock time, retries included.
        value: What the function returned; None after an error.
        attempts: How often the function was called; 0 when the arguments did not fit.
        notes: For people: coercions of arguments, retries.
        waiting: Calls of a sub-agent that a person has to decide first.
        ended: Whether the call has a result; that of a sub-agent which waits or was stopped before
            it said anything has none yet.
    """

    call_id: str
    name: str
    text: str
    is_error: bool
    seconds: float
    value: object = None
    attempts: int = 1
    notes: tuple[str, ...] = ()
    waiting: tuple[ToolCall, ...] = ()
    ended: bool = True


class CallsWait(Exception):  # noqa: N818 - it is no error
    """Raised by the tool of a sub-agent whose run has to be gone on with before it has a result.

    Args:
        calls: What a person has to decide first; nothing when the run was stopped.
    """

    def __init__(self, calls: tuple[ToolCall, ...]) -> None:
        super().__init__("the run has to be gone on with")
        self.calls = calls


class ProgramError(Exception):
    """Raised by the tool of a sub-agent for an exception in its run that is nothing for a model.

    A hook of the program that raises ends its run, and so it ends the run that this one works for.

    Args:
        error: What was raised.
    """

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


class _TimedOutError(Exception):
    """The attempt was stopped; the text says what that means."""


async def execute_call(
    tool: Tool[..., Any],
    call_id: str,
    arguments: dict[str, Any],
    ctx: RunContext[Any],
    *,
    count_tokens: CountTokens | None = None,
    max_result_tokens: int | None = None,
) -> ToolOutcome:
    """Run one call. It never raises, except when it is cancelled from outside, and `ProgramError`.

    Args:
        tool: What to call.
        call_id: The call's identifier.
        arguments: JSON arguments as the model gave them.
        ctx: The run's context; the tool gets its own copy with `call_id` filled in.
        count_tokens: The model's tokenizer, for `max_result_tokens`; None to estimate.
        max_result_tokens: Limit for a tool that has none of its own.
    """
    started = time.perf_counter()
    finish = functools.partial(_finish, call_id, tool.name, started)
    try:
        call = tool.validate(arguments)
    except ArgumentError as error:
        lines = error.message.replace("\n", "\n- ")
        text = f"Error: the arguments do not fit tool '{tool.name}':\n- {lines}"
        return finish(text, is_error=True, attempts=0)
    except Exception as error:
        return finish(failure_text(error), is_error=True, attempts=0)
    try:
        result = await _attempts(tool, call, ctx, call_id)
    except CallsWait as wait:
        return dataclasses.replace(finish("", attempts=1), waiting=wait.calls, ended=False)
    notes = (*call.coercions, *result.notes)
    if result.error:
        return finish(result.error, is_error=True, attempts=result.attempts, notes=notes)
    limit = tool.max_result_tokens or max_result_tokens
    try:
        text = render_within(to_json_value(result.value, tool=tool.name), limit, count_tokens)
    except RenderError as error:
        return finish(f"Error: {error}", is_error=True, attempts=result.attempts, notes=notes)
    return finish(text, value=result.value, attempts=result.attempts, notes=notes)


@dataclass(frozen=True, slots=True)
class _Result:
    """What the attempts came to: a value, or the text of the last error."""

    attempts: int
    notes: tuple[str, ...]
    value: object = None
    error: str = ""


async def _attempts(
    tool: Tool[..., Any], call: ValidatedCall, ctx: RunContext[Any], call_id: str
) -> _Result:
    """Call the function until it succeeds or must not be tried again."""
    told = json.dumps(call.json_arguments, ensure_ascii=False)
    notes: list[str] = []
    attempts = 0
    while True:
        attempts += 1
        try:
            # A function may have changed its arguments: a further attempt starts from fresh ones.
            fresh = call if attempts == 1 else tool.validate(json.loads(told))
            value = await _attempt(tool, fresh.arguments, ctx.for_call(call_id))
            return _Result(attempts, tuple(notes), value=value)
        except get_cancelled_exc_class():
            if _from_outside():
                raise
            text, final = f"Error: tool '{tool.name}' cancelled itself", True
        except _TimedOutError as error:
            text, final = f"Error: {error}", not tool.idempotent
        except (CallsWait, ProgramError):
            raise
        except ToolError as error:
            text, final = failure_text(error), True
        except (Exception, SystemExit) as error:
            text, final = failure_text(error, told), False
        if final or attempts > tool.retries:
            return _Result(attempts, tuple(notes), error=text)
        notes.append(f"attempt {attempts} failed ({text.removeprefix('Error: ')}); tried again")
        await anyio.sleep(min(_FIRST_PAUSE * 2 ** (attempts - 1), _LONGEST_PAUSE))


def _finish(
    call_id: str,
    name: str,
    started: float,
    text: str,
    *,
    is_error: bool = False,
    value: object = None,
    attempts: int,
    notes: tuple[str, ...] = (),
) -> ToolOutcome:
    seconds = time.perf_counter() - started
    return ToolOutcome(call_id, name, text, is_error, seconds, value, attempts, notes)


async def _attempt(tool: Tool[..., Any], arguments: dict[str, Any], ctx: RunContext[Any]) -> Any:
    """Call the function once, in the loop or in a thread, within the tool's timeout."""
    in_thread = not tool.is_async
    value: Any = None
    with anyio.move_on_after(tool.timeout) as scope:
        try:
            if in_thread:
                call = functools.partial(tool.invoke, arguments, ctx)
                value = await run_abandonable(call, name=f"tool {tool.name}")
                in_thread = False
            else:
                value = tool.invoke(arguments, ctx)
            if inspect.isawaitable(value):
                value = await value
        except get_cancelled_exc_class():
            ctx.cancel()
            raise
    if not scope.cancelled_caught:
        return value
    limit = f"tool '{tool.name}' took longer than {tool.timeout:g} s and was"
    if in_thread:
        raise _TimedOutError(f"{limit} abandoned; it may still be running")
    raise _TimedOutError(f"{limit} stopped")


def _from_outside() -> bool:
    """Whether a cancellation was asked for, rather than raised by the tool on its own.

    On asyncio a tool that awaits a cancelled future raises `CancelledError` with nobody having
    cancelled this task; that is the tool's failure, not the end of the run. Trio knows no such.
    """
    try:
        task = asyncio.current_task()
    except RuntimeError:
        return True
    return task is None or task.cancelling() > 0


async def execute_calls(
    tools: Toolset,
    calls: Sequence[ToolCall],
    ctx: RunContext[Any],
    *,
    max_parallel: int = 8,
    count_tokens: CountTokens | None = None,
    max_result_tokens: int | None = None,
    on_start: Callable[[ToolCall], Awaitable[object]] | None = None,
    on_finish: Callable[[ToolOutcome], Awaitable[object]] | None = None,
) -> list[ToolOutcome]:
    """Run the calls of one step, concurrently, and return the outcomes in the calls' order.

    A call that fails does not disturb the others. A call of an `exclusive` tool waits for the
    calls before it, runs alone, and the calls after it wait for it.

    Args:
        tools: The run's tools. A call of a tool that is not in it is answered with the names.
        calls: What the model asked for.
        ctx: The run's context.
        max_parallel: Most calls at one time.
        count_tokens: The model's tokenizer; None to estimate.
        max_result_tokens: Limit for tools that have none of their own.
        on_start: Awaited when a call starts to run, not while it waits for its turn; False keeps it
            from running, and it has no outcome.
        on_finish: Awaited when a call has its outcome, in the order in which they finish.
    """
    options: Any = {"count_tokens": count_tokens, "max_result_tokens": max_result_tokens}
    outcomes: dict[int, ToolOutcome] = {}

    async def run(index: int, call: ToolCall) -> None:
        if on_start is not None and await on_start(call) is False:
            return
        outcomes[index] = outcome = await execute_one(tools, call, ctx, **options)
        if on_finish is not None:
            await on_finish(outcome)

    async with anyio.create_task_group() as group:
        runner = CallRunner(group, max_parallel=max_parallel)
        for index, call in enumerate(calls):
            exclusive = call.name in tools and tools[call.name].exclusive
            runner.start(functools.partial(run, index, call), exclusive=exclusive)
    return [outcomes[index] for index in range(len(calls)) if index in outcomes]


async def execute_one(
    tools: Toolset,
    call: ToolCall,
    ctx: RunContext[Any],
    *,
    count_tokens: CountTokens | None = None,
    max_result_tokens: int | None = None,
) -> ToolOutcome:
    """`execute_call` by name; a call of a tool that there is not is answered with the names."""
    if call.name not in tools:
        return _unknown(tools, call)
    return await execute_call(
        tools[call.name],
        call.id,
        call.arguments,
        ctx,
        count_tokens=count_tokens,
        max_result_tokens=max_result_tokens,
    )


def _unknown(tools: Toolset, call: ToolCall) -> ToolOutcome:
    text = f"Error: {tools.unknown_message(call.name)}"
    return ToolOutcome(call.id, call.name, text, is_error=True, seconds=0.0, attempts=0)
