"""``ling-agent eval``: run a benchmark, go on with it, and compare what came out."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from ..agent import Agent
from ..backends.registry import DEFAULT_BACKEND
from ..errors import ConfigurationError
from ..planning import HINTS
from .common import Subparsers, fetch_model, load_object
from .evaluating import Evaluation, tell

if TYPE_CHECKING:
    from ..evals.benchmark import Benchmark, Selection
    from ..evals.options import EvalOptions

_T = TypeVar("_T")
Factory: TypeAlias = "Callable[[EvalOptions], Benchmark]"
_NEEDS = (
    "Needs pip install 'ling-agent[eval]' (gigabytes), or only what is used: pip install --no-deps "
    "-r scripts/evals/requirements.txt in the repository."
)
_EXIT = (
    "Exit code: 0 complete, 1 not complete (the same command goes on), 2 bad usage or an error, "
    "130 interrupted."
)


def add_parser(subparsers: Subparsers) -> None:
    """Add ``eval`` to the command line."""
    parser = subparsers.add_parser(
        "eval",
        help="measure how many calls an agent gets right",
        description="Run a benchmark on an agent built here, or on other stacks with the same "
        "weights, and report what came out.",
        epilog=_EXIT,
    )
    kinds = parser.add_subparsers(title="benchmarks", required=True, metavar="WHAT")
    bfcl = kinds.add_parser(
        "bfcl",
        help="BFCL v4: function calls, judged by the official package",
        description="The Berkeley Function-Calling Leaderboard's data and judges. " + _NEEDS,
        epilog=_EXIT,
    )
    bfcl.set_defaults(handler=evaluate_bfcl)
    tau2 = kinds.add_parser(
        "tau2",
        help="tau2: conversations with a simulated user",
        description="tau2's domains, orchestrator and scoring. " + _NEEDS,
        epilog=_EXIT,
    )
    tau2.add_argument("--domain", default="mock", metavar="NAME", help="default mock")
    tau2.add_argument("--tasks", metavar="ID,...", help="exactly these tasks")
    tau2.add_argument(
        "--user", metavar="SPEC", help="backend of the user simulator (default: the tested one)"
    )
    tau2.add_argument("--split", default="base", metavar="NAME", help="of the tasks (default base)")
    tau2.add_argument(
        "--trials", type=_whole, default=1, metavar="N", help="runs of each task (default 1)"
    )
    tau2.add_argument(
        "--steps",
        type=_whole,
        default=200,
        metavar="N",
        help="most messages that are passed on in one simulation (default 200, the package's)",
    )
    tau2.add_argument(
        "--user-temperature", type=float, default=0.0, metavar="T", help="of the user (default 0)"
    )
    tau2.add_argument(
        "--judge",
        action="store_true",
        help="let the user's model judge assertions in words (no task's reward depends on one)",
    )
    tau2.set_defaults(handler=evaluate_tau2)
    own = kinds.add_parser(
        "run",
        help="a benchmark of yours",
        description="A benchmark of yours: a function that takes EvalOptions and returns a "
        "Benchmark.",
        epilog=_EXIT,
    )
    own.add_argument("factory", metavar="MODULE:FUNCTION")
    own.set_defaults(handler=evaluate_own)
    for kind in (bfcl, tau2, own):
        _add_options(kind)
    _add_report(kinds)


def _add_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--backend",
        metavar="SPEC",
        help=f"the tested model, such as vllm:http://localhost:8000 (default {DEFAULT_BACKEND})",
    )
    add("--profile", metavar="NAME", help="of the model; it is found out without")
    add("--categories", metavar="NAME,...", help="only these (default all)")
    add("--limit", type=_whole, metavar="N", help="most cases of each category, drawn at random")
    add("--seed", type=int, default=0, metavar="N", help="of the drawing (default 0)")
    add("--cases", metavar="ID,...", help="exactly these cases")
    add("--concurrency", type=_whole, default=1, metavar="N", help="cases at a time (default 1)")
    add("--out", metavar="DIR", help="results and reports (default eval-<benchmark>)")
    add(
        "--case-timeout",
        type=float,
        default=600.0,
        metavar="SECONDS",
        help="a case that takes longer has failed (default 600)",
    )
    add("--max-tokens", type=_whole, default=1024, metavar="N", help="longest answer")
    add("--max-steps", type=_whole, metavar="N", help="most messages of the model in one run")
    add("--sampling-seed", type=int, default=0, metavar="N", help="above a temperature of 0")
    add("--planning", metavar="MODE,...", help=f"{', '.join(HINTS)}: each is an evaluation")
    add("--temperature", metavar="T,...", help="each is an evaluation (default 0)")
    add("--observation", metavar="FORMAT,...", help="of tool results: each is an evaluation")
    add("--baseline", metavar="NAME,...", help="run the same cases on these stacks, too")
    add("--no-agent", action="store_true", help="the baselines only")
    add("--retry-errors", action="store_true", help="run cases again that could not be judged")
    add("--json", action="store_true", help="print what came out as JSON")


def _add_report(kinds: Subparsers) -> None:
    parser = kinds.add_parser(
        "report",
        help="write the report of results, or compare several",
        description="Write the report of a results directory again, or compare several: the "
        "first with each of the others.",
        epilog="Exit code: 0 written, 2 bad usage or an error.",
    )
    parser.add_argument("directories", nargs="+", metavar="DIR", type=Path)
    parser.add_argument(
        "--out", metavar="DIR", help="where to write (default: the directory, or eval-comparison)"
    )
    parser.add_argument("--json", action="store_true", help="print what came out as JSON")
    parser.set_defaults(handler=report)


def evaluate_bfcl(options: argparse.Namespace) -> int:
    """Run BFCL; returns 0 when every case was run, else 1."""
    from ..evals.bfcl import BFCL

    return _evaluate(options, "bfcl", BFCL.of)


def evaluate_tau2(options: argparse.Namespace) -> int:
    """Run tau2; returns 0 when every task was run, else 1."""
    from ..evals.tau2 import Tau2Benchmark, Tau2Settings

    own = Tau2Settings(
        trials=options.trials,
        split=options.split,
        steps=options.steps,
        judge=options.judge,
        user_temperature=options.user_temperature,
    )
    return _evaluate(options, "tau2", lambda settings: Tau2Benchmark(settings, own))


def evaluate_own(options: argparse.Namespace) -> int:
    """Run a benchmark of the caller's; returns 0 when every case was run, else 1."""
    from ..evals.benchmark import Benchmark

    factory = load_object(options.factory)
    if not callable(factory):
        raise ConfigurationError(f"{options.factory} is no function that makes a Benchmark")

    def make(settings: EvalOptions) -> Benchmark:
        made: object = factory(settings)
        if not isinstance(made, Benchmark):
            raise ConfigurationError(
                f"{options.factory} made an object of type {type(made).__name__}: return a "
                "Benchmark (ling_agent.evals.benchmark)"
            )
        return made

    return _evaluate(options, options.factory.partition(":")[0], make, embedded=False)


