"""A model file that is whole: all of its parts, each tensor with the bytes that it has to have."""

from __future__ import annotations

import re
from dataclasses import replace
from math import prod
from pathlib import Path

from ..backends.gguf import GGUFHeader, TensorInfo, read_gguf_header
from ..errors import ConfigurationError

BLOCKS = {
    0: (1, 4),  # f32
    1: (1, 2),  # f16
    2: (32, 18),  # q4_0
    3: (32, 20),  # q4_1
    6: (32, 22),  # q5_0
    7: (32, 24),  # q5_1
    8: (32, 34),  # q8_0
    10: (256, 84),  # q2_k
    11: (256, 110),  # q3_k
    12: (256, 144),  # q4_k
    13: (256, 176),  # q5_k
    14: (256, 210),  # q6_k
    16: (256, 66),  # iq2_xxs
    17: (256, 74),  # iq2_xs
    18: (256, 98),  # iq3_xxs
    19: (256, 50),  # iq1_s
    20: (32, 18),  # iq4_nl
    21: (256, 110),  # iq3_s
    22: (256, 82),  # iq2_s
    23: (256, 136),  # iq4_xs
    29: (256, 56),  # iq1_m
    30: (1, 2),  # bf16
    34: (256, 54),  # tq1_0
    35: (256, 66),  # tq2_0
    39: (32, 17),  # mxfp4
}
"""Numbers in a block and its bytes, by ggml's number of the type."""


_PART = re.compile(r"-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf$")


def read_whole(path: Path) -> GGUFHeader:
    """The header of a model file, with the tensors of all parts where it is split.

    Raises:
        ConfigurationError: There is no such file, a part is missing, or one is cut short.
        BackendUnavailable: It is no GGUF, or its header is cut off.
    """
    header = read_gguf_header(path)
    require_whole(header)
    part = _PART.search(path.name)
    if part is None or int(part["count"]) < 2:
        return header
    stem, count = path.name[: part.start()], int(part["count"])
    names = [f"{stem}-{number:05}-of-{count:05}.gguf" for number in range(1, count + 1)]
    parts = [read_gguf_header(path.with_name(name)) for name in names]
    for each in parts:
        require_whole(each)
    return replace(
        parts[0],  # the first one has the model's numbers
        size=sum(each.size for each in parts),
        tensors=tuple(tensor for each in parts for tensor in each.tensors),
    )


def require_whole(header: GGUFHeader) -> None:
    """Check that the file holds all of its tensors.

    Raises:
        ConfigurationError: It is cut short, or names no tensor.
    """
    if not header.tensors and not _PART.search(header.path.name):  # a first part may have none
        raise ConfigurationError(f"{header.path} names no tensor: it is a vocabulary, not a model")
    for tensor in header.tensors:
        if tensor.size < expected_bytes(tensor):
            raise ConfigurationError(
                f"{header.path} is cut short: {tensor.name} has {tensor.size:,} of "
                f"{expected_bytes(tensor):,} bytes; download it again"
            )


def expected_bytes(tensor: TensorInfo) -> int:
    """Bytes of a tensor by its shape and type; 1 for a type that is not known."""
    numbers, size = BLOCKS.get(tensor.type, (0, 0))
    return prod(tensor.shape) * size // numbers if numbers else 1
