"""`AnswerSpec`: the type of an answer, as a model is told it and as its answer is checked."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from ..errors import LingAgentError

if TYPE_CHECKING:
    from typing_extensions import TypeForm

    from .form import Form

T = TypeVar("T")
U = TypeVar("U")


class AnswerError(LingAgentError):
    """An answer that is not of its type.

    Attributes:
        problems: What is wrong with it, one line each: which field, what was expected, what came.
    """

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems

    @property
    def message(self) -> str:
        """The problems for the model, one a line."""
        return "\n".join(self.problems)


@dataclass(frozen=True)
class AnswerSpec(Generic[T]):
    """What one ``output_type`` asks for; made by `of`, immutable, safe to share.

    Attributes:
        output_type: The type.
        schema: JSON Schema for `ModelRequest.answer_schema`; None for text. Its root is always an
            object: what is none is wrapped as ``{"answer": …}``.
        hint: What the model reads behind the task; empty for text. The same bytes each time.
    """

    output_type: Any
    schema: dict[str, Any] | None = field(default=None, compare=False)
    hint: str = field(default="", compare=False)
    _form: Form | None = field(default=None, repr=False, compare=False)

    @classmethod
    def of(cls, output_type: TypeForm[U]) -> AnswerSpec[U]:
        """What this type asks for.

        Args:
            output_type: ``str``, or whatever pydantic can describe as JSON: a model, a dataclass, a
                TypedDict, an Enum, Literal, numbers, dates, unions and collections of those.

        Raises:
            ConfigurationError: It is no type, or one without a JSON form.
        """
        if output_type is str:
            return AnswerSpec[U](str)
        # pydantic's schemas take 0.1 s to import, and only typed answers need them here.
        from .form import describe_form
        from .hint import hint_for

        form = describe_form(output_type)
        return AnswerSpec[U](output_type, form.schema, hint_for(form), form)

    @property
    def is_text(self) -> bool:
        """Whether any text is an answer: nothing is asked and nothing is checked."""
        return self._form is None

    def holds(self, value: object) -> bool:
        """Whether an object, not its JSON, is of the type."""
        return isinstance(value, str) if self._form is None else self._form.holds(value)

    def read(self, text: str) -> T:
        """The value that an answer says.

        Taken is JSON that fits, as it is or with readings that lose nothing (``"3"`` for 3); the
        bare value where the schema wraps it; JSON in a code block or between prose, where only one
        value fits; and JSON with faults that can be repaired in one way only. Nothing is guessed.

        Args:
            text: The visible text of a whole answer. One that the token limit has cut may look
                complete: do not read it.

        Raises:
            AnswerError: No value fits, or several different ones do.
        """
        if self._form is None:
            return cast("T", text)
        from .reading import read_answer

        return cast("T", read_answer(text, self._form))
