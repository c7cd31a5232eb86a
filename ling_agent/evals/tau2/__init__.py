"""tau2: an agent serves a simulated user in a domain with a database, tools and a policy.

The data flow of one case, on two threads::

    event loop                                thread
    ──────────                                ──────
    Tau2Benchmark.run ── to_thread ─────────► Orchestrator.run (the package's, synchronous)
                                                │ generate_next_message
    Dialogue.next ◄──────── from_thread ──────  ├─► TestedAgent         (a message, or a result)
      │ starts Agent.run in the session           │
      │ handler of a tool puts down its call      │
      └─ Call, or what the run said ──────────►   │
                                                  ├─► Environment.get_response (carries it out)
                                                  │     └─► its result is the agent's next turn
    Completion ◄─────────── from_thread ──────    └─► UserSimulator     (the package's prompts)
      └─ any backend of ours ─────────────────►         └─► generate, see `package`
    score ─────────────── to_thread ─────────► evaluate_simulation (replays, compares, counts)

The orchestrator carries out the calls, and the agent's loop does all else as ever: it plans,
parses, repairs, checks arguments against the schema, reminds of repeated calls and keeps the
conversation as one session, with a run for each message of the user. Of the ways to hand a call
out, a handler that waits is the one that leaves the loop untouched: an approval would end the run
at each call, and can be given, but not answered. What the protocol bounds:

- A message has words or calls, so words that the model writes beside a call are not passed on.
- Calls of one message are carried out one after the other, each a message of its own.
- Calls that the loop answers itself (no such tool, arguments that do not fit, the same call again)
  are not seen by the environment, and do not count as its errors.

`Tau2Benchmark` is what to use.
"""

from __future__ import annotations

from .benchmark import Tau2Benchmark, Tau2Settings

__all__ = ["Tau2Benchmark", "Tau2Settings"]
