# Ling-mini-2.0, Q4_K_M GGUF on 1 × RTX 4090: the embedded engine, window 32,768 tokens
# Made by: ling-agent recipe --server embedded --model ling-mini-2.0 --quant q4_k_m --gpu rtx-4090 --gpus 1 --context 32768
# Memory: 11.2 GB of 24.7 GB usable on the cards; 11 sequences of this window fit.
# One sequence: at best 512 tokens a second, a bound by bandwidth.
#
# Start:  python agent.py
# Check:  ling-agent doctor llamacpp:ling-mini-2.0
# Use:    Agent("llamacpp:ling-mini-2.0")
from ling_agent import Agent
from ling_agent.backends import LlamaCppBackend

backend = LlamaCppBackend("ling-mini-2.0", n_ctx=32_768, n_parallel=1)
agent = Agent(backend)

if __name__ == "__main__":
    print(agent.run_sync("What is the capital of France?").output)
