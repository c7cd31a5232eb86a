"""``python -m ling_agent.recipes DIR``: write the folder ``deploy`` anew."""

from __future__ import annotations

import sys
from pathlib import Path

from .deployments import write_all

if __name__ == "__main__":
    write_all(Path(sys.argv[1]))
