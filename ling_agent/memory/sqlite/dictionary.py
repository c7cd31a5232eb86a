"""What short entries have in common, for their compression.

A dictionary is part of the file format: it must never change. A better one is a codec of its own.
"""

from __future__ import annotations

_WORDS = (
    " should would could because through between without before after which their there these "
    "about other every where using number value values string result results error failed found "
    "not found return returns import class def self function method file files name names type "
    "types list index data code test tests line lines text string object default example options "
    "config version release install python the of and to in is that for with as on are this it be "
    "by from or an was at can will if you not have has but all one when use used more than other "
    'Traceback (most recent call last):\n  File "/usr/lib/python3/site-packages/\n    raise '
    "ValueError: \nTypeError: \nKeyError: \nNone True False null true false "
    "INFO WARNING ERROR DEBUG [2026-01-01T00:00:00.000Z] 2025- 2026- "
    "status=200 id= ms https://www. http://localhost: .com/ .org/ .html .json .py .md "
    '\\n- \\n  \\n\\n## | --- | \\", \\"id\\": \\"name\\": \\"title\\": \\"url\\": \\"price\\": '
    '\\"description\\": \\"type\\": \\"status\\": '
)
_MARKUP = (
    '{"kind":"call","data":{"call_id":"call_1_0","name":"'
    '{"kind":"error","data":{"error":"{"kind":"limit","data":{"status":"'
    '{"kind":"compaction","data":{"{"kind":"pin","data":{"text":"{"kind":"approval","data":{"'
    '{"kind":"plan","data":{"steps":[{"text":"","status":"done"},{"text":"","status":"pending"}'
    '{"kind":"note","data":{"reason":"{"kind":"document","data":{"name":"'
    '{"kind":"instructions","message":{"role":"system","content":"'
    '{"kind":"task","data":{"task":"},"message":{"role":"user","content":"'
    '{"kind":"usage","data":{"prompt_tokens":1024,"completion_tokens":128,"cached_tokens":1000,'
    '"requests":1,"seconds":0.5,"prefill_seconds":0.1,"decode_seconds":0.4},"time":17'
    '{"kind":"assistant","data":{"finish_reason":"tool_calls"},"tokens":60,"time":1764'
    ',"message":{"role":"assistant","content":"I will ","reasoning":null,'
    '"reasoning":"The user wants ","calls":[{"id":"call_1_0","name":"search","arguments":{"query":"'
    '"path":"","url":"https://"},"repairs":[]}],"raw":null}}'
    '"raw":"<think>\\n\\n</think>\\n\\n<tool_call>\\n{\\"name\\": \\"\\", \\"arguments\\": {\\"'
    '\\"}}\\n</tool_call>"}}{"kind":"observation","data":{"call":"","text":"","started":'
    '"},"tokens":null,"time":1764115000.123,"message":{"role":"tool","call_id":"call_1_0",'
    '"name":"","content":"","is_error":true}}"is_error":false}}'
)
SHORT = (_WORDS + _MARKUP).encode()
"""The dictionary of codec 3."""
