"""What the safety tests share: the corpus, conversations that hold it everywhere, and a reader.

The reader takes a prompt apart as a tokenizer does, by the exact text of the special tokens, and
knows nothing of how the prompt was made.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from ling_agent.messages import (
    AssistantMessage,
    Message,
    SystemMessage,
    ToolCall,
    ToolMessage,
    UserMessage,
)

CORPUS: dict[str, str] = {
    entry["id"]: entry["text"]
    for line in (Path(__file__).parent / "data" / "injections.jsonl").read_text().splitlines()
    for entry in [json.loads(line)]
}
"""Texts that try to be more than text, by name. Lone surrogates are among them."""

EVERY_INJECTION = pytest.mark.parametrize("injection", CORPUS.values(), ids=CORPUS.keys())

TEMPLATES = ("chatml", "ling2")

SPECIAL = {
    "chatml": (
        *("<|im_start|>", "<|im_end|>", "<|endoftext|>", "<tool_call>", "</tool_call>"),
        *("<tool_response>", "</tool_response>", "<think>", "</think>"),  # Qwen3
        *("<|object_ref_start|>", "<|object_ref_end|>", "<|box_start|>", "<|box_end|>"),
        *("<|quad_start|>", "<|quad_end|>", "<|vision_start|>", "<|vision_end|>"),
        *("<|vision_pad|>", "<|image_pad|>", "<|video_pad|>", "<|repo_name|>", "<|file_sep|>"),
        *("<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>", "<|fim_pad|>"),
        # Hermes on Llama 3, on Mistral, and SmolLM2, all of which speak ChatML.
        *("<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>", "<|python_tag|>"),
        *("<|start_header_id|>", "<|end_header_id|>", "<s>", "</s>", "<unk>", "<pad>"),
        *("<repo_name>", "<reponame>", "<file_sep>", "<filename>", "<gh_stars>"),
        *("<issue_start>", "<issue_comment>", "<issue_closed>", "<empty_output>"),
        *("<jupyter_start>", "<jupyter_text>", "<jupyter_code>", "<jupyter_output>"),
        *("<jupyter_script>", "<start_of_turn>", "<end_of_turn>", "<bos>", "<eos>"),
        *("[INST]", "[/INST]", "[TOOL_CALLS]", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]"),
        *("[TOOL_RESULTS]", "[/TOOL_RESULTS]", "[gMASK]", "[CLS]", "[SEP]", "[MASK]", "[PAD]"),
        *("<｜User｜>", "<｜Assistant｜>", "<｜end▁of▁sentence｜>"),
    ),
    "ling2": (
        *("<role>", "</role>", "<|role_end|>", "<|startoftext|>", "<|endoftext|>"),
        *("<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>"),
        *("<think>", "</think>", "[gMASK]", "[CLS]", "<|reserved_token_7|>"),
        *("<|number_start|>", "<|number_end|>", "<|arithmetic_start|>", "<|arithmetic_end|>"),
        *("<|im_start|>", "<|im_end|>"),
    ),
}
"""Texts of special tokens, of the families that are served with a template."""

TAGS = ("<tools>", "</tools>", "<function=", "<parameter=", "<arg_key>", "<arg_value>")
"""Tags that mean something to the template or to a parser, but are no tokens."""

_TURN = {
    "chatml": re.compile(
        r"<\|im_start\|>(?P<role>[^\n]*)\n(?P<body>.*?)<\|im_end\|>\n?", re.DOTALL
    ),
    "ling2": re.compile(r"<role>(?P<role>.*?)</role>(?P<body>.*?)<\|role_end\|>", re.DOTALL),
}
_OPEN = {"chatml": "<|im_start|>assistant\n", "ling2": "<role>ASSISTANT</role>"}
_WORDS = {
    "chatml": ("<|im_start|>", "<|im_end|>"),
    "ling2": ("<role>", "</role>", "<|role_end|>"),
}


def turns(prompt: str, template: str) -> list[tuple[str, str]]:
    """The turns of a prompt, role and body; what is not exactly a row of turns fails."""
    assert prompt.endswith(_OPEN[template]), "the answer's turn is not open"
    prompt = prompt.removesuffix(_OPEN[template])
    found: list[tuple[str, str]] = []
    at = 0
    while at < len(prompt):
        match = _TURN[template].match(prompt, at)
        assert match is not None, f"no turn begins at {prompt[at : at + 40]!r}"
        for word in _WORDS[template]:
            assert word not in match["body"], f"a turn within a turn: {match['body']!r}"
        found.append((match["role"], match["body"]))
        at = match.end()
    return found


def marks(prompt: str, template: str) -> Counter[str]:
    """How often each special token and tag is in a prompt."""
    words = (*SPECIAL[template], *TAGS)
    return Counter({word: count for word in words if (count := prompt.count(word))})


def conversation(text: str) -> list[Message]:
    """A conversation in which every text that is not the developer's is this one."""
    call = ToolCall("call_1_0", "look", {"where": text, text: [text, {"deep": text}]})
    return [
        SystemMessage("Be short."),
        UserMessage(text),
        AssistantMessage(f"I look. {text}", reasoning=text, calls=(call,)),
        ToolMessage("call_1_0", "look", text),
        ToolMessage("call_1_1", text, f"Error: {text}", is_error=True),  # of an unreadable call
        AssistantMessage(text),
        UserMessage(f"document: {text}"),
    ]


def tools(text: str) -> tuple[dict[str, Any], ...]:
    """A tool whose every text comes from elsewhere, as one of an MCP server does."""
    schema = {
        "type": "object",
        "title": text,
        "properties": {
            "where": {"type": "string", "description": text, "enum": [text, "here"]},
            text: {"const": text, "examples": [text], "default": {text: text}},
        },
        "required": ["where"],
    }
    function = {"name": "look", "description": f"Look. {text}", "parameters": schema}
    return ({"type": "function", "function": function},)


def roles(prompt: str, template: str) -> Sequence[str]:
    """The roles of a prompt's turns."""
    return [role for role, _ in turns(prompt, template)]
