"""Which conversation is in which stream, and how much of its next prompt is computed already.

A `Conversation` is the text and tokens of a run. It takes a `Slot` to be computed and stays there
until another one needs it; then its state is kept as a snapshot, up to a number and size of them.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

from .model import LoadedModel
from .snapshots import Checkpoint, Prefixes, Snapshot

_KEPT_CONVERSATIONS = 64
_KEPT_SNAPSHOTS = 16
_KEPT_PREFIXES = 8
_KEPT_CHECKPOINTS = 4
_WORTH_KEEPING = 16  # tokens


@dataclass(slots=True, eq=False)
class Slot:
    """A stream of the model's cache.

    Attributes:
        stream: The sequence id.
        tokens: What the stream holds.
        owner: The conversation that they are of.
        busy: Whether a generation works in it.
        checkpoints: Of a model that cannot be cut back, oldest first.
    """

    stream: int
    tokens: list[int] = field(default_factory=list[int])
    owner: Conversation | None = None
    busy: bool = False
    checkpoints: list[Checkpoint] = field(default_factory=list[Checkpoint])


@dataclass(slots=True, eq=False)
class Conversation:
    """A run, as far as the engine knows it.

    Attributes:
        name: Of the run; empty for requests that name none.
        text: Its newest prompt and answer.
        tokens: Of that text: those of the answer are the ones that were generated.
        slot: The stream that it is in; None when it has none.
        snapshot: Its state, when it had to leave its slot.
        claimed: Whether a generation waits or works for it.
    """

    name: str
    text: str = ""
    tokens: list[int] = field(default_factory=list[int])
    slot: Slot | None = None
    snapshot: Snapshot | None = None
    claimed: bool = False


class Slots:
    """The streams of a model and the conversations that use them.

    Args:
        model: The loaded model.
        budget: Bytes for snapshots of conversations, and as many for shared beginnings.

    Attributes:
        prefixes: The shared beginnings.
    """

    def __init__(self, model: LoadedModel, budget: int) -> None:
        self._model = model
        self.budget = budget
        self._slots = [Slot(stream) for stream in range(model.n_parallel)]
        self._conversations: OrderedDict[str, Conversation] = OrderedDict()
        self._recent: list[Slot] = list(self._slots)  # least recently used first
        self.prefixes = Prefixes(_KEPT_PREFIXES, budget)

    def claim(self, name: str) -> Conversation:
        """The conversation of that name for a generation; a new one when another one has it."""
        conversation = self._conversations.get(name)
        if conversation is None:
            conversation = self._conversations[name] = Conversation(name)
        elif conversation.claimed:
            return Conversation(name)  # nobody will come back to it
        conversation.claimed = True
        self._conversations.move_to_end(name)
        self._forget_oldest()
        return conversation

    def release(self, conversation: Conversation) -> None:
        """A generation has left; what was computed for it stays."""
        conversation.claimed = False
        slot = conversation.slot
        if slot is not None:
            slot.busy = False
            if self._conversations.get(conversation.name) is not conversation:
                self._empty(slot)

    def known(self, name: str) -> Conversation | None:
        """The conversation of that name, if there is one."""
        return self._conversations.get(name)

    def snapshot_of(self, conversation: Conversation) -> Snapshot | None:
        """The state of a conversation, wherever it is; None when it is gone."""
        if conversation.slot is None:
            return conversation.snapshot
        return self.snapshot(conversation.slot) if conversation.slot.tokens else None

    def take_up(self, name: str, text: str, tokens: list[int], snapshot: Snapshot) -> None:
        """Begin a conversation with a text and state from elsewhere."""
        conversation = self.claim(name)
        self.release(conversation)
        if conversation.slot is not None:
            self._empty(conversation.slot)
        conversation.text, conversation.tokens = text, tokens
        conversation.snapshot = snapshot
        self._drop_snapshots(keep=conversation)

    def acquire(self, conversation: Conversation, tokens: list[int]) -> Slot | None:
        """A slot for a conversation whose prompt has these tokens; None when all are at work.

        The slot holds a beginning of the tokens and at most all but the last, whose logits the
        answer is sampled from.
        """
        slot = conversation.slot or self._free()
        if slot is None:
            return None
        slot.busy = True
        self._recent.remove(slot)
        self._recent.append(slot)
        if conversation.slot is None:
            self._move_in(conversation, slot)
        self._cut_to_shared(slot, tokens)
        return slot

    def reset(self, slot: Slot) -> None:
        """The stream was lost in a failure."""
        slot.tokens = []
        slot.checkpoints = []

    def keep_prefix(self, slot: Slot) -> None:
        """Keep what the slot holds as the beginning of later conversations."""
        if len(slot.tokens) < _WORTH_KEEPING or slot.tokens in self.prefixes:
            return
        snapshot = self.snapshot(slot)
        if snapshot is not None:
            self.prefixes.add(snapshot)

    def keep_checkpoint(self, slot: Slot) -> None:
        """Where the model cannot be cut back: remember this point, to come back to it."""
        if self._model.can_be_cut or not slot.tokens:
            return
        data = self._model.read_state(slot.stream, partial=True)
        if data is not None:
            slot.checkpoints.append(Checkpoint(len(slot.tokens), data))
            del slot.checkpoints[:-_KEPT_CHECKPOINTS]

    def snapshot(self, slot: Slot) -> Snapshot | None:
        """The state of a slot as bytes."""
        data = self._model.read_state(slot.stream)
        if data is None:
            return None
        return Snapshot(tuple(slot.tokens), data, tuple(slot.checkpoints))

    # -- moving in and out --------------------------------------------------------------------

    def _free(self) -> Slot | None:
        """An empty slot, the first of them: neighbours are computed together; else the oldest."""
        empty = [slot for slot in self._slots if not slot.busy and slot.owner is None]
        if empty:
            return empty[0]
        return next((slot for slot in self._recent if not slot.busy), None)

    def _move_in(self, conversation: Conversation, slot: Slot) -> None:
        # First, or it might have to make room for the one that moves out.
        snapshot, conversation.snapshot = conversation.snapshot, None
        self._move_out(slot)
        slot.owner, conversation.slot = conversation, slot
        if snapshot is not None and self._model.write_state(slot.stream, snapshot.data):
            slot.tokens = list(snapshot.tokens)
            slot.checkpoints = list(snapshot.checkpoints)

    def _move_out(self, slot: Slot) -> None:
        owner = slot.owner
        if owner is not None and len(slot.tokens) >= _WORTH_KEEPING:
            owner.snapshot = self.snapshot(slot)
        self._empty(slot)
        self._drop_snapshots()

    def _empty(self, slot: Slot) -> None:
        if slot.owner is not None:
            slot.owner.slot = None
        slot.owner = None
        if slot.tokens:
            self._model.clear(slot.stream)
        self.reset(slot)

    def _forget_oldest(self) -> None:
        excess = len(self._conversations) - _KEPT_CONVERSATIONS
        idle = [one for one in self._conversations.values() if one.slot is None and not one.claimed]
        for conversation in idle[: max(excess, 0)]:
            del self._conversations[conversation.name]

    def _drop_snapshots(self, keep: Conversation | None = None) -> None:
        """The oldest snapshots make room; their conversations are computed again.

        Args:
            keep: Whose snapshot was asked for, however large it is.
        """
        known = [one for one in self._conversations.values() if one is not keep]
        kept = [one for one in known if one.snapshot is not None]
        size = sum(one.snapshot.size for one in kept if one.snapshot is not None)
        excess = len(kept) - _KEPT_SNAPSHOTS
        for conversation in kept:
            if excess <= 0 and size <= self.budget:
                return
            assert conversation.snapshot is not None
            excess, size = excess - 1, size - conversation.snapshot.size
            conversation.snapshot = None

    # -- what is shared -----------------------------------------------------------------------

    def _cut_to_shared(self, slot: Slot, tokens: list[int]) -> None:
        """Bring the slot to the longest beginning of the tokens that is to be had."""
        shared = min(_shared(slot.tokens, tokens), len(tokens) - 1)
        if not self._model.can_be_cut and shared < len(slot.tokens):
            points = [one.length for one in slot.checkpoints if one.length <= shared]
            shared = max(points, default=0)
        prefix = self.prefixes.best(tokens)
        if prefix is not None and len(prefix.tokens) > shared:
            restored = self._model.write_state(slot.stream, prefix.data)
            slot.tokens = list(prefix.tokens) if restored else []
            slot.checkpoints = list(prefix.checkpoints) if restored else []
        elif shared < len(slot.tokens):
            self._cut(slot, shared)

    def _cut(self, slot: Slot, length: int) -> None:
        slot.checkpoints = [one for one in slot.checkpoints if one.length <= length]
        point = slot.checkpoints[-1] if slot.checkpoints else None
        if length and point is not None and point.length == length:
            # Refused, it leaves the stream empty: then there is nothing to cut.
            length *= self._model.write_state(slot.stream, point.data, partial=True)
        if length and self._model.cut(slot.stream, length):
            del slot.tokens[length:]
            return
        self._model.clear(slot.stream)
        self.reset(slot)


def _shared(have: list[int], want: list[int]) -> int:
    """How many tokens two sequences begin with in common."""
    if want[: len(have)] == have:  # the usual case, at the speed of memory
        return len(have)
    for at, (one, other) in enumerate(zip(have, want, strict=False)):
        if one != other:
            return at
    return min(len(have), len(want))
