"""How many marketplace questions a local model gets right; ``python -m benchmarks.marketplace``.

Every question of ``examples/marketplace_search/questions.json`` is asked once, greedily, in a run
of its own, and the answer is checked by code against the snapshot.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import anyio

from examples.marketplace_search.agent import make_agent
from examples.marketplace_search.checking import check
from examples.marketplace_search.market import SnapshotMarket
from examples.marketplace_search.questions import load_questions
from ling_agent import Agent, LingAgentError, RunResult

from .report import circumstances, header


async def ask(agent: Agent, question: dict[str, Any]) -> dict[str, Any]:
    """Ask one question; the row of the report."""
    result = await agent.run(question["question"])
    verdict = check(question, result.output or "")
    return {
        "id": question["id"],
        "shape": question["shape"],
        "question": question["question"],
        "right": verdict.right and result.ok,
        "status": str(result.status),
        "answer": result.output,
        "problems": list(verdict.problems),
        "plan": str(result.plan.text) if result.plan else None,
        "calls": _calls(result),
        "steps": len(result.steps),
        "requests": result.usage.requests,
        "prompt_tokens": result.usage.prompt_tokens,
        "cached_tokens": result.usage.cached_tokens,
        "completion_tokens": result.usage.completion_tokens,
        "seconds": round(result.usage.seconds, 2),
    }


def _calls(result: RunResult) -> list[str]:
    return [
        f"{call.name}({json.dumps(call.arguments, ensure_ascii=False)})"
        for step in result.steps
        for call in step.message.calls
    ]


async def measure(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Ask the questions one after the other, with progress on standard error."""
    agent = make_agent(SnapshotMarket(), f"llamacpp:{options.model}", planning=options.planning)
    questions = [q for q in load_questions() if options.only in q["id"]][: options.limit]
    rows: list[dict[str, Any]] = []
    started = time.perf_counter()
    for number, question in enumerate(questions, start=1):
        rows.append(await ask(agent, dict(question)))
        left = (time.perf_counter() - started) / number * (len(questions) - number)
        right = sum(row["right"] for row in rows)
        print(f"{number}/{len(questions)}, {right} right, about {left:.0f} s left", file=sys.stderr)
    return rows


def report(rows: list[dict[str, Any]], model: str) -> str:
    """The rows as a Markdown table, with totals."""
    right = sum(row["right"] for row in rows)
    lines = [
        header(f"Marketplace questions, {model}, greedy", "llama-cpp-python"),
        "",
        "| question | right | steps | requests | calls | tokens | seconds |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        mark = "yes" if row["right"] else "**no**"
        lines.append(
            f"| {row['question']} | {mark} | {row['steps']} | {row['requests']} | "
            f"{len(row['calls'])} | {row['completion_tokens']} | {row['seconds']:.1f} |"
        )
    total = sum(row["seconds"] for row in rows)
    steps = sum(row["steps"] for row in rows) / max(len(rows), 1)
    tokens = sum(row["completion_tokens"] for row in rows)
    lines += [
        "",
        f"**{right} of {len(rows)} right**; {steps:.1f} steps a question, {tokens:,} tokens "
        f"generated, {total:.0f} s in all, {total / max(len(rows), 1):.1f} s a question.",
    ]
    for row in rows:
        if not row["right"]:
            lines += ["", f"- `{row['id']}` {row['status']}: {row['calls']} → {row['answer']!r}"]
            lines += [f"    - {problem}" for problem in row["problems"]]
    return "\n".join(lines)


def main() -> int:
    """Measure and print; exit code 2 when the model cannot be had."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="qwen2.5-coder-0.5b", help="alias or path to a .gguf")
    parser.add_argument("--planning", default="inline", choices=("off", "inline", "explicit"))
    parser.add_argument("--only", default="", help="only questions whose id holds this text")
    parser.add_argument("--limit", type=int, help="only the first N questions")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write it as JSON, too")
    options = parser.parse_args()
    try:
        rows = anyio.run(measure, options)
    except LingAgentError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if options.json:
        whole = {**circumstances("llama-cpp-python"), "model": options.model, "rows": rows}
        options.json.write_text(json.dumps(whole, indent=1, ensure_ascii=False), encoding="utf-8")
    print(report(rows, options.model))
    return 0


if __name__ == "__main__":
    sys.exit(main())
