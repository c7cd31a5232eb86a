#!/bin/sh
# Ling-mini-2.0, Q4_K_M GGUF on 1 × RTX 4090: llama-server, window 32,768 tokens
# Made by: ling-agent recipe --server llama.cpp --model ling-mini-2.0 --quant q4_k_m --gpu rtx-4090 --gpus 1 --context 32768
# Flags: documented for llama.cpp as in llama-cpp-python 0.3.36. Not tried with these weights.
# Memory: 11.2 GB of 24.7 GB usable on the cards; 11 sequences of this window fit.
# One sequence: at best 512 tokens a second, a bound by bandwidth.
#
# Key:    export LING_AGENT_API_KEY=$(openssl rand -hex 24)
# Start:  sh llama-server.sh
# Check:  ling-agent doctor 'llama-server:http://localhost:8080#ling-mini-2.0'
# Use:    Agent("llama-server:http://localhost:8080#ling-mini-2.0")
set -eu
export LLAMA_API_KEY="${LING_AGENT_API_KEY:?set it to a key of your own}"
exec llama-server \
    --hf-repo inclusionAI/Ling-mini-2.0-GGUF:Q4_K_M \
    --alias ling-mini-2.0 \
    --host 127.0.0.1 \
    --port 8080 \
    --n-gpu-layers all \
    --ctx-size 32768 \
    --parallel 1 \
    --jinja
