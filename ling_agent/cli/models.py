"""``ling-agent models``: list the catalogue; pull, find and verify its files."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from .. import catalog
from ..catalog import ModelFile
from ..errors import DigestMismatch
from .tables import print_table

if TYPE_CHECKING:
    # Generic for type checkers only.
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]  # pyright: ignore[reportPrivateUsage]


def add_parser(subparsers: Subparsers) -> None:
    """Add ``models`` to the command line; each action's ``handler`` takes the parsed arguments."""
    parser = subparsers.add_parser(
        "models",
        help="list, download and verify model files",
        description="Model files: list, download (with SHA-256 check), find, verify.",
        epilog="Exit code: 0 done, 1 not in the cache, 2 error, 130 interrupted. "
        "LING_AGENT_CACHE says where the files are kept.",
    )
    parser.set_defaults(handler=list_models, json=False)
    actions = parser.add_subparsers(metavar="ACTION")

    listing = actions.add_parser("list", help="what there is, and what is in the cache")
    listing.set_defaults(handler=list_models)

    pulling = actions.add_parser("pull", help="download and verify; goes on after a break")
    pulling.add_argument("aliases", nargs="+", metavar="ALIAS")
    pulling.add_argument("--offline", action="store_true", help="use the cache only")
    pulling.set_defaults(handler=pull)

    finding = actions.add_parser("path", help="print the path of a cached file, or exit with 1")
    finding.add_argument("alias", metavar="ALIAS")
    finding.set_defaults(handler=path)

    verifying = actions.add_parser("verify", help="hash cached files again, all of them by default")
    verifying.add_argument("aliases", nargs="*", metavar="ALIAS")
    verifying.set_defaults(handler=verify)

    for action in (listing, pulling, finding, verifying):
        action.add_argument("--json", action="store_true", help="print JSON")


def list_models(args: argparse.Namespace) -> int:
    """Print the catalogue with what is cached. Returns 0."""
    models = list(catalog.CATALOG.values())
    found = {model.alias: catalog.cached_path(model) for model in models}
    if args.json:
        _print_json([_record(model, found[model.alias]) for model in models])
        return 0
    rows = [
        (
            model.alias + (" (default)" if model.alias == catalog.DEFAULT_ALIAS else ""),
            f"{model.size / 1e6:,.1f} MB",
            model.license,
            "yes" if found[model.alias] else "no",
            model.description,
        )
        for model in models
    ]
    print_table(("alias", "size", "licence", "cached", "description"), rows)
    print(f"Files are kept in {catalog.cache_dir()}")
    return 0


def pull(args: argparse.Namespace) -> int:
    """Download what is missing, print the paths. Returns 0, or 130 when interrupted.

    Raises:
        LingAgentError: unknown alias, no source, wrong digest, full or unwritable disk.
    """
    models = [catalog.lookup(alias) for alias in args.aliases]  # all known before the first byte
    records: list[dict[str, object]] = []
    for model in models:
        began = time.monotonic()
        try:
            file = catalog.pull(model, progress=catalog.terminal_progress(), offline=args.offline)
        except KeyboardInterrupt:
            print(
                f"interrupted; to go on run: ling-agent models pull {model.alias}", file=sys.stderr
            )
            return 130
        seconds = round(time.monotonic() - began, 3)
        records.append({**_record(model, file), "seconds": seconds})
        if not args.json:
            print(file)
    if args.json:
        _print_json(records)
    return 0


def path(args: argparse.Namespace) -> int:
    """Print the path of a verified cached file and nothing else. Returns 1 when there is none."""
    model = catalog.lookup(args.alias)
    file = catalog.cached_path(model)
    if args.json:
        _print_json(_record(model, file))
    elif file is not None:
        print(file)
    else:
        print(_missing(model), file=sys.stderr)
    return 0 if file is not None else 1


def verify(args: argparse.Namespace) -> int:
    """Hash every byte again. Returns 0, or 1 when a named model is not in the cache.

    Raises:
        DigestMismatch: after all were looked at, for the first file that differs.
    """
    named = [catalog.lookup(alias) for alias in args.aliases]
    root = catalog.cache_dir()
    models = named or [m for m in catalog.CATALOG.values() if (root / m.filename).is_file()]
    records: list[dict[str, object]] = []
    mismatch: DigestMismatch | None = None
    for model in models:
        record = {**_record(model, root / model.filename), "status": "verified"}
        if not (root / model.filename).is_file():
            record |= {"status": "missing", "path": None, "cached": False}
        else:
            try:
                record["sha256"] = catalog.verify(model).sha256
            except DigestMismatch as error:
                mismatch = mismatch or error
                record |= {"status": "mismatch", "path": None, "cached": False}
        records.append(record)
        if not args.json:
            print(f"{model.alias}: {record['status']}")
    if args.json:
        _print_json(records)
    elif not records:
        print(f"no model is in the cache {root}", file=sys.stderr)
    if mismatch is not None:
        raise mismatch
    return 1 if any(record["status"] == "missing" for record in records) else 0


def _record(model: ModelFile, file: Path | None) -> dict[str, object]:
    """One model for programs; sizes in bytes."""
    return {
        "alias": model.alias,
        "description": model.description,
        "license": model.license,
        "size": model.size,
        "sha256": model.sha256,
        "default": model.alias == catalog.DEFAULT_ALIAS,
        "cached": file is not None,
        "path": str(file) if file is not None else None,
    }


def _missing(model: ModelFile) -> str:
    return (
        f"{model.alias} is not in the cache {catalog.cache_dir()}; "
        f"run: ling-agent models pull {model.alias}"
    )


def _print_json(value: object) -> None:
    print(json.dumps(value, indent=2))
