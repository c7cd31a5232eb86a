"""Full-text search: what is found, where, and in which order."""

from __future__ import annotations

import dataclasses
import gc
import random
import sqlite3
import subprocess
import sys
import threading
import weakref

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ling_agent import Trajectory
from ling_agent.memory.search import SearchIndex
from ling_agent.memory.searchable import PIECE, pieces, searchable
from ling_agent.memory.stem import stem
from ling_agent.memory.terms import folded, query_words, tokens
from ling_agent.messages import AssistantMessage, SystemMessage, ToolCall, ToolMessage, UserMessage
from tests.memory.entries import observation


def of(words: str) -> list[str]:
    return words.split()


def index_of(*texts: str) -> SearchIndex:
    index = SearchIndex()
    index.add("run", [observation(text, after=place) for place, text in enumerate(texts)])
    return index


def found(index: SearchIndex, query: str) -> list[int]:
    return [hit.entry for hit in index.search("run", query)]


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("The connections were refused.", "connecting refusal"),
        ("Der Müller fährt nach Zürich.", "muller zurich"),
        ("ＦＵＬＬ ｗｉｄｔｈ １２３", "full width 123"),
        ("def read_file(path): ...", "read_file"),
        ("srv-371-a.example.com:8080", "srv-371-a"),
        ("北京大学的图书馆很大，欢迎参观。", "图书馆"),
        ("北京大学的图书馆很大，欢迎参观。", "馆"),
        ("東京タワーは赤い。", "タワー"),
        ("서울의 날씨는 맑다", "날씨"),
        ("RTX4090显卡的价格", "显卡 价格"),
        ("Привет, мир", "мир"),
        ("NUL\x00bytes and \ud83d halves", "bytes halves"),
        ("to be or not to be", "to be or not to be"),
    ],
)
def test_words_are_found_by_what_they_have_in_common(text: str, query: str) -> None:
    index = index_of("something else", text, "weather report", "上海的天气")
    assert found(index, query)[0] == 1


@pytest.mark.parametrize(
    "query", ["", " ", '"', '""', "*", "(", "x:", "^", "-", "🎉", "\x00", "\ud800"]
)
def test_a_query_without_words_finds_nothing(query: str) -> None:
    assert found(index_of("some text"), query) == []


@given(st.text(st.characters(), max_size=60))
def test_any_text_can_be_asked_for(query: str) -> None:
    found(index_of("some text", query), query)


@given(st.text("AND OR NOT NEAR()\"'*:^-+{}\x00😀字", max_size=30))
def test_no_query_is_a_command(query: str) -> None:
    index = index_of(query, "other")
    assert set(found(index, query)) <= {0}


def test_the_entry_with_more_of_the_query_is_first() -> None:
    index = index_of("blue cars", "blue cars drive fast", "fast trains", "red")
    assert found(index, "fast blue cars")[0] == 1


def test_rare_words_say_more() -> None:
    common = [f"the server returned status {number}" for number in range(30)]
    index = index_of(*common, "a kestrel")
    assert found(index, "status of the server and the kestrel")[0] == 30


def test_words_that_stand_together_are_first() -> None:
    noise = " ".join(f"word{number}" for number in range(60))
    apart = f"alpha {noise} beta {noise} gamma"
    index = index_of(apart, f"{noise} alpha beta gamma {noise}", apart)
    assert found(index, "alpha beta gamma")[0] == 1


def test_a_hit_shows_the_place_as_it_was_written() -> None:
    filler = "Ein Satz, der nichts sagt. " * 200
    text = f"{filler}Der SCHATZ liegt in Ｏｓｌｏ. {filler}"
    hit = index_of(text).search("run", "schatz oslo")[0]
    assert "Der SCHATZ liegt in Ｏｓｌｏ." in hit.text
    assert text[hit.offset : hit.offset + len(hit.text)] == hit.text


def test_offsets_count_in_the_observation_and_not_in_its_call() -> None:
    content = "x " * 1000 + "needle in the content"
    entry = dataclasses.replace(observation(content), data={"call": "read(path='kestrel.txt')"})
    index = SearchIndex()
    index.add("run", [entry])
    hit = index.search("run", "needle")[0]
    assert content[hit.offset :].startswith(hit.text)
    hit = index.search("run", "kestrel")[0]
    assert (hit.entry, hit.offset) == (0, 0)
    assert hit.text.startswith("read(path='kestrel.txt')\nx x")


def test_what_is_searched_of_each_kind() -> None:
    log = Trajectory()
    log.append("instructions", SystemMessage("instructed"))
    log.append("task", UserMessage("tasked"), task="tasked")
    log.append("document", UserMessage("documented"))
    called = (ToolCall("i", "called", {}),)
    log.append("assistant", AssistantMessage("said", "thought", called, "raw"), step=1)
    log.append("observation", ToolMessage("i", "f", "observed"), call="f(asked)")
    log.append("observation", ToolMessage("i", "f", "copied"), memory=True)
    log.append("pin", text="pinned")
    log.append("note", UserMessage("noted"))
    log.append("usage", prompt_tokens=1)
    texts = [searchable(entry).text for entry in log]
    assert texts == [
        *("", "tasked", "documented", "thought\nsaid", "f(asked)\nobserved"),
        *("", "pinned", "", ""),
    ]


def test_large_texts_are_indexed_when_they_are_asked_for() -> None:
    text = "nothing to see in this row\n" * 20_000 + "the needle is golden"
    index = index_of("before", text, "after with a needle")
    assert set(found(index, "needle")) == {1, 2}
    assert found(index, "golden") == [1]


