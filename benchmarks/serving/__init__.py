"""Many streaming clients against a real ``ling-agent serve`` process.

``python -m benchmarks.serve`` starts the server (`agents` is what it serves), reads all streams in
this process (`clients`), looks at what the server holds (`watching`), and prints the table.
"""
