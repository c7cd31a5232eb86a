"""`Ledger`: what one run has cost, and what it may still cost.

The cost of a sub-agent's run is counted on the run that it works for as well, so that the other's
limits hold for both. Several sub-agents may ask their models at the same time, and their caller's
model may still write: what a request may cost is promised before it is sent, so that no limit of
tokens is passed by requests that know nothing of each other.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import anyio

from .limits import Limits, Sampling
from .results import Usage

if TYPE_CHECKING:
    from .subagents import Host


@dataclass(frozen=True, slots=True)
class Budget:
    """What may still be spent; ``math.inf`` where nothing bounds it."""

    tokens: float = math.inf
    tool_calls: float = math.inf


class Ledger:
    """The cost of one run; used by the tasks of one event loop.

    Args:
        limits: The run's own.
        host: The run that it works for, if any.
        step: Number of the newest message of the model.

    Attributes:
        step: The same.
        usage: Cost so far; ``tool_calls`` are those that were executed.
        by_step: The same by step.
    """

    def __init__(self, limits: Limits, host: Host | None, *, step: int) -> None:
        self._limits = limits
        self._host = host
        self._admitted = 0  # calls that ran or will
        self._promised = 0  # tokens to requests that are on their way, of this run and those below
        self._own = 0  # those of them to this run's own
        self._settled = anyio.Event()  # replaced whenever one of them has ended
        self.step = step
        self.usage = Usage()
        self.by_step: dict[int, Usage] = {}

    def charge(self, usage: Usage, step: int | None = None) -> None:
        """Count a cost, of this step by default."""
        step = self.step if step is None else step
        self.usage += usage
        self.by_step[step] = self.by_step.get(step, Usage()) + usage
        if self._host is not None:
            self._host.ledger.charge(usage)

    def ran(self, calls: int) -> None:
        """Count executed calls; they are no cost of a step."""
        self.usage = dataclasses.replace(self.usage, tool_calls=self.usage.tool_calls + calls)
        if self._host is not None:
            self._host.ledger.ran(calls)

    def admit(self, calls: int) -> None:
        """Count calls that are to run; negative for those that will not after all."""
        self._admitted += calls
        if self._host is not None:
            self._host.ledger.admit(calls)

    @property
    def left(self) -> Budget:
        """What may still be spent, by this run's limits and its host's."""
        most, calls = self._limits.max_total_tokens, self._limits.max_tool_calls
        above = Budget() if self._host is None else self._host.ledger.left
        return Budget(
            min(
                above.tokens,
                math.inf if most is None else most - self.usage.total_tokens - self._promised,
            ),
            min(above.tool_calls, math.inf if calls is None else calls - self._admitted),
        )

    @property
    def calls_used_up(self) -> bool:
        """Whether this run has executed as many calls as it may."""
        limit = self._limits.max_tool_calls
        return limit is not None and self.usage.tool_calls >= limit

    async def promise(self, sampling: Sampling, prompt_tokens: int) -> Sampling | None:
        """The sampling settings of the next request, cut to the tokens that are left for it, which
        are kept for it until `settle`; None when that is nothing.

        What others may still spend is waited for before anything is cut. Nobody waits for ever: who
        waits has nothing promised (it is given back first), and who has waits for no promise.
        """
        self.settle()
        while True:
            fits = self._affordable(sampling, prompt_tokens)
            busy = None if fits is sampling else self._busy()
            if busy is None:
                break
            await busy.wait()
        if fits is not None:
            self._own = prompt_tokens + fits.max_tokens
            self._promise(self._own)
        return fits

    def settle(self) -> None:
        """The request has ended, or is not made: what was promised to it and not spent is free."""
        self._promise(-self._own)
        self._own = 0

    def _promise(self, tokens: int) -> None:
        self._promised += tokens
        if tokens < 0:
            self._settled.set()
            self._settled = anyio.Event()
        if self._host is not None:
            self._host.ledger._promise(tokens)

    def _busy(self) -> anyio.Event | None:
        """Set when a request ends that has a part of what bounds this one; None for none."""
        if self._limits.max_total_tokens is not None and self._promised:
            return self._settled
        return None if self._host is None else self._host.ledger._busy()

    def _affordable(self, sampling: Sampling, prompt_tokens: int) -> Sampling | None:
        """The sampling settings, cut to the tokens that are left; None when that is nothing."""
        left = self.left.tokens - prompt_tokens
        if left < 1:
            return None
        if left >= sampling.max_tokens:
            return sampling
        return dataclasses.replace(sampling, max_tokens=int(left))
