"""Documents that a task comes with: files and texts, read once and kept in the trajectory."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import anyio.to_thread

from .errors import ConfigurationError
from .memory import Trajectory
from .memory.window import Window
from .messages import UserMessage
from .tools.cutting import estimate_tokens


@dataclass(frozen=True, slots=True)
class Document:
    """A text with a name under which the model knows it."""

    text: str
    name: str = ""


_LONGEST_NAME = 1_000  # characters
DocumentLike = str | os.PathLike[str] | Document
"""The text itself, a path to a text file in UTF-8, or a `Document`."""


async def read_documents(given: Sequence[DocumentLike]) -> list[Document]:
    """Read what is a path; texts get a number for a name.

    Raises:
        ConfigurationError: A file that cannot be read or is no text, or something else.
    """
    if isinstance(given, str):  # which is a sequence of texts, of one character each
        raise ConfigurationError("documents: give a list of paths and texts, not one text")
    return [
        await anyio.to_thread.run_sync(_read, document, number)
        for number, document in enumerate(given, start=1)
    ]


def _read(document: DocumentLike, number: int) -> Document:
    if isinstance(document, Document):
        return document
    if isinstance(document, str):
        if _names_a_file(document):
            raise ConfigurationError(
                f"documents: {document!r} is a text here, and the name of a file: write "
                "Path(…) to read the file, or Document(…) for the text"
            )
        return Document(document, f"document {number}")
    if not isinstance(document, os.PathLike):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ConfigurationError(
            f"documents: {document!r} is no path, text or Document: give one of these"
        )
    path = Path(document).expanduser()
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigurationError(
            f"document {path} is no text in UTF-8 (byte {error.start:,}): convert it first"
        ) from None
    except (OSError, ValueError) as error:  # a path with a NUL is a ValueError
        why = getattr(error, "strerror", None) or error
        raise ConfigurationError(f"document {path} cannot be read: {why}") from None
    if "\0" in text:
        raise ConfigurationError(f"document {path} is no text: convert it first")
    return Document(text, path.name)


def _names_a_file(text: str) -> bool:
    return len(text) < _LONGEST_NAME and text.isprintable() and os.path.isfile(text)


def add_documents(trajectory: Trajectory, documents: Sequence[Document]) -> None:
    """Write documents into the log, in front of their task.

    None is stored twice: one that is stored is referred to, and one that is still shown is not
    repeated.
    """
    if not documents:
        return
    stored = {
        (entry.text, entry.data.get("name")): entry.id
        for entry in trajectory
        if entry.kind == "document" and entry.message is not None
    }
    shown = {entry.id for task in Window(trajectory).tasks for entry, _ in task.documents}
    for document in documents:
        number = stored.get((document.text, document.name))
        if number in shown or not document.text:
            continue
        if number is None:
            message, tokens = UserMessage(document.text), estimate_tokens(document.text)
            number = trajectory.append("document", message, tokens=tokens, name=document.name).id
            stored[document.text, document.name] = number
        else:
            trajectory.append("document", same=number)
        shown.add(number)
