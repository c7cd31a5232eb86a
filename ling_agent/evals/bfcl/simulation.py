"""`Simulation`: the package's simulated API classes of one case, as tools of an agent.

Calls are executed by the package's own ``execute_multi_turn_func_call``, from the same text as in
its handlers. It keeps instances in the globals of its module, by a name made from the model's and
the case's; here each simulation, and each judgement, has a name of its own, which is forgotten
afterwards, so that a case can run twice, and several at the same time.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, cast

from ...tools import RunContext, Tool
from ..benchmark import Case
from .package import MODEL, module

_UTILS = "eval_checker.multi_turn_eval.multi_turn_utils"
_numbers = itertools.count(1)


class Simulation:
    """The instances of one run of a case, and the calls that were made; used within `simulation`.

    Args:
        case: Of a multi-turn category.
        model: Name under which the instances are kept.
        observe: Makes of a result what the tool returns.

    Attributes:
        turn: Index of the user's turn that is worked on.
    """

    def __init__(self, case: Case, model: str, observe: Callable[[Any], Any]) -> None:
        self._case = case
        self._model = model
        self._observe = observe
        self._made: dict[tuple[int, int], list[str]] = {}
        self.turn = 0

    def tools(self, schemas: Sequence[Mapping[str, Any]]) -> list[Tool[..., Any]]:
        """Tools that call the simulated methods.

        Each runs alone: the calls of one message change the same state, in their order.
        """
        return [self._tool(item["function"]) for item in schemas]

    def call(self, text: str) -> str:
        """What a call, as Python text, returns; also that it went wrong is told as text."""
        entry = self._case.data["entry"]
        (result,), _ = module(_UTILS).execute_multi_turn_func_call(
            func_call_list=[text],
            initial_config=entry["initial_config"],
            involved_classes=entry["involved_classes"],
            model_name=self._model,
            test_entry_id=entry["id"],
            long_context="long_context" in self._case.category,
            is_evaL_run=False,
        )
        return result

    def calls(self, turn: int) -> list[list[str]]:
        """The calls of a turn that were executed: of each message those that it made."""
        return [made for (number, _), made in self._made.items() if number == turn]

    def _tool(self, function: Mapping[str, Any]) -> Tool[..., Any]:
        name = function["name"]

        async def call(_run_context_: RunContext[Any], **arguments: Any) -> Any:
            (text,) = module("model_handler.utils").convert_to_function_call([{name: arguments}])
            self._made.setdefault((self.turn, _run_context_.step), []).append(text)
            return self._observe(_parsed(self.call(text)))

        return Tool.from_schema(
            name, function["description"], function["parameters"], call, exclusive=True
        )


@contextmanager
def simulation(case: Case, observe: Callable[[Any], Any]) -> Generator[Simulation, None, None]:
    """The simulated classes of a case; see `Simulation`."""
    with instances() as model:
        yield Simulation(case, model, observe)


@contextmanager
def instances() -> Generator[str, None, None]:
    """A name for instances of simulated classes, which are forgotten afterwards."""
    model = f"{MODEL}-run{next(_numbers)}-"
    kept = cast("dict[str, Any]", vars(module(_UTILS)))
    try:
        yield model
    finally:
        beginning = model.replace("-", "_")  # as the package writes it
        for name in [name for name in kept if name.startswith(beginning)]:
            del kept[name]


def _parsed(text: str) -> Any:
    """A result that is a list or an object as such; the package makes text of everything."""
    if not text.startswith(("{", "[")):
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text
