"""What fits into memory: arithmetic on a model's header, without llama.cpp.

A model needs its weights and, for each conversation, a key-value cache as long as its window.
`choose_context` divides the system's memory so, `gpu_context` a graphics card's. `what_fits` is the
answer when a card has too little: parameters with which it would do, by the same arithmetic.

What is counted: weights and cache, exactly but for sliding windows and recurrent states (see
`GGUFHeader.kv_bytes_by_layer`). Working buffers are covered by what is left free: a quarter of the
system's memory, a tenth of the card's but at most 1 GiB.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from ...errors import BackendUnavailable, ConfigurationError
from ..gguf import KV_TYPES, GGUFHeader

_MIN_CONTEXT = 2048
_LEAST_N_CTX = 64
_DEFAULT_LIMIT = 4096  # where the file names no limit
_CAP = 32768  # where memory is not known, and on a card
_PARALLEL = 4
_STEP = 256  # llama.cpp pads a window to a multiple of it
_USEFUL_CONTEXT = 4096  # no shorter window is proposed
_GIB = 1 << 30


@dataclass(frozen=True, slots=True)
class Context:
    """The size of a context.

    Attributes:
        n_ctx: Window of each conversation, in tokens.
        n_parallel: Conversations that have one.
    """

    n_ctx: int
    n_parallel: int


@dataclass(frozen=True, slots=True)
class Load:
    """How a model is loaded onto a card, as far as it takes memory there.

    Attributes:
        n_ctx: Window of each conversation, in tokens.
        n_parallel: Conversations.
        kv_type: Type of the key-value cache.
        n_gpu_layers: Layers on the card, counted from the last, the output being one; None: all.
        n_cpu_moe: Of that many layers, counted from the first, the experts stay on the CPU.
    """

    n_ctx: int
    n_parallel: int = 1
    kv_type: str = "f16"
    n_gpu_layers: int | None = None
    n_cpu_moe: int = 0


def choose_context(
    header: GGUFHeader,
    *,
    n_ctx: int | None,
    n_parallel: int | None,
    budget: int | None,
    kv_type: str,
) -> Context:
    """The size of a context in the system's memory. What the caller names is taken as it is.

    Three quarters of the available memory, less the file, are for caches; a quarter is left to the
    rest of the machine. A window that is not named is what fits there, up to the model's own limit
    (4,096 if it names none), in multiples of 256. Conversations that are not counted are four, or
    as many as fit there and into a quarter of the memory, at least one.

    Args:
        header: The model's.
        n_ctx: Window of each conversation; None to choose.
        n_parallel: Conversations; None to choose.
        budget: `available_memory`; None when it is not known: the window is then 32,768 at most.
        kv_type: Type of the key-value cache.

    Raises:
        ConfigurationError: A window below 64 tokens, no conversation, or an unknown ``kv_type``.
        BackendUnavailable: 2,048 tokens do not fit; the message says how much memory is needed.
    """
    per_token = _checked(header, n_ctx, n_parallel, kv_type)
    limit = header.context_length or _DEFAULT_LIMIT
    if budget is None:
        return Context(n_ctx or _rounded(min(limit, _CAP)), n_parallel or _PARALLEL)
    # Weights are mapped, so they count once.
    room = budget * 3 // 4 - header.size
    each = per_token * (n_parallel or 1)
    fits = room // max(each, 1)
    if n_ctx is None and fits < min(_MIN_CONTEXT, limit):
        needed = (header.size + min(_MIN_CONTEXT, limit) * each) / 0.75
        fewer = " or pass a smaller n_parallel" if n_parallel and n_parallel > 1 else ""
        raise BackendUnavailable(
            f"{header.path.name} needs about {needed / _GIB:.1f} GiB of memory and "
            f"{budget / _GIB:.1f} GiB are available: free some, take a smaller model or a "
            f"stronger quantisation{fewer}"
        )
    window = n_ctx or _rounded(min(limit, fits))
    return Context(
        window, n_parallel or _conversations(min(room, budget // 4), _padded(window) * per_token)
    )


def gpu_context(
    header: GGUFHeader,
    *,
    n_ctx: int | None,
    n_parallel: int | None,
    kv_type: str,
    free: int,
    n_gpu_layers: int | None = None,
    n_cpu_moe: int = 0,
) -> Context:
    """The size of a context on a graphics card. What the caller names is taken as it is.

    Caches have what the weights there leave of the card's memory, less a reserve for working
    buffers. A window that is not named is what fits for one conversation, up to the model's limit
    and 32,768; conversations that are not counted are four, or as many as fit, at least one.

    Args:
        header: The model's.
        n_ctx: Window of each conversation; None to choose.
        n_parallel: Conversations; None to choose.
        kv_type: Type of the key-value cache.
        free: The card's free memory in bytes, before the model is loaded.
        n_gpu_layers: Layers on the card; None for all.
        n_cpu_moe: Layers whose experts stay on the CPU.

    Raises:
        ConfigurationError: A window below 64 tokens, no conversation, or an unknown ``kv_type``.
        BackendUnavailable: Not even the reserve would make room for 2,048 tokens; `what_fits` is
            the message.
    """
    _checked(header, n_ctx, n_parallel, kv_type)
    if n_ctx is not None and n_parallel is not None:
        return Context(n_ctx, n_parallel)
    card = _OnCard(header)
    load = Load(n_ctx or _STEP, n_parallel or 1, kv_type, n_gpu_layers, n_cpu_moe)
    if n_ctx is None:
        n_ctx = _window_on_card(card, load, free)
    one = card.cache(replace(load, n_ctx=n_ctx, n_parallel=1))
    room = free - _reserve(free) - card.weights(load)
    return Context(n_ctx, n_parallel or _conversations(room, one))


def _window_on_card(card: _OnCard, load: Load, free: int) -> int:
    """The longest window for which there is room, up to the model's limit and 32,768."""
    limit = min(card.header.context_length or _DEFAULT_LIMIT, _CAP)
    least = min(_MIN_CONTEXT, limit)
    if card.bytes(replace(load, n_ctx=least)) > free:
        # By the advice there is to be room for more than the shortest window.
        answer = what_fits(
            card.header,
            free=free,
            n_ctx=min(_USEFUL_CONTEXT, limit),
            n_parallel=load.n_parallel,
            kv_type=load.kv_type,
            n_gpu_layers=load.n_gpu_layers,
            n_cpu_moe=load.n_cpu_moe,
        )
        raise BackendUnavailable(f"{card.header.path.name} {answer}")
    # Short of the reserve the shortest window is tried: llama.cpp has the last word.
    each = card.cache(replace(load, n_ctx=_STEP)) // _STEP
    room = free - _reserve(free) - card.weights(load)
    return max(_rounded(min(limit, room // max(each, 1))), least)


def _checked(header: GGUFHeader, n_ctx: int | None, n_parallel: int | None, kv_type: str) -> int:
    """Bytes of a token in the cache, once the parameters are found to be possible."""
    if n_ctx is not None and n_ctx < _LEAST_N_CTX:
        raise ConfigurationError(f"n_ctx must be at least {_LEAST_N_CTX} tokens")
    if n_parallel is not None and n_parallel < 1:
        raise ConfigurationError("n_parallel must be at least 1")
    return header.kv_bytes(kv_type)


def _rounded(tokens: int) -> int:
    """A window in llama.cpp's steps; a limit below one step stays as it is."""
    return tokens // _STEP * _STEP if tokens > _STEP else tokens


def _padded(n_ctx: int) -> int:
    return -(-n_ctx // _STEP) * _STEP


def _conversations(room: int, each: int) -> int:
    return max(min(_PARALLEL, room // max(each, 1)), 1)


def _reserve(free: int) -> int:
    """What is left to llama.cpp's working buffers on a card."""
    return min(free // 10, _GIB)


class _OnCard:
    """What a model takes of a card's memory, by how it is loaded; the header is added up once."""

    def __init__(self, header: GGUFHeader) -> None:
        self.header = header
        self.layers = header.layers
        self.has_experts = any(header.expert_bytes)
        self._layer_bytes, self._expert_bytes = header.layer_bytes, header.expert_bytes
        self._output = header.output_bytes
        self._cache = {kv_type: header.kv_bytes_by_layer(kv_type) for kv_type in KV_TYPES}

    def weights(self, load: Load) -> int:
        """Bytes of weights; the embeddings stay with the CPU."""
        first = self._first_layer(load)
        experts = sum(self._expert_bytes[first : max(load.n_cpu_moe, first)])
        output = self._output if load.n_gpu_layers != 0 else 0
        return sum(self._layer_bytes[first:]) - experts + output

    def cache(self, load: Load) -> int:
        """Bytes of the key-value caches: a layer's is where the layer is."""
        per_token = sum(self._cache[load.kv_type][self._first_layer(load) :])
        return per_token * _padded(load.n_ctx) * load.n_parallel

    def bytes(self, load: Load) -> int:
        """Bytes of weights and caches."""
        return self.weights(load) + self.cache(load)

    def _first_layer(self, load: Load) -> int:
        """The first layer on the card: they are counted from the end, the output first."""
        if load.n_gpu_layers is None or load.n_gpu_layers < 0:
            return 0
        return max(self.layers + 1 - max(load.n_gpu_layers, 1), 0)


def what_fits(
    header: GGUFHeader,
    *,
    free: int,
    n_ctx: int,
    n_parallel: int,
    kv_type: str,
    n_gpu_layers: int | None = None,
    n_cpu_moe: int = 0,
) -> str:
    """What to do when a model does not fit onto a card, for the end of an error message.

    Args:
        header: The model's.
        free: The card's free memory in bytes, before the model was loaded.
        n_ctx: Window of each conversation that was tried.
        n_parallel: Conversations that were tried.
        kv_type: Type of the key-value cache that was tried.
        n_gpu_layers: Layers on the card that were tried; None for all.
        n_cpu_moe: Layers whose experts were kept on the CPU.

    Returns:
        ``needs about 18.4 GiB on the GPU, 15.2 GiB are free: pass n_parallel=2``, or another
        parameter, or several of them; an alternative behind ``or``.
    """
    card = _OnCard(header)
    asked = Load(n_ctx, n_parallel, kv_type, n_gpu_layers, n_cpu_moe)
    needs = (card.bytes(asked) + _reserve(free)) / _GIB
    text = f"needs about {needs:.1f} GiB on the GPU, {free / _GIB:.1f} GiB are free: "
    found = _proposals(card, asked, free)
    if not found:
        return text + "nothing fits: take a smaller model or a stronger quantisation"
    return text + "pass " + ", or ".join(_differences(asked, load) for load in found)


def _proposals(card: _OnCard, asked: Load, free: int) -> list[Load]:
    """Loads that fit where another one did not, the better one first; at most two.

    First a smaller cache, which costs no speed: fewer conversations, a shorter window (4,096 at
    least), q8_0. Then the experts of the first layers on the CPU; then whole layers there.
    """
    room = free - _reserve(free)
    needed = card.bytes(asked)
    if needed <= room:
        # It should have fitted: working buffers took more than was thought.
        room = needed - min(needed // 8, _GIB // 4)

    def fits(load: Load) -> bool:
        return card.bytes(load) <= room

    smaller = _first(_smaller_caches(card.header, asked), fits)
    if smaller is not None:
        return [smaller]
    for less in (_experts_on_cpu, _layers_on_cpu):
        for least in _least_caches(card.header, asked):
            found = _first(less(card, least), fits)
            if found is None:
                continue
            # With one conversation at a time more of the model may be on the card.
            other = _first(less(card, replace(least, n_parallel=1)), fits)
            if other is None or card.weights(other) == card.weights(found):
                return [found]
            return [found, other]
    return []


def _first(loads: Iterator[Load], fits: Callable[[Load], bool]) -> Load | None:
    return next((load for load in loads if fits(load)), None)


def _smaller_caches(header: GGUFHeader, asked: Load) -> Iterator[Load]:
    one, small = replace(asked, n_parallel=1), _quantised(header, asked)
    yield from _fewer(asked)
    yield from _shorter(asked)
    if small is not None:
        yield small
    yield from _shorter(one)
    if small is not None:
        yield from _fewer(small)
        yield from _shorter(replace(small, n_parallel=1))


def _least_caches(header: GGUFHeader, asked: Load) -> Iterator[Load]:
    """What is asked for, and ever smaller caches, for what has to go to the CPU besides."""
    one = replace(asked, n_parallel=1)
    short = replace(one, n_ctx=min(one.n_ctx, _USEFUL_CONTEXT))
    yield from (asked, one, short)
    small = _quantised(header, short)
    if small is not None:
        yield small


def _fewer(load: Load) -> Iterator[Load]:
    for n_parallel in range(load.n_parallel - 1, 0, -1):
        yield replace(load, n_parallel=n_parallel)


def _shorter(load: Load) -> Iterator[Load]:
    for n_ctx in range(_rounded(load.n_ctx - 1), _USEFUL_CONTEXT - 1, -_STEP):
        yield replace(load, n_ctx=n_ctx)


def _quantised(header: GGUFHeader, load: Load) -> Load | None:
    """The same with a cache in q8_0, where llama.cpp can do that and it is smaller."""
    size, numbers = KV_TYPES[load.kv_type]
    if size / numbers <= 34 / 32 or any(length % 32 for length in header.head_lengths):
        return None
    return replace(load, kv_type="q8_0")


def _experts_on_cpu(card: _OnCard, load: Load) -> Iterator[Load]:
    if card.has_experts:
        for n_cpu_moe in range(load.n_cpu_moe + 1, card.layers + 1):
            yield replace(load, n_cpu_moe=n_cpu_moe)


def _layers_on_cpu(card: _OnCard, load: Load) -> Iterator[Load]:
    """Ever fewer layers on the card, all of a mixture's experts being on the CPU already."""
    most = card.layers
    if load.n_gpu_layers is not None and load.n_gpu_layers >= 0:
        most = min(load.n_gpu_layers - 1, most)
    n_cpu_moe = max(card.layers, load.n_cpu_moe) if card.has_experts else load.n_cpu_moe
    for n_gpu_layers in range(most, 0, -1):
        yield replace(load, n_gpu_layers=n_gpu_layers, n_cpu_moe=n_cpu_moe)


def _differences(asked: Load, load: Load) -> str:
    names = ("n_parallel", "n_ctx", "kv_type", "n_cpu_moe", "n_gpu_layers")
    values = {name: getattr(load, name) for name in names}
    changed = {name: value for name, value in values.items() if value != getattr(asked, name)}
    quoted = (
        f'{name}="{value}"' if isinstance(value, str) else f"{name}={value}"
        for name, value in changed.items()
    )
    return " and ".join(quoted)
