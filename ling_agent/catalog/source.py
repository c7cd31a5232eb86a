"""What the hub and the mirror have in common."""

from __future__ import annotations


class SourceError(Exception):
    """This source does not deliver: the next one is tried. The text is a clause, not a sentence.

    Never seen by callers of the catalogue: `download` turns it into a note or a DownloadError.
    """
