"""What a model takes of a machine's memory, whether it fits, and how fast it could be at best.

>>> from ling_agent.fit import Load, demand_of, named_machine, plan
>>> from ling_agent.facts import model
>>> found = plan(demand_of(model("ling-2.6-flash"), "fp8"), named_machine("h200"), Load(32768))
>>> str(found.verdict)
'fits'

`demand_of` takes the facts, `demand_of_file` a model file's header. `resident` predicts what the
embedded engine keeps in a CPU's memory. ``ling-agent fit`` is the command line.
"""

from __future__ import annotations

from .demand import Demand, demand_of, demand_of_file
from .machine import Card, Machine, named_machine, this_machine
from .plan import Load, Plan, Verdict, plan
from .resident import Resident, resident

__all__ = [
    "Card",
    "Demand",
    "Load",
    "Machine",
    "Plan",
    "Resident",
    "Verdict",
    "demand_of",
    "demand_of_file",
    "named_machine",
    "plan",
    "resident",
    "this_machine",
]