def test_runs_are_apart_and_grow() -> None:
    index = SearchIndex()
    index.add("a", [observation("apples")])
    index.add("b", [observation("bananas")])
    assert [index.length(name) for name in ("a", "b", "c")] == [1, 1, 0]
    index.add("a", [observation("bananas and apples", after=1)])
    assert [hit.entry for hit in index.search("a", "bananas")] == [1]
    assert [hit.entry for hit in index.search("b", "apples")] == []
    assert index.search("c", "apples") == []


def test_an_index_is_used_from_several_threads() -> None:
    index, failed = SearchIndex(), list[BaseException]()

    def work(name: str) -> None:
        try:
            for number in range(20):
                index.add(name, [observation(f"{name} {number}", after=number)])
                assert len(index.search(name, name, limit=50)) == number + 1
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=[f"run{number}"]) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed


def test_an_index_closes_what_it_opened() -> None:
    index = index_of("text")
    connection = index._connection  # pyright: ignore[reportPrivateUsage]
    assert connection is not None
    gone = weakref.ref(index)
    del index
    gc.collect()
    assert gone() is None
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        connection.execute("SELECT 1")


@given(st.text(st.characters(), max_size=50), st.integers(0, 200))
def test_pieces_are_the_text(text: str, times: int) -> None:
    whole = text * times
    parts = list(pieces(whole))
    joined = "".join(whole[part.start : part.start + part.length] for part in parts)
    assert whole.startswith(joined)
    assert not whole[len(joined) :].strip()
    assert all(0 < part.length <= PIECE for part in parts)


def test_pieces_end_where_lines_end() -> None:
    text = "A line of a report that goes on for a while.\n" * 200
    parts = list(pieces(text))
    assert len(parts) > 4
    for part in parts:
        assert text[part.start + part.length - 1] == "\n"


def test_stop_words_are_left_out_unless_there_are_no_others() -> None:
    assert list(query_words("Where is the lighthouse?")) == ["lighthous"]
    assert list(query_words("who is it")) == ["who", "is", "it"]
    assert len(query_words(" ".join(f"w{n}" for n in range(500)))) == 64


def test_terms_are_those_of_sqlite() -> None:
    """The order of hits counts on that: it looks for the same terms in the text."""
    words = of(
        "connections connected relational conditional rational digitizer operators feudalism "
        "hopefulness sensibilities triplicate formative electricity adjustable replacement "
        "adoption effective probate rate cease controlling rolled hopping sized falling hissing "
        "failing filing happy sky ponies caresses cats agreed plastered motoring sing 42nd x1y2"
    )
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE VIRTUAL TABLE t USING fts5(text, tokenize='porter unicode61')")
    connection.execute("CREATE VIRTUAL TABLE v USING fts5vocab(t, instance)")
    connection.executemany("INSERT INTO t(rowid, text) VALUES(?, ?)", enumerate(words))
    terms = dict(connection.execute("SELECT doc, term FROM v"))
    connection.close()
    assert {word: stem(word) for word in words} == {w: terms[n] for n, w in enumerate(words)}


def test_folding_and_tokens_of_mixed_scripts() -> None:
    assert folded("plain\x00text") == "plain text"
    assert tokens("Café 北京大学 x_y") == ["cafe", "北京", "京大", "大学", "学", "x", "y"]


FACTS = [
    # what was said, exact words of it, a paraphrase
    (
        "The {c} service of project {n} listens on port {p} in the staging cluster.",
        "{c} service project {n} port {p}",
        "which port is {n}'s {c} listening on?",
    ),
    (
        "Customer {s} ordered {p} units of the {n} sensor, to be delivered in Rotterdam.",
        "customer {s} ordered {p} units {n} sensor",
        "delivery place of the {n} sensors that {s} bought",
    ),
    (
        "The root cause of the {n} outage was an expired certificate on host {s}-{p}.",
        "root cause {n} outage expired certificate",
        "why was {n} down? which certificates had expired",
    ),
]
NAMES = of("Orion Tamarack Vesuvius Kestrel Juniper Bergamot Cobalt Marlow Quillon Hadley")
PEOPLE = of("Castellanos Okafor Lindqvist Moreau Petrov Nakamura")
PARTS = of("scheduler gateway billing indexer notifier importer")
WORDS = of(
    "service status error request user data file port customer units sensor cluster host outage "
    "certificate order delivery config table cache token server message queue retry limit path"
)


def test_planted_facts_are_found_first() -> None:
    """A small version of the benchmark: 60 facts in 600 steps of words of the same field."""
    rng = random.Random(5)
    facts = [
        (template, {"n": f"{name}-{number}", "s": rng.choice(PEOPLE), "c": rng.choice(PARTS)})
        for number in range(2)
        for name in NAMES
        for template in FACTS
    ]
    places = rng.sample(range(600), len(facts))
    index, planted = SearchIndex(), dict(zip(places, facts, strict=True))
    for step in range(600):
        lines = [" ".join(rng.choices(WORDS + PEOPLE, k=12)) for _ in range(15)]
        if step in planted:
            template, values = planted[step]
            values["p"] = str(rng.randint(1000, 9999))
            lines.insert(rng.randrange(15), template[0].format(**values))
        index.add("run", [observation("\n".join(lines), after=step)])

    def share(form: int) -> float:
        firsts = [
            index.search("run", template[form].format(**values), limit=1)[0].entry == step
            for step, (template, values) in planted.items()
        ]
        return sum(firsts) / len(firsts)

    assert share(1) >= 0.95
    assert share(2) >= 0.80


def test_importing_the_memory_does_not_load_sqlite() -> None:
    code = "import sys, ling_agent, ling_agent.memory; sys.exit('sqlite3' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