def report(options: argparse.Namespace) -> int:
    """Write the report of one evaluation, or the comparison of several; returns 0."""
    from ..evals.matrix import evaluations_below
    from ..evals.results import MANIFEST, read_results

    directories: list[Path] = []
    for given in options.directories:
        below = [] if (given / MANIFEST).exists() else evaluations_below(given)
        directories += below or [given]
    out = options.out or (options.directories[0] if len(options.directories) == 1 else None)
    results = [read_results(directory) for directory in directories]
    tell(results, (), Path(out or "eval-comparison"), as_json=options.json)
    return 0


def _evaluate(
    options: argparse.Namespace, name: str, factory: Factory, *, embedded: bool = True
) -> int:
    """Run each combination of the settings, and report.

    Args:
        options: Of the command line.
        name: Of the benchmark, for the default directory.
        factory: Makes it.
        embedded: Whether no backend means the embedded default, whose file is fetched.
    """
    from ..evals.matrix import check_directory

    cells = _cells(options)
    out = Path(options.out or f"eval-{name}")
    check_directory(out, list(cells))
    selection = _selection(options)
    # All of them, and their cases, before anything is downloaded or run: mistakes are told first.
    made = {label: factory(settings) for label, settings in cells.items()}
    for benchmark in made.values():
        benchmark.cases(selection)
    if embedded or options.backend:
        _fetch(cells)
    return Evaluation(options, selection, out).run(made)


def _cells(options: argparse.Namespace) -> dict[str, EvalOptions]:
    from ..evals.matrix import Matrix
    from ..evals.options import EvalOptions

    matrix = Matrix(
        planning=_values("--planning", options.planning, _planning),
        temperature=_values("--temperature", options.temperature, float),
        observation=_values("--observation", options.observation, str),
        baseline=_values("--baseline", options.baseline, str),
        agent=not options.no_agent,
    )
    base = EvalOptions(
        backend=options.backend or "",
        profile=options.profile,
        max_tokens=options.max_tokens,
        max_steps=options.max_steps,
        sampling_seed=options.sampling_seed,
        domain=getattr(options, "domain", ""),
        user_backend=getattr(options, "user", None) or "",
    )
    return matrix.cells(base)


def _selection(options: argparse.Namespace) -> Selection:
    from ..evals.benchmark import Selection

    ids = _values("--cases", options.cases, str)
    ids += _values("--tasks", getattr(options, "tasks", None), str)
    return Selection(
        categories=_values("--categories", options.categories, str),
        limit=options.limit,
        seed=options.seed,
        ids=ids,
    )


def _values(option: str, text: str | None, read: Callable[[str], _T]) -> tuple[_T, ...]:
    """The values of an option that takes several.

    Raises:
        ConfigurationError: One is not of its kind, or there is none.
    """
    if text is None:
        return ()
    words = [word.strip() for word in text.split(",") if word.strip()]
    if not words:
        raise ConfigurationError(f"{option} is empty: give a value, or leave it out")
    try:
        return tuple(map(read, words))
    except ValueError as error:
        raise ConfigurationError(f"{option} {text}: {error}") from None


def _planning(word: str) -> Any:
    if word not in HINTS:
        raise ValueError(f"write {', '.join(HINTS)}, or several of them")
    return word


def _whole(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is below 1")
    return number


def _fetch(cells: dict[str, EvalOptions]) -> None:
    """Get the files of embedded models before anything runs: their progress is shown."""
    tested = [cell.backend for cell in cells.values()]
    users = [cell.user_backend for cell in cells.values() if cell.user_backend]
    for spec in dict.fromkeys(tested + users):
        fetch_model(Agent(spec or None))
