#!/bin/sh
# Ling-2.6-flash, BF16 on 4 × H100 SXM: SGLang, window 131,072 tokens
# Made by: ling-agent recipe --server sglang --model ling-2.6-flash --quant bf16 --gpu h100 --gpus 4 --context 131072
# Needs SGLang 0.5.10.post1 or newer.
# Flags: read by the parser of SGLang 0.5.23. Not tried with these weights.
# Memory: 213.6 GB of 307.9 GB usable on the cards; 142 sequences of this window fit.
# One sequence: at best 935 tokens a second, a bound by bandwidth.
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
    --tp-size 4 \
    --context-length 131072 \
    --tool-call-parser qwen \
    --enable-cache-report \
    --api-key "$LING_AGENT_API_KEY"
