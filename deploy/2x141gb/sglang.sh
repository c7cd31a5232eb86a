#!/bin/sh
# Ling-2.6-flash, BF16 on 2 × H200: SGLang, window 262,144 tokens
# Made by: ling-agent recipe --server sglang --model ling-2.6-flash --quant bf16 --gpu h200 --gpus 2 --context 262144
# Needs SGLang 0.5.10.post1 or newer.
# Flags: read by the parser of SGLang 0.5.23. Not tried with these weights.
# Memory: 211.9 GB of 271.4 GB usable on the cards; 47 sequences of this window fit.
# One sequence: at best 643 tokens a second, a bound by bandwidth.
#
# Key:    export LING_AGENT_API_KEY=$(openssl rand -hex 24)
# Start:  sh sglang.sh
# Check:  ling-agent doctor 'sglang:http://localhost:30000#ling-2.6-flash'
# Use:    Agent("sglang:http://localhost:30000#ling-2.6-flash")
set -eu
: "${LING_AGENT_API_KEY:?set it to a key of your own}"
exec python -m sglang.launch_server \
    --model-path inclusionAI/Ling-2.6-flash \
    --served-model-name ling-2.6-flash \
    --host 127.0.0.1 \
    --port 30000 \
    --trust-remote-code \
    --tp-size 2 \
    --context-length 262144 \
    --json-model-override-args '{"max_position_embeddings": 262144, "rope_scaling": {"rope_type": "yarn", "factor": 2.0, "rope_theta": 6000000, "partial_rotary_factor": 0.5, "original_max_position_embeddings": 131072}}' \
    --tool-call-parser qwen \
    --enable-cache-report \
    --api-key "$LING_AGENT_API_KEY"
