"""Porter's stemmer, as SQLite's ``porter`` tokenizer has it: "connected" and "connection" are one.

Hits are ranked by the very terms that SQLite has found, so it follows SQLite and no later revision
of the algorithm; a test compares the two.

M. F. Porter, "An algorithm for suffix stripping", Program 14 (1980), 130-137.
"""

from __future__ import annotations

import re

_STEP_2 = {
    "ational": "ate",
    "tional": "tion",
    "enci": "ence",
    "anci": "ance",
    "izer": "ize",
    "logi": "log",
    "bli": "ble",
    "alli": "al",
    "entli": "ent",
    "eli": "e",
    "ousli": "ous",
    "ization": "ize",
    "ation": "ate",
    "ator": "ate",
    "alism": "al",
    "iveness": "ive",
    "fulness": "ful",
    "ousness": "ous",
    "aliti": "al",
    "iviti": "ive",
    "biliti": "ble",
}
_STEP_3 = {
    "icate": "ic",
    "ative": "",
    "alize": "al",
    "iciti": "ic",
    "ical": "ic",
    "ful": "",
    "ness": "",
}
_STEP_4 = "al ance ence er ic able ible ant ement ment ent sion tion ou ism ate iti ous ive ize"
_ENDING_2 = re.compile(f"(?:{'|'.join(sorted(_STEP_2, key=len, reverse=True))})$")
_ENDING_3 = re.compile(f"(?:{'|'.join(sorted(_STEP_3, key=len, reverse=True))})$")
_ENDING_4 = re.compile(f"(?:{'|'.join(sorted(_STEP_4.split(), key=len, reverse=True))})$")
_MEASURE = re.compile("[aeiouy]+[^aeiouy]+")
_VOWEL = re.compile("[aeiou]|(?<=[^aeiou])y")
_CVC = re.compile("[^aeiou][aeiouy][^aeiouwxy]$")
_DOUBLE = re.compile(r"([^aeiouylsz])\1$")


def stem(word: str) -> str:
    """The stem of a lower-case ASCII word; short and long ones and those with digits stay."""
    if not 3 <= len(word) < 20 or not word.isalpha():
        return word
    word = _plural(word)
    word = _past(word)
    if word.endswith("y") and _VOWEL.search(word, 0, len(word) - 1):
        word = word[:-1] + "i"
    word = _swap(word, _ENDING_2, _STEP_2)
    word = _swap(word, _ENDING_3, _STEP_3)
    return _tidy(_drop(word))


def _measure(part: str) -> int:
    return len(_MEASURE.findall(part.lstrip("bcdfghjklmnpqrstvwxz")))


def _plural(word: str) -> str:
    if not word.endswith("s"):
        return word
    if word.endswith(("sses", "ies")):
        return word[:-2]
    return word if word.endswith("ss") else word[:-1]


def _past(word: str) -> str:
    if word.endswith("eed"):
        return word[:-1] if _measure(word[:-3]) > 0 else word
    for ending in ("ed", "ing"):
        part = word.removesuffix(ending)
        if part == word or not _VOWEL.search(part):
            continue
        if part.endswith(("at", "bl", "iz")):
            return part + "e"
        if _DOUBLE.search(part):
            return part[:-1]
        if _measure(part) == 1 and _CVC.search(part):
            return part + "e"
        return part
    return word


def _swap(word: str, ending: re.Pattern[str], into: dict[str, str]) -> str:
    if (found := ending.search(word)) and _measure(part := word[: found.start()]) > 0:
        return part + into[found[0]]
    return word


def _drop(word: str) -> str:
    if not (found := _ENDING_4.search(word)):
        return word
    # Of "sion" and "tion" the first letter stays.
    start = found.start() + (found[0] in ("sion", "tion"))
    return word[:start] if _measure(word[:start]) > 1 else word


def _tidy(word: str) -> str:
    if word.endswith("e"):
        part = word[:-1]
        measure = _measure(part)
        if measure > 1 or (measure == 1 and not _CVC.search(part)):
            word = part
    if word.endswith("ll") and _measure(word[:-1]) > 1:
        word = word[:-1]
    return word
