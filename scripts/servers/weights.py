"""Hugging Face weights of a Qwen2 model from its GGUF file, for servers that do not read GGUF.

Usage, with the Python of a server's environment (gguf, safetensors, torch, transformers)::

    <environment>/bin/python scripts/servers/weights.py MODEL.gguf FOLDER

The folder is written under another name and renamed at the end, so it is whole or not there. It
holds the SHA-256 of its GGUF file: called again for the same file, nothing is done. Two at
once would disturb each other; ``install`` holds a lock.

The numbers are those of the GGUF file, rounded to bf16. It is already quantised, so a server
computes with the same weights as llama.cpp does, and not with those that were first published.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from typing import Any

SOURCE = "source.json"
"""In the folder: SHA-256 of the GGUF file, and the version of this conversion."""

FORMAT = 1
"""Raise it when the conversion changes: folders of an older one are made anew."""

_TOP = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "output": "lm_head",
}
_BLOCK = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_CONTROL = 3  # token type of GGUF: markers such as <|im_start|>
_SAMPLE = "<|im_start|>user\nFind an RTX 4090 für 0.35 €.\n\n  x = [1, 2]<|im_end|>\n"


class WeightsError(Exception):
    """The GGUF file cannot be converted, or the result is not what it should be."""


def main(arguments: list[str]) -> int:
    """Convert; returns the exit status."""
    if len(arguments) != 2:
        print(f"usage: {Path(sys.argv[0]).name} MODEL.gguf FOLDER", file=sys.stderr)
        return 2
    gguf_file, folder = (Path(argument).absolute() for argument in arguments)
    try:
        make(gguf_file, folder)
    except (WeightsError, OSError) as error:
        print(f"error: no weights from {gguf_file.name}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def make(gguf_file: Path, folder: Path) -> None:
    """Write `folder`, unless it is there and made from the same file.

    Raises:
        WeightsError: not a Qwen2 model, or a check of the result failed.
        OSError: a file cannot be read or written.
    """
    with gguf_file.open("rb") as file:
        source = {"sha256": hashlib.file_digest(file, "sha256").hexdigest(), "format": FORMAT}
    if _source_of(folder) == source:
        return
    print(f"Converting {gguf_file.name} to bf16 (about a minute) ...", flush=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    fresh = folder.parent / f".{folder.name}.unfinished"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir()
    try:
        reader: Any = import_module("gguf").GGUFReader(gguf_file)
        config = _config(reader)
        _write_json(fresh / "config.json", config)
        _write_json(fresh / "generation_config.json", _generation(reader))
        _write_tokenizer(gguf_file, fresh)
        _write_tensors(reader, fresh / "model.safetensors")
        _check_tensors(reader, fresh)
        _check_tokenizer(reader, fresh)
        _write_json(fresh / SOURCE, source)
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(fresh, folder)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _source_of(folder: Path) -> Any:
    try:
        return json.loads((folder / SOURCE).read_text("utf-8"))
    except (OSError, ValueError):
        return None


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", "utf-8")


def _field(reader: Any, name: str) -> Any:
    field = reader.get_field(name)
    if field is None:
        raise WeightsError(f"the file has no field {name!r}")
    return field.contents()


def _config(reader: Any) -> dict[str, Any]:
    """The config.json that the GGUF file's fields amount to."""
    if _field(reader, "general.architecture") != "qwen2":
        raise WeightsError("only models of the architecture qwen2 are converted")
    names = {tensor.name for tensor in reader.tensors}
    return {
        "architectures": ["Qwen2ForCausalLM"],
        "model_type": "qwen2",
        "dtype": "bfloat16",
        "vocab_size": len(_field(reader, "tokenizer.ggml.tokens")),
        "hidden_size": _field(reader, "qwen2.embedding_length"),
        "intermediate_size": _field(reader, "qwen2.feed_forward_length"),
        "num_hidden_layers": _field(reader, "qwen2.block_count"),
        "num_attention_heads": _field(reader, "qwen2.attention.head_count"),
        "num_key_value_heads": _field(reader, "qwen2.attention.head_count_kv"),
        "max_position_embeddings": _field(reader, "qwen2.context_length"),
        "rope_theta": _field(reader, "qwen2.rope.freq_base"),
        # GGUF keeps 1e-06 in 32 bits, 9.999999974752427e-07.
        "rms_norm_eps": float(f"{_field(reader, 'qwen2.attention.layer_norm_rms_epsilon'):.6g}"),
        "hidden_act": "silu",
        "attention_dropout": 0.0,
        "initializer_range": 0.02,
        "use_sliding_window": False,
        # Published with one matrix for both; quantised to two that differ a little.
        "tie_word_embeddings": "output.weight" not in names,
        "use_cache": True,
        # Without it transformers takes every tokenizer for one of Mistral's that it warns about.
        "transformers_version": import_module("transformers").__version__,
        "bos_token_id": _field(reader, "tokenizer.ggml.bos_token_id"),
        "eos_token_id": _field(reader, "tokenizer.ggml.eos_token_id"),
    }


