"""Observations as tools return them: offers as JSON, log lines, prose; the same for the same seed.

They are about as dense as real ones, and rather denser: with zlib a text of 1,600 characters of
English documentation becomes 0.48 of its size, of Python source 0.38, of JSON 0.29, of a package
manager's log 0.21. As in real ones, words come by Zipf's law, each text has words of its own that
it repeats, and the messages of a log come from a few dozen places in a program.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from itertools import accumulate

from . import words

LENGTH = 1600
"""Characters of an observation, about 400 tokens."""

_TAIL = 4000
_MESSAGES = 80
_FOCUS = 40  # words that a text is about
_CJK_SHARE = 0.05  # of the paragraphs


class _Zipf:
    """Words by Zipf's law."""

    def __init__(self, choices: list[str]) -> None:
        self._choices = choices
        self._weights = list(accumulate(1 / (rank + 3) for rank in range(len(choices))))

    def draw(self, generator: random.Random, count: int) -> list[str]:
        return generator.choices(self._choices, cum_weights=self._weights, k=count)


class Filler:
    """A generator of observations.

    Args:
        seed: Of its random numbers; the words are the same for all.
    """

    def __init__(self, seed: int) -> None:
        fixed = random.Random(3)
        topics = [*words.TOPICS, *words.tail(_TAIL)[: len(words.TOPICS)]]
        fixed.shuffle(topics)
        self._common = _Zipf(words.COMMON)
        self._special = _Zipf([*topics, *words.tail(_TAIL)[len(words.TOPICS) :]])
        self._random = fixed
        self._focus = self._special.draw(fixed, _FOCUS)
        self._messages = [self.sentence(4, 10).rstrip(".").lower() for _ in range(_MESSAGES)]
        self._random = random.Random(seed)

    def observation(self, planted: str = "") -> str:
        """A text of `LENGTH` characters.

        Args:
            planted: A sentence to stand in it as a line of its own, at a random place.
        """
        line_of = self._random.choice((self._offers, self._log, self._prose))()
        room = LENGTH - len(planted) - bool(planted)
        lines: list[str] = []
        while room > 0:
            line = line_of()[:room]
            lines.append(line)
            room -= len(line) + 1
        if planted:
            lines.insert(self._random.randrange(len(lines)), planted)
        return "\n".join(lines)

    def sentence(self, least: int = 6, most: int = 16) -> str:
        """A sentence of made-up sense: half of it common words, the rest mostly of the text's."""
        r = self._random
        chosen: list[str] = []
        for _ in range(r.randint(least, most)):
            kind = r.random()
            if kind < 0.5:
                chosen += self._common.draw(r, 1)
            elif kind < 0.85:
                chosen.append(r.choice(self._focus))
            else:
                chosen += self._special.draw(r, 1)
        if r.random() < 0.3:
            chosen[len(chosen) // 2] = r.choice((self.person, self.city, self.cluster))()
        if r.random() < 0.2:
            chosen[-1] = str(r.randint(2, 9999))
        text = " ".join(chosen)
        return f"{text[0].upper()}{text[1:]}."

    def person(self) -> str:
        """A name."""
        return f"{self._random.choice(words.FIRST)} {self._random.choice(words.LAST)}"

    def city(self) -> str:
        """A city."""
        return self._random.choice(words.CITIES)

    def cluster(self) -> str:
        """The name of a cluster."""
        return f"{self._random.choice(words.PLANTS)}-{self._random.randint(10, 99)}"

    def _offers(self) -> Callable[[], str]:
        def offer() -> str:
            r = self._random
            offered = {
                "id": r.randint(10_000, 99_999),
                "city": self.city(),
                "gpu": r.choice(("RTX 4090", "RTX 5090", "A100 80GB", "H100", "L40S")),
                "price": round(r.uniform(0.2, 4.0), 3),
                "host": self.cluster(),
                "reliability": round(r.uniform(0.8, 1.0), 4),
                "note": r.choice(self._messages),
            }
            return json.dumps(offered, ensure_ascii=False)

        return offer

    def _log(self) -> Callable[[], str]:
        r = self._random
        clock = r.uniform(0, 80_000)
        day = f"2026-{r.randint(1, 12):02}-{r.randint(1, 28):02}"
        hosts = [self.cluster() for _ in range(5)]
        places = [f"{r.choice(words.TOPICS)}.{r.choice(words.TOPICS)}" for _ in range(6)]
        messages = r.sample(self._messages, 12)

        def line() -> str:
            nonlocal clock
            clock += r.expovariate(0.5)
            minutes, seconds = divmod(clock, 60)
            hours, minutes = divmod(int(minutes), 60)
            level = r.choice(("DEBUG", "INFO", "INFO", "INFO", "WARN", "ERROR"))
            at = f"{day}T{hours:02}:{minutes:02}:{seconds:06.3f}Z"
            where = f"{r.choice(hosts)} {r.choice(places)} [{r.getrandbits(24):06x}]"
            return f"{at} {level} {where} {r.choice(messages)} took={r.randint(1, 9999)}"

        return line

    def _prose(self) -> Callable[[], str]:
        self._focus = self._special.draw(self._random, _FOCUS)

        def paragraph() -> str:
            if self._random.random() < _CJK_SHARE:
                return self._random.choice((self._chinese, self._japanese))()
            return " ".join(self.sentence() for _ in range(self._random.randint(2, 5)))

        return paragraph

    def _chinese(self) -> str:
        r = self._random
        name, city = r.choice(words.CHINESE_NAMES), r.choice(words.CHINESE_CITIES)
        what = r.choice(("检查了服务器", "更新了合同", "安排了会议", "整理了仓库的清单"))
        return f"{name}在{city}{what}，下周再提交报告。"

    def _japanese(self) -> str:
        r = self._random
        name, city = r.choice(words.JAPANESE_NAMES), r.choice(words.JAPANESE_CITIES)
        what = r.choice(("会議の資料を送りました", "倉庫を見学しました", "契約を更新しました"))
        return f"{name}さんは{city}で{what}。"
