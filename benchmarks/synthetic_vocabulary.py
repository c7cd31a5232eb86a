"""A made-up vocabulary for synthetic models: every byte, merges by rule, Ling's special tokens.

Needs numpy and gguf, nothing else of this project.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice, product

import numpy as np
from gguf import GGUFWriter
from numpy.typing import NDArray

NORMAL, CONTROL, USER_DEFINED = 1, 3, 4  # llama.cpp's kinds of tokens

_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_SPACE = "\u0120"  # how byte-level BPE writes a space

LING_VOCABULARY = 157_184
_LING_FIRST_SPECIAL = 156_891
_LING_SPECIAL = (
    ("<|startoftext|>", CONTROL),
    ("<|endoftext|>", CONTROL),
    ("[CLS]", CONTROL),
    ("[gMASK]", CONTROL),
    ("<|role_end|>", CONTROL),  # 156895, the end of an answer
    ("<role>", CONTROL),
    ("</role>", CONTROL),
    ("<tool_call>", USER_DEFINED),
    ("</tool_call>", USER_DEFINED),
    ("<tool_response>", USER_DEFINED),
    ("</tool_response>", USER_DEFINED),
    ("<tools>", USER_DEFINED),
    ("</tools>", USER_DEFINED),
    ("<think>", USER_DEFINED),
    ("</think>", USER_DEFINED),
)


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """A made-up byte-level BPE vocabulary: 256 bytes, merges of letters, special tokens.

    Attributes:
        tokens: Texts in byte-level BPE's alphabet, by id.
        kinds: llama.cpp's kind of each token.
        merges: Pairs of tokens, separated by a space, the first to be merged first.
        end: Text of the token that ends an answer.
    """

    tokens: tuple[str, ...]
    kinds: tuple[int, ...]
    merges: tuple[str, ...]
    end: str

    @property
    def silent(self) -> NDArray[np.intp]:
        """Ids that a greedy answer should not have: special tokens, bytes that do not print."""
        printable = {ord("\n"), *range(32, 127)}
        odd = [byte for byte in range(256) if byte not in printable]
        special = [number for number, kind in enumerate(self.kinds) if kind != NORMAL]
        return np.array(odd + special, np.intp)


def build_vocabulary(n_merges: int, special: Sequence[tuple[str, int]], end: str) -> Vocabulary:
    """A vocabulary whose ids are: 256 bytes, ``n_merges`` merges, the special tokens.

    Args:
        n_merges: At most 200,000. The first ones are pairs of letters, then triples, words.
        special: Text and kind of each special token.
        end: The one among them that ends an answer.
    """
    merges = tuple(islice(_merges(), n_merges))
    normal = [*_byte_alphabet(), *(first + second for first, second in merges)]
    return Vocabulary(
        tokens=(*normal, *(text for text, _ in special)),
        kinds=(*[NORMAL] * len(normal), *(kind for _, kind in special)),
        merges=tuple(f"{first} {second}" for first, second in merges),
        end=end,
    )


def ling_vocabulary() -> Vocabulary:
    """157,184 tokens with Ling's special tokens; start, end and end of a role have their true ids.

    The other special tokens follow in an order of our own; what is left is reserved.
    """
    n_merges = _LING_FIRST_SPECIAL - 256
    reserved = LING_VOCABULARY - _LING_FIRST_SPECIAL - len(_LING_SPECIAL)
    rest = tuple((f"<|reserved_token_{number}|>", CONTROL) for number in range(reserved))
    return build_vocabulary(n_merges, _LING_SPECIAL + rest, "<|role_end|>")


def _byte_alphabet() -> list[str]:
    """The character of each byte in byte-level BPE, as GPT-2 defined it.

    Printing bytes stand for themselves, the others for the characters from U+0100 on.
    """
    printing = {*range(33, 127), *range(161, 173), *range(174, 256)}
    others = (chr(256 + number) for number in range(256))
    return [chr(byte) if byte in printing else next(others) for byte in range(256)]


def _merges() -> Iterator[tuple[str, str]]:
    random = np.random.default_rng(0)
    letters: list[str] = random.permutation(list(_LETTERS)).tolist()
    pairs = list(product(letters, letters))
    twos = [first + second for first, second in pairs]
    numbers: list[int] = random.permutation(len(twos) ** 2)[:70_000].tolist()
    fours = [(twos[number // len(twos)], twos[number % len(twos)]) for number in numbers]
    threes = list(product(twos, letters))
    yield from chain(pairs, threes, fours)
    yield from ((_SPACE, letter) for letter in letters)
    yield from ((_SPACE, first + second) for first, second in chain(pairs, threes, fours))


def add_vocabulary(writer: GGUFWriter, vocabulary: Vocabulary, *, pre: str) -> None:
    """Add a vocabulary's keys. ``pre`` is llama.cpp's name for how text is cut before merging."""
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(list(vocabulary.tokens))
    writer.add_token_types(list(vocabulary.kinds))
    writer.add_token_merges(list(vocabulary.merges))
    writer.add_eos_token_id(vocabulary.tokens.index(vocabulary.end))
    writer.add_pad_token_id(vocabulary.tokens.index("<|endoftext|>"))
    writer.add_add_bos_token(False)
