"""Client CPU per model step of agent libraries: ``python -m benchmarks.step_overhead``.

Every contender works on the same task against one scripted server on the loopback interface: ten
tool calls, then an answer. Nothing is generated and the tool returns at once, so what a process
spends is the library's own: request, response, parsing, calling the tool, keeping the
conversation. The modules: `script` says what the server answers, `server` serves it; `sockets`,
`clients`, `ours` and `peers` are the contenders; `worker` runs one of them in a process of its own,
`measure` takes turns between them, `goals` judges, `table` prints.
"""
