"""``ling-agent fit``: does a model fit a machine, how much more would, how is it started."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import anyio

from ..catalog import CATALOG
from ..errors import ConfigurationError, LingAgentError
from .common import Subparsers
from .tables import print_table

if TYPE_CHECKING:
    from ..facts import ModelFacts
    from ..fit import Demand, Load, Machine, Plan, Resident
    from ..fit.report import Answer

_CONTEXT = 32768
_BOUND = (
    "Sizes in GB (10^9 bytes). decode at best: what memory bandwidth allows for one sequence with "
    "its window full, an upper bound; real servers stay below it."
)


def add_parser(subparsers: Subparsers) -> None:
    """Add ``fit`` to the command line."""
    parser = subparsers.add_parser(
        "fit",
        help="does a model fit a machine, and how is it started there",
        description="Weights, caches, states and working buffers of a model on a machine, for each "
        "number format; the longest window and the most sequences that fit; the speed that memory "
        "bandwidth allows at best; the command that starts it. All of it is arithmetic.",
        epilog="Exit code: 0 it fits, 1 it does not, 2 bad usage. --market reads the Clore.ai "
        "marketplace with the key in CLORE_API_KEY.",
    )
    parser.add_argument(
        "--model", required=True, metavar="NAME|FILE", help="a known model, or a .gguf file"
    )
    parser.add_argument("--gpu", metavar="NAME", help="graphics card; default: this machine")
    parser.add_argument("--gpus", type=int, metavar="N", help="cards (default 1)")
    parser.add_argument("--ram", type=float, metavar="GB", help="system memory")
    parser.add_argument("--ram-bandwidth", type=float, metavar="GB/S", help="of system memory")
    parser.add_argument("--context", type=int, metavar="N", help="tokens of a sequence's window")
    parser.add_argument(
        "--concurrency", type=int, default=1, metavar="N", help="sequences at once (default 1)"
    )
    parser.add_argument("--quant", metavar="FORMAT", help="one number format; default: all known")
    parser.add_argument("--kv-type", metavar="TYPE", help="type of the cache (default 16 bits)")
    parser.add_argument(
        "--market", action="store_true", help="find the cheapest rented machine that it fits"
    )
    parser.add_argument("--json", action="store_true", help="print JSON, sizes in bytes")
    parser.set_defaults(handler=fit)


def fit(options: argparse.Namespace) -> int:
    """Plan it and print the answer; returns 0, 1 when no format fits, 2 when the market failed.

    Raises:
        LingAgentError: An unknown name, an impossible combination, or a model file that cannot be
            read.
    """
    from ..fit import Verdict, plan
    from ..fit.report import Answer

    machine = _machine(options)
    model, demands, resident = _asked(options)
    load = _load(options, demands[0])
    plans = [plan(demand, machine, load) for demand in demands]
    if options.quant and plans[0].verdict is Verdict.CANNOT:
        raise ConfigurationError(plans[0].reason)
    best = _best(plans, model, len(machine.cards))
    answer = Answer(machine, load, plans, resident=resident)
    if best is not None:
        answer.commands = _commands(best, machine, model)
        answer.embedded = _embedded(best, model)
    if options.market:
        _ask_market(answer, [demand for demand in demands if _runs(demand, model)], options.gpu)
    _show(answer, as_json=options.json)
    if answer.market_error:
        print(f"ling-agent: error: --market: {answer.market_error}", file=sys.stderr)
        return 2
    return 0 if best is not None else 1


def _machine(options: argparse.Namespace) -> Machine:
    from ..fit import named_machine, this_machine

    more = {"ram": options.ram, "ram_bandwidth": options.ram_bandwidth}
    if options.gpu is not None:
        gpus = 1 if options.gpus is None else options.gpus
        return named_machine(options.gpu, gpus=gpus, **more)
    if options.gpus is not None:
        raise ConfigurationError("--gpus needs --gpu: name the card")
    return this_machine(**more)


def _asked(
    options: argparse.Namespace,
) -> tuple[ModelFacts | None, list[Demand], Resident | None]:
    """The model's facts (None for a file), its formats, and for a file what it takes on a CPU."""
    from .. import facts
    from ..fit import demand_of, demand_of_file, resident
    from ..fit.whole import read_whole

    path = Path(options.model)
    if path.suffix == ".gguf" or path.is_file():
        if options.quant:
            raise ConfigurationError("a file has its own format: leave out --quant")
        header = read_whole(path)
        demand = demand_of_file(header)
        load = _load(options, demand)
        found = resident(
            header, n_ctx=load.context, n_parallel=load.concurrency, kv_type=_llama_type(load)
        )
        return None, [demand], found
    model = facts.model(options.model)
    if options.quant is None:
        demands = [demand_of(model, name) for name in model.formats]
        return model, _with_cache(demands, options.kv_type), None
    return model, [demand_of(model, options.quant.lower())], None


