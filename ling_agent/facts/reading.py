"""Reads ``facts.toml`` into the tables; a broken data file is a `KeyError` or `TypeError`."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any

from .shape import Shape
from .tables import Claim, FormatFacts, GpuFacts, ModelFacts, ServerFacts, Source

MIB = 1 << 20
Table = Mapping[str, Any]


@cache
def data() -> Table:
    """The data file as it is."""
    text = files("ling_agent.facts").joinpath("facts.toml").read_text("utf-8")
    return MappingProxyType(tomllib.loads(text))


@cache
def all_sources() -> Mapping[str, Source]:
    """Every source by its id."""
    return MappingProxyType({name: Source(name, **row) for name, row in data()["source"].items()})


@cache
def all_models() -> Mapping[str, ModelFacts]:
    """Every model by its id, in the order of the file."""
    return MappingProxyType({name: _model(name, row) for name, row in data()["model"].items()})


@cache
def all_gpus() -> Mapping[str, GpuFacts]:
    """Every card by its id, in the order of the file."""
    return MappingProxyType({name: _gpu(name, row) for name, row in data()["gpu"].items()})


@cache
def all_claims() -> tuple[Claim, ...]:
    """What pages of others say and arithmetic refutes."""
    return tuple(Claim(**row) for row in data()["claim"])


@cache
def ram_bandwidth() -> int:
    """Bytes a second that an ordinary machine reads from its system memory, as an example."""
    return int(data()["memory"]["bandwidth"] * 10**9)


def _model(name: str, row: Table) -> ModelFacts:
    shape = Shape(**row["shape"])
    sizes: Mapping[str, int] = row.get("sizes", {})
    formats = {
        key: _format(key, repository, shape, sizes.get(key))
        for key, repository in row["formats"].items()
    }
    servers = {
        server: _server(server, found)
        for server, found in data()["serving"][row["serving"]].items()
    }
    return ModelFacts(
        id=name,
        title=row["title"],
        profile=row["profile"],
        repository=row["repository"],
        aliases=tuple(row.get("aliases", ())),
        shape=shape,
        native_context=row["native_context"],
        max_context=row["max_context"],
        yarn_factor=row.get("yarn_factor", 1.0),
        rope_scaling=MappingProxyType(row.get("rope_scaling", {})),
        formats=MappingProxyType(formats),
        servers=MappingProxyType(servers),
        stated=MappingProxyType(row["stated"]),
        sources=_by_field(row["sources"]),
    )


def _format(name: str, repository: str, shape: Shape, size: int | None) -> FormatFacts:
    row: Table = data()["format"][name]
    low, high = row["bits"]
    return FormatFacts(
        id=name,
        title=row["title"],
        repository=repository,
        bits_low=low,
        bits_high=high,
        weight_low=size or round(shape.parameters * low / 8),
        weight_high=size or round(shape.parameters * high / 8),
        servers=tuple(row["servers"]),
        capability=row["capability"],
        note=row.get("note", ""),
        sources=_by_field(row["sources"]),
    )


def _server(name: str, row: Table) -> ServerFacts:
    values: dict[str, Any] = {**row, "flags": tuple(row.get("flags", ()))}
    return ServerFacts(name, **values)


def _gpu(name: str, row: Table) -> GpuFacts:
    return GpuFacts(
        id=name,
        title=row["title"],
        aliases=tuple(row.get("aliases", ())),
        memory_bytes=row["memory"] * MIB,
        bandwidth=row["bandwidth"] * 10**9,
        compute_capability=row["capability"],
        sources=_by_field(row["sources"]),
    )


def _by_field(sources: Mapping[str, list[str]]) -> Mapping[str, str]:
    """The file has fields by source; here it is the source by field."""
    return MappingProxyType({name: source for source, names in sources.items() for name in names})
