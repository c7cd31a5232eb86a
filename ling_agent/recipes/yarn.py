"""YaRN: how each server is told to stretch a model's window beyond its own.

The table is the published one, from the facts. vLLM and SGLang also need the longer
``max_position_embeddings``: where the table names the original window they do not multiply by its
factor, and refuse a longer window (seen in vLLM 0.32.0 and SGLang 0.5.23, see tests/servers).
"""

from __future__ import annotations

import json
from typing import Literal, NoReturn

from ..errors import ConfigurationError
from ..facts import ModelFacts
from .launch import Launch


def setting(model: ModelFacts, server: Literal["vllm", "sglang"]) -> str:
    """The longer window and the table, as JSON for ``--hf-overrides`` of vLLM or
    ``--json-model-override-args`` of SGLang; empty where no table that serves is published.

    The table stands in place of the model's own: without its base the server would have none, or
    take 10,000.
    """
    table = model.rope_scaling
    if not {"rope_type", "rope_theta", "original_max_position_embeddings"} <= set(table):
        return ""
    window = round(model.native_context * model.yarn_factor)
    key = "rope_parameters" if server == "vllm" else "rope_scaling"
    return json.dumps({"max_position_embeddings": window, key: dict(table)})


def for_vllm(launch: Launch) -> str:
    """The value of ``--hf-overrides``.

    Raises:
        ConfigurationError: No table that vLLM can use is published for this model.
    """
    return setting(launch.model, "vllm") or _none(launch, "vLLM")


def for_sglang(launch: Launch) -> str:
    """The value of ``--json-model-override-args``.

    Raises:
        ConfigurationError: No table that SGLang can use is published for this model.
    """
    return setting(launch.model, "sglang") or _none(launch, "SGLang")


def for_llama_cpp(launch: Launch) -> list[str]:
    """The options of llama-server.

    Raises:
        ConfigurationError: No factor is published for this model.
    """
    if not launch.model.rope_scaling:
        raise _unknown(launch, "llama-server")
    factor, window = launch.model.yarn_factor, launch.model.native_context
    return [
        *("--rope-scaling", "yarn", "--rope-scale", f"{factor:g}"),
        *("--yarn-orig-ctx", str(window)),
    ]


def refuse(launch: Launch, server: str) -> None:
    """For a server that cannot stretch a window.

    Raises:
        ConfigurationError: The window is longer than the model's own.
    """
    if launch.stretched:
        raise _unknown(launch, server)


def _none(launch: Launch, server: str) -> NoReturn:
    raise _unknown(launch, server)


def _unknown(launch: Launch, server: str) -> ConfigurationError:
    model = launch.model
    return ConfigurationError(
        f"{model.title} has a window of {model.native_context:,} tokens by itself, and no setting "
        f"that stretches it to {launch.context:,} is known for {server}: "
        f"--context {model.native_context}"
    )