def _with_cache(demands: list[Demand], kv_type: str | None) -> list[Demand]:
    """Those that have the type of cache; all of them, for the error, when none has it."""
    if kv_type is None:
        return demands
    found: list[Demand] = []
    for demand in demands:
        try:
            demand.kv_bytes(kv_type)
        except ConfigurationError:
            continue
        found.append(demand)
    return found or demands


def _load(options: argparse.Namespace, demand: Demand) -> Load:
    from ..fit import Load

    context = options.context
    if context is None:
        context = min(demand.native_context or _CONTEXT, _CONTEXT)
    return Load(context, options.concurrency, options.kv_type or "bf16")


def _llama_type(load: Load) -> str:
    return "f16" if load.kv_type == "bf16" else load.kv_type


def _runs(demand: Demand, model: ModelFacts | None) -> bool:
    """Whether a released server runs the model in this format."""
    return model is None or any(_supported(model, server) for server in demand.servers)


def _best(plans: list[Plan], model: ModelFacts | None, cards: int) -> Plan | None:
    """What to start: whole on the cards, run by a released server, in the largest format."""

    def drawbacks(found: Plan) -> tuple[bool, bool, bool]:
        demand = found.demand
        return not _runs(demand, model), not demand.divides_among(cards), found.cpu_experts > 0

    fitting = [found for found in plans if found.fits]
    return min(fitting, key=drawbacks, default=None)  # of equals the first: the largest


def _commands(found: Plan, machine: Machine, model: ModelFacts | None) -> dict[str, str]:
    """How it is started, by server: those that run it, the first one preferred."""
    if model is None:
        return {"llama.cpp": _file_command(found, machine)}
    from ..recipes import command

    commands: dict[str, str] = {}
    for server in found.demand.servers:
        if not _supported(model, server):
            continue
        with suppress(ConfigurationError):  # a server that cannot be told so
            commands[server] = command(
                model,
                server=server,
                format=found.demand.format,
                gpus=max(len(machine.cards), 1),
                context=found.load.context,
                concurrency=found.load.concurrency if found.load.concurrency > 1 else None,
                cpu_experts=found.cpu_experts,
            )
    return commands


def _embedded(found: Plan, model: ModelFacts | None) -> str:
    """How it runs in a process of ours; empty where it does not, or its file is not known."""
    if not found.demand.is_gguf:
        return ""
    name = found.demand.format
    if model is not None:
        known = CATALOG.get(model.id)
        if known is None or known.size != found.weights:
            return ""
        name = model.id
    return shlex.join(["ling-agent", "chat", "--backend", f"llamacpp:{name}"])


def _supported(model: ModelFacts, server: str) -> bool:
    found = model.servers.get(server)
    return found is not None and found.supported


def _file_command(found: Plan, machine: Machine) -> str:
    load = found.load
    words = ["llama-server", "--model", found.demand.format]
    words += ["--ctx-size", str(load.context * load.concurrency)]
    words += ["--parallel", str(load.concurrency)]
    if machine.cards:
        words += ["--n-gpu-layers", "999"]
    if found.cpu_experts:
        words += ["--n-cpu-moe", str(found.cpu_experts)]
    if _llama_type(load) != "f16":
        words += ["--cache-type-k", load.kv_type, "--cache-type-v", load.kv_type]
    return shlex.join(words)


def _show(answer: Answer, *, as_json: bool) -> None:
    from ..fit import report

    if as_json:
        print(json.dumps(report.to_json(answer)))  # ASCII: the same in every locale
        return
    print(f"{report.title(answer)}\n")
    print_table(report.HEADER, report.rows(answer.plans))
    for line in report.notes(answer.plans):
        print(f"  {line}")
    print(f"\n{_BOUND}")
    if answer.resident is not None and not answer.machine.cards:
        print("\nIn the embedded engine on this processor, the whole window filled once:")
        print("\n".join(report.resident_lines(answer.resident)))
    print("".join(f"\n{line}" for line in report.start_lines(answer)))
    if answer.asked_market and not answer.market_error:
        print(report.offer_line(answer.rented))


def _ask_market(answer: Answer, demands: list[Demand], gpu: str | None) -> None:
    """Find the cheapest offer; a market that fails leaves its error, and the plan stands."""
    from .. import facts
    from ..fit.renting import cheapest
    from ..market import CloreOffers

    answer.asked_market = True
    try:
        key = os.environ.get("CLORE_API_KEY", "").strip()
        if not key:
            raise ConfigurationError("set CLORE_API_KEY to the key of your Clore.ai account")
        market = CloreOffers(key, base_url=os.environ.get("CLORE_API_URL") or None)
        offers = anyio.run(market.offers)
    except LingAgentError as error:
        answer.market_error = " ".join(str(error).split())
        return
    wanted = facts.gpu(gpu).id if gpu is not None else None
    answer.rented = cheapest(offers, demands, answer.load, gpu=wanted)
