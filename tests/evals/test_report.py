"""Reports: the right figures, and nothing that a model writes becomes markup."""

from __future__ import annotations

import dataclasses
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest

from ling_agent import ConfigurationError, StoreError
from ling_agent.evals.benchmark import Outcome
from ling_agent.evals.comparison import compare, directory_labels
from ling_agent.evals.document import Heading, Paragraph, Table, to_html, to_markdown
from ling_agent.evals.plot import Bar, Group, svg
from ling_agent.evals.report import (
    comparison_table,
    macro_text,
    progress_text,
    trials_texts,
    write_report,
)
from ling_agent.evals.results import Results
from ling_agent.evals.statistics import Rate, wilson
from ling_agent.evals.summary import summarize
from ling_agent.evals.texts import markdown, visible

from .test_results import MANIFEST, outcome

SIZES = {"small": 4, "large": 2, "odd": 1}
NASTY = [
    "<script>alert(1)</script>",
    "</title></style></td></table><img src=x onerror=alert(1)>",
    "\"'><svg/onload=alert(1)>",
    "]]><!--",
    "&lt;b&gt; &amp; &#60;script&#62;",
    "![x](https://example.com/x.png) [a](javascript:alert(1)) <https://example.com>",
    "a | b | c\n\n# heading\n- item\n```\ncode\n```",
    "https://example.com/?a=1 WWW.example.com",
    "{title} {body} %s \\| \\",
    "\u202eright to left\u202c \u200b\x00\x1b[31m \ud800",
    "*bold* _it_ ~~no~~ `code` $x$ @user #1",
]


def results(
    judge: Callable[[str, int], bool] = lambda category, n: n % 2 == 0,
    *,
    directory: str = "out",
    text: str = "",
    missing: int = 0,
    **changes: object,
) -> Results:
    """Seven outcomes, some of which failed, with a text of a model in each place that has one."""
    manifest = dataclasses.replace(
        MANIFEST, cases=SIZES, headline=("small", "large", "other"), sessions=({"begun": "2026"},)
    )
    cases = [(category, n) for category, size in SIZES.items() for n in range(size)]
    outcomes = [
        _made(f"{category}_{n}", category, judge(category, n), text) for category, n in cases
    ]
    kept = tuple(outcomes[: len(outcomes) - missing])
    changed = dataclasses.replace(manifest, **changes)  # pyright: ignore[reportArgumentType]
    return Results(Path(directory), changed, kept)


def _made(case: str, category: str, passed: bool, text: str) -> Outcome:
    made = dataclasses.replace(outcome(case, category=category, text=text), passed=passed)
    if passed:
        return made
    return dataclasses.replace(
        made,
        case=case + text,
        score=0.0,
        verdict=f"wrong: {text}",
        calls=({"name": text, "arguments": {text: text}},) if text else (),
        repairs=(text,) if text else (),
    )


