"""What the memory of a long run costs, and whether it remembers: ``python -m benchmarks.memory``.

An agent makes 3,000 steps, 1.2 million tokens, against a scripted server that plays vLLM with a
window of 262,144 tokens; its trajectory is kept in a file. The modules: `words` and `filler` make
the observations and `facts` what is planted in them, `steps` puts them together; `conversation` is
the model and watches its prompts, `server` serves it; `run` is the run and `resume` takes it up
again, each a process of its own; `appending` and `recall` ask the store; `peers` are the memories
of other libraries; `measure` does it all, `goals` judges, `table` prints.
"""
