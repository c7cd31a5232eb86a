"""Starts SGLang on a machine without a GPU; run by the Python of its environment.

SGLang runs on a CPU, unmodified, but two packages that it imports are only published for CUDA.
What a CPU needs of them is supplied here, before the first import of SGLang:

- ``torchvision``: its compiled part does not load, and its import then fails, because it describes
  two operators that do not exist. They are declared here, without code: no image is ever seen.
- ``sgl_kernel``: nine functions are imported from it by name. One is called, for each request; the
  others belong to speculative decoding, which is off.

SGLang starts its processes by "spawn", which runs this file's top level again in each of them:
that is why the work is done there, and only the start of the server is not.
"""

from __future__ import annotations

import os
import runpy
import sys
from collections.abc import Callable
from importlib import import_module
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, NoReturn

_SPECULATIVE = (
    "assign_draft_cache_locs_contiguous_cpu",
    "assign_extend_cache_locs_cpu",
    "build_tree_kernel_efficient_cpu",
    "copy_all_layer_kv_cache_cpu",
    "fill_accept_out_cache_loc_cpu",
    "fill_bonus_tokens_cpu",
    "rotate_input_ids_cpu",
    "verify_tree_greedy_cpu",
)


def assign_req_to_token_pool_cpu(
    rows: Any, table: Any, starts: Any, ends: Any, locations: Any, row_length: int
) -> None:
    """Enter new places of the KV cache into the table of the requests.

    `locations` holds the places of all requests, one request after the other: as many as lie
    between its start and its end, which are columns of the request's row.
    """
    first = 0
    for row, start, end in zip(rows.tolist(), starts.tolist(), ends.tolist(), strict=True):
        after = first + end - start
        table[row, start:end] = locations[first:after].to(table.dtype)
        first = after


def _missing(name: str) -> Callable[..., NoReturn]:
    def call(*args: object, **options: object) -> NoReturn:
        raise NotImplementedError(f"sgl_kernel.{name} exists only on a GPU machine")

    return call


def _stand_in() -> ModuleType:
    module = ModuleType("sgl_kernel", "What SGLang imports of sgl_kernel on a CPU.")
    module.__spec__ = ModuleSpec(module.__name__, None)  # importlib.util.find_spec asks for it
    functions: dict[str, Callable[..., None]] = {name: _missing(name) for name in _SPECULATIVE}
    functions[assign_req_to_token_pool_cpu.__name__] = assign_req_to_token_pool_cpu
    vars(module).update(functions)
    return module


def _declare_operators() -> Any:
    """Returns what has to stay alive: the operators are gone with it."""
    torch: Any = import_module("torch")
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return library


os.environ.setdefault("SGLANG_USE_CPU_ENGINE", "1")
sys.modules["sgl_kernel"] = _stand_in()
_OPERATORS = _declare_operators()

if __name__ == "__main__":
    runpy.run_module("sglang.launch_server", run_name="__main__")
