"""`Ledger`: what one run has cost, and what it may still cost.

The cost of a sub-agent's run is counted on the run that it works for as well, so that the other's
limits hold for both.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

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
            min(above.tokens, math.inf if most is None else most - self.usage.total_tokens),
            min(above.tool_calls, math.inf if calls is None else calls - self._admitted),
        )

    @property
    def calls_used_up(self) -> bool:
        """Whether this run has executed as many calls as it may."""
        limit = self._limits.max_tool_calls
        return limit is not None and self.usage.tool_calls >= limit

    def affordable(self, sampling: Sampling, prompt_tokens: int) -> Sampling | None:
        """The sampling settings, cut to the tokens that are left; None when that is nothing."""
        left = self.left.tokens - prompt_tokens
        if left < 1:
            return None
        if left >= sampling.max_tokens:
            return sampling
        return dataclasses.replace(sampling, max_tokens=int(left))
