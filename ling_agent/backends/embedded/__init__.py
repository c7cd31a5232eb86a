"""The embedded engine: llama.cpp in this process, under one thread.

The nouns, each a module:

- `EngineSettings` (settings): how a model is loaded. `fit`: what fits into memory, and what to say
  when it does not.
- `LoadedModel` (model): the weights, the vocabulary and a context whose KV cache is divided into
  streams, one for each sequence id.
- `Slot` (slots): a sequence id with the tokens that its stream holds. `Conversation`: the text and
  tokens of a run; it owns a slot while it is in use and after that until the slot is needed.
- `Snapshot` (snapshots): the state of a sequence as bytes: a conversation that lost its slot, the
  system prompt and tools that new conversations begin with, a file on disk.
- `Sampler` (sampling): logits -> a token. `Guide` (guide): which tokens a call may have; where one
  begins is found by `FreeText` (triggers), what it may hold by `CallGrammars` (grammar, schemas).
- `Generation` (generation): one answer in the making. `Scheduler` (scheduler): all of them, one
  batch at a time. `Engine` (engine) holds these together; `EngineThread` (thread) runs it.
- `Delivery` (delivery): pieces of text from the engine's thread to an event loop.

Data flow: prompt text -> tokens (those of the conversation so far are kept as they are) -> the
tokens that its slot does not hold are evaluated in chunks -> logits -> sampler, asked again with a
mask when the guide refuses its token -> forced tokens -> text -> delivery.

Why streams and not one unified cache: a conversation then computes the same numbers whatever else
is in the cache, so that answers do not depend on the neighbours, an idle neighbour costs no time,
and each conversation has the whole window. The price is memory for ``n_parallel`` windows.
"""