class Page(HTMLParser):
    """What a browser would make of a page: its elements, attributes and texts."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: set[str] = set()
        self.attributes: set[tuple[str, str | None]] = set()
        self.cells: list[str] = []
        self.comments: list[str] = []
        self._in_cell = False
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.add(tag)
        self.attributes.update(attrs)
        if tag in {"td", "th"}:
            self._in_cell = True
            self.cells.append("")

    def handle_endtag(self, tag: str) -> None:
        if tag in {"td", "th"}:
            self._in_cell = False

    def handle_data(self, data: str) -> None:
        if self._in_cell:
            self.cells[-1] += data

    def handle_comment(self, data: str) -> None:
        self.comments.append(data)


OURS = frozenset({"html", "head", "meta", "title", "style", "body", "h1", "h2", "h3", "p"}) | {
    *("figure", "svg", "rect", "line", "text", "path"),
    *("div", "table", "thead", "tbody", "tr", "th", "td"),
}


def pages(text: str, directory: Path) -> tuple[str, str]:
    """Markdown and HTML of one evaluation and of two, with this text wherever one can stand."""
    one = results(text=text, subject={"model": text, text: text}, benchmark=text)
    other = dataclasses.replace(one, manifest=dataclasses.replace(one.manifest, subject={text: 1}))
    markdown_file, html_file = write_report(directory / "one", summarize(one))
    both = write_report(directory / "both", compare([one, other], [f"a{text}", f"b{text}"]))
    return (
        markdown_file.read_text() + both[0].read_text(),
        html_file.read_text() + both[1].read_text(),
    )


@pytest.mark.parametrize("text", NASTY)
def test_html_shows_every_text_and_obeys_none(text: str, tmp_path: Path) -> None:
    page = Page(pages(text, tmp_path)[1])
    assert page.elements <= OURS
    assert not {name for name, _ in page.attributes if name.startswith("on")}
    loads = {"src", "href", "xlink:href", "action", "data", "srcset", "style", "formaction"}
    assert not {name for name, _ in page.attributes} & loads
    assert ("content", "default-src 'none'; style-src 'unsafe-inline'") in page.attributes
    assert page.comments == []
    shown = "\n".join(visible(line) for line in re.split(r"\r\n|\r|\n", text.expandtabs(4)))
    assert any(f"wrong: {shown}" in cell for cell in page.cells)


@pytest.mark.parametrize("text", NASTY)
def test_the_plot_is_xml_whatever_the_names_are(text: str) -> None:
    bars = (Bar(wilson(1, 3), text), None)
    drawn = ET.fromstring(svg(text, [text, "b"], [Group(text, bars)]))
    tags = {element.tag.rpartition("}")[2] for element in drawn.iter()}
    assert tags <= {"svg", "title", "rect", "line", "text", "path"}
    assert "foreignObject" not in tags


@pytest.mark.parametrize("text", NASTY)
def test_markdown_keeps_its_tables_and_links_nothing(text: str, tmp_path: Path) -> None:
    written = pages(text, tmp_path)[0]
    widths = set[int]()
    for line in written.splitlines():
        if line.startswith("|"):
            widths.add(len(re.split(r"(?<!\\)\|", re.sub(r"\\\\", "", line))))
        elif widths:
            assert len(widths) == 1, line
            widths.clear()
    bare = re.sub(r"\\[!-/:-@\[-`{-~]", "", written.replace("](plot.svg)", ""))
    bare = re.sub(r"(?m)^!\[[^]]*$|^#+ ", "", bare)
    wrong = re.search(r".*([<>`\[\]*_]|://|www\.).*", bare, re.IGNORECASE)
    assert wrong is None, wrong
    assert all(ord(c) >= 32 or c == "\n" for c in written)
    headings = [line for line in written.splitlines() if re.match(r"#+ heading", line)]
    assert headings == []


@pytest.mark.parametrize("text", NASTY)
def test_markdown_escapes_can_be_undone(text: str) -> None:
    line = visible(" ".join(text.split()))
    assert re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", markdown(text)) == line


def test_what_is_hidden_is_shown() -> None:
    assert visible("a\u202eb\x00c\ud800d\u200b é日") == ("a\\u202eb\\u0000c\\ud800d\\u200b é日")
    assert visible("\U000e0041") == "\\U000e0041"


def test_the_figures_of_one_evaluation(tmp_path: Path) -> None:
    summary = summarize(results())
    assert {name: (t.passed, t.cases) for name, t in summary.categories.items()} == {
        "small": (2, 4),
        "large": (1, 2),
        "odd": (1, 1),
    }
    assert summary.averaged == ("small", "large")  # the headline's third category was not run
    assert summary.macro is not None
    assert summary.macro.value == 0.5
    assert macro_text(summary).startswith(
        "Macro average over 2 of the 3 headline categories: 0.500"
    )
    assert summary.total.usage.prompt_tokens == 21
    assert summary.total.seconds == pytest.approx(1.75)
    assert progress_text(summary) == "Complete: 7 cases."
    assert summary.total.repaired == 4
    assert summary.repairs == {"missing_brace": 4}
    text = write_report(tmp_path, summary)[0].read_text()
    low, high = wilson(2, 4).low, wilson(2, 4).high
    assert f"| small | 2/4 | 0.500 | {low:.3f}–{high:.3f} | 0.500 |" in text
    assert "![Share of cases that passed, with 95 % intervals](plot.svg)" in text
    ET.parse(tmp_path / "plot.svg")


def test_an_evaluation_that_is_not_complete_says_so() -> None:
    summary = summarize(dataclasses.replace(results(missing=3), stopped="the server went away"))
    assert progress_text(summary).startswith(
        "Not complete: 4 of 7 cases. It stopped: the server went away."
    )
    assert summary.averaged == ("small",)
    assert summary.to_json()["complete"] is False


def test_an_evaluation_without_outcomes_has_a_report(tmp_path: Path) -> None:
    summary = summarize(results(missing=7))
    assert summary.macro is None
    assert "Not complete: 0 of 7 cases" in write_report(tmp_path, summary)[0].read_text()


def test_reasons_are_counted_by_their_kind_and_long_lists_cut(tmp_path: Path) -> None:
    base = results(lambda category, n: False)
    many = tuple(
        dataclasses.replace(base.outcomes[0], case=f"case_{n}", verdict=f"wrong value: {n}")
        for n in range(1200)
    )
    files = write_report(tmp_path, summarize(dataclasses.replace(base, outcomes=many)))
    text = files[0].read_text()
    assert "| small | wrong value | 1200 |" in text
    assert text.count("wrong value: ") == 50
    assert "1150 more are in results.jsonl." in re.sub(r"\\", "", text)
    assert "200 more are in results.jsonl." in files[1].read_text()


def test_two_evaluations_are_paired_on_the_cases_that_both_have() -> None:
    first = results(lambda category, n: category != "odd", directory="runs/agent")
    second = results(lambda category, n: n == 0, directory="runs/auto", missing=1)
    comparison = compare([first, second])
    assert comparison.labels == ("agent", "auto")
    (pair,) = comparison.pairs
    # small: 4 and 1 of 4; large: 2 and 1 of 2; odd_0 is missing in the second.
    assert (pair.cases, pair.both, pair.only_first, pair.only_second, pair.neither) == (
        6,
        2,
        4,
        0,
        0,
    )
    assert pair.first_macro == 1.0
    assert pair.second_macro == 0.375
    assert pair.difference == 0.625
    assert pair.p_value == pytest.approx(2 / 16)
    rows = {row[0]: row[1:] for row in comparison_table(comparison).rows}
    assert rows["small"] == ("4/4 (1.00)", "1/4 (0.25)")
    assert rows["odd"] == ("0/1 (0.00)", "–")
    assert rows["cases run"] == ("7/7", "6/7")
    assert comparison.to_json()["complete"] is False


def test_lost_cases_and_different_settings_are_listed(tmp_path: Path) -> None:
    first = results(lambda category, n: n > 0, subject={"model": "m", "planning": "off"})
    second = results(lambda category, n: n == 0, subject={"model": "m", "baseline": "auto"})
    comparison = compare([first, second], ["agent", "auto"])
    assert dict(comparison.differences) == {
        "subject.planning": ("off", None),
        "subject.baseline": (None, "auto"),
    }
    text = write_report(tmp_path, comparison)[0].read_text().replace("\\", "")
    assert "## Cases that agent lost" in text
    assert "| small_0 | small | auto | wrong: |" in text
    assert '| subject.planning | "off" | null |' in text


def test_what_cannot_be_compared() -> None:
    with pytest.raises(ConfigurationError, match="the same benchmark, not of other and sums"):
        compare([results(), results(benchmark="other")], ["a", "b"])
    with pytest.raises(ConfigurationError, match="at least two"):
        compare([results()])
    with pytest.raises(ConfigurationError, match="given twice"):
        compare([results(), results()])


def test_labels_are_what_the_directories_do_not_share() -> None:
    assert directory_labels([Path("x/a/out"), Path("x/b/out")]) == ("a/out", "b/out")
    assert directory_labels([Path("x/a"), Path("x/a/b")]) == ("a", "a/b")


def test_a_report_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="cannot write the report"):
        write_report(tmp_path / "file", summarize(results()))


def test_bars_reach_as_far_as_their_shares() -> None:
    groups = [Group("a", (Bar(Rate(0.5, 0.25, 0.75), "1/2"),))]
    drawn = ET.fromstring(svg("title", [""], groups))
    rects = [r for r in drawn.iter("{http://www.w3.org/2000/svg}rect") if r.get("fill-opacity")]
    axis = list(drawn.iter("{http://www.w3.org/2000/svg}line"))
    left, right = float(axis[0].get("x1", "")), float(axis[-1].get("x1", ""))
    assert float(rects[0].get("width", "")) == pytest.approx((right - left) / 2)
    path = next(drawn.iter("{http://www.w3.org/2000/svg}path")).get("d", "")
    ends = re.match(r"M([0-9.]+) [0-9.]+H([0-9.]+)", path)
    assert ends is not None
    assert float(ends[1]) == pytest.approx(left + (right - left) / 4)
    assert float(ends[2]) == pytest.approx(left + 3 * (right - left) / 4)


def test_a_document_in_both_forms() -> None:
    blocks = [Heading("A", 1), Paragraph("b < c"), Table(("x", "n"), (("1|2", "3"),))]
    assert to_markdown(blocks) == "# A\n\nb \\< c\n\n| x | n |\n| --- | ---: |\n| 1\\|2 | 3 |\n"
    assert "<td>1|2</td><td class=number>3</td>" in to_html(blocks)
    assert "<title>A</title>" in to_html(blocks)


def trials_of(*passed: bool) -> Results:
    """One task, run several times."""
    manifest = dataclasses.replace(MANIFEST, cases={"small": len(passed)}, headline=("small",))
    made = (
        dataclasses.replace(outcome(f"small/1#{n}"), passed=one) for n, one in enumerate(passed)
    )
    return Results(Path("out"), manifest, tuple(made))


class TestTrials:
    def test_several_of_a_task_are_told_as_pass_hat(self, tmp_path: Path) -> None:
        summary = summarize(trials_of(True, True, False))
        assert summary.to_json()["pass_hat"] == pytest.approx({"1": 2 / 3, "2": 1 / 3, "3": 0.0})
        report, page = write_report(tmp_path, summary)
        for file in (report, page):
            assert "pass^1 0.667, pass^2 0.333, pass^3 0.000" in file.read_text().replace("\\", "")

    def test_a_single_one_is_not(self) -> None:
        summary = summarize(trials_of(True))
        assert (trials_texts(summary), summary.to_json()["pass_hat"]) == ([], {})

    def test_evaluations_with_and_without_are_compared(self) -> None:
        table = comparison_table(compare([trials_of(True, False), trials_of(True)], ["two", "one"]))
        rows = {row[0]: row[1:] for row in table.rows}
        assert (rows["pass^1"], rows["pass^2"]) == (("0.500", "–"), ("0.000", "–"))