def _generation(reader: Any) -> dict[str, Any]:
    """Where an answer ends. No sampling here: a server would take it as its default."""
    end = _field(reader, "tokenizer.ggml.eos_token_id")
    pad = _field(reader, "tokenizer.ggml.padding_token_id")
    return {"eos_token_id": sorted({end, pad}, reverse=True), "pad_token_id": pad}


def _write_tokenizer(gguf_file: Path, folder: Path) -> None:
    transformers: Any = import_module("transformers")
    tokenizer = transformers.AutoTokenizer.from_pretrained(
        str(gguf_file.parent), gguf_file=gguf_file.name
    )
    tokenizer.save_pretrained(str(folder))


def _hub_name(name: str) -> str:
    """The Hugging Face name of a GGUF tensor. Raises WeightsError for one it does not know."""
    stem, _, kind = name.rpartition(".")
    parts = stem.split(".")
    if stem in _TOP:
        return f"{_TOP[stem]}.{kind}"
    if len(parts) == 3 and parts[0] == "blk" and parts[2] in _BLOCK:
        return f"model.layers.{parts[1]}.{_BLOCK[parts[2]]}.{kind}"
    raise WeightsError(f"the tensor {name!r} is not one of a Qwen2 model")


def _dequantised(tensor: Any) -> Any:
    """The numbers of a GGUF tensor, a torch tensor of 32-bit floats."""
    quants: Any = import_module("gguf.quants")
    torch: Any = import_module("torch")
    numbers = quants.dequantize(tensor.data, tensor.tensor_type)
    return torch.from_numpy(numbers.copy())


def _write_tensors(reader: Any, path: Path) -> None:
    torch: Any = import_module("torch")
    save_file: Any = import_module("safetensors.torch").save_file
    tensors = {
        _hub_name(tensor.name): _dequantised(tensor).to(torch.bfloat16).contiguous()
        for tensor in reader.tensors
    }
    save_file(tensors, str(path), metadata={"format": "pt"})
    path.chmod(0o644)  # it comes as 0o600, unlike the other files


def _check_tensors(reader: Any, folder: Path) -> None:
    """What is in the file is what the model's own class asks for, and one tensor's numbers."""
    torch: Any = import_module("torch")
    transformers: Any = import_module("transformers")
    safe_open: Any = import_module("safetensors").safe_open
    config = transformers.AutoConfig.from_pretrained(str(folder))
    with torch.device("meta"):
        model = transformers.AutoModelForCausalLM.from_config(config)
    wanted = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    if config.tie_word_embeddings:
        wanted.pop("lm_head.weight", None)
    with safe_open(str(folder / "model.safetensors"), "pt") as file:
        written = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
        if written != wanted:
            differing = _some(set(written.items()) ^ set(wanted.items()))
            raise WeightsError(f"the tensors are not those of the model: {differing}")
        sample = next(t for t in reader.tensors if t.name == "blk.0.attn_q.weight")
        original = _dequantised(sample)
        copy = file.get_tensor(_hub_name(sample.name)).to(torch.float32)
    # bf16 keeps 8 bits of a number.
    if not torch.allclose(copy, original, rtol=2**-8, atol=0.0) or not original.any():
        raise WeightsError(f"the numbers of {sample.name} are not those of the GGUF file")


def _check_tokenizer(reader: Any, folder: Path) -> None:
    """Markers are one token each, and text becomes tokens that spell it, as GGUF numbers them."""
    transformers: Any = import_module("transformers")
    tokenizer = transformers.AutoTokenizer.from_pretrained(str(folder))
    vocabulary: list[str] = _field(reader, "tokenizer.ggml.tokens")
    types: list[int] = _field(reader, "tokenizer.ggml.token_type")
    markers = {
        token: number
        for number, token in enumerate(vocabulary)
        if types[number] == _CONTROL or token in ("<tool_call>", "</tool_call>")
    }
    encoded = {token: tokenizer.encode(token, add_special_tokens=False) for token in markers}
    wrong = [token for token, number in markers.items() if encoded[token] != [number]]
    if wrong or "<|im_start|>" not in markers:
        raise WeightsError(f"the tokenizer splits markers: {_some(wrong) or '<|im_start|>'}")
    numbers: list[int] = tokenizer.encode(_SAMPLE, add_special_tokens=False)
    spelled = [vocabulary[number] for number in numbers]
    if tokenizer.convert_ids_to_tokens(numbers) != spelled or tokenizer.decode(numbers) != _SAMPLE:
        raise WeightsError(f"the tokenizer does not give the text back: {spelled}")
    if not tokenizer.chat_template:
        raise WeightsError("the tokenizer has no chat template")


def _some(items: Iterable[object]) -> str:
    """The first few of many, for an error's one line."""
    return ", ".join(sorted(map(str, items))[:4])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
