"""An agent added to a FastAPI program, with a page that shows its runs as they happen."""
