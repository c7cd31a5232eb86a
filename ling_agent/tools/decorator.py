"""`Tool`, and the decorator `tool` that makes one from a function."""

from __future__ import annotations

import copy
import functools
import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeAlias, TypeVar, cast, overload

from ..errors import ConfigurationError
from .docstrings import read_docstring
from .signature import context_parameter, describe, plain_function, read_signature

if TYPE_CHECKING:
    from .validation import Checker, ValidatedCall

P = ParamSpec("P")
R = TypeVar("R")
# Of the function that a class method is given, whatever `Tool` it is called on.
FP = ParamSpec("FP")
FR = TypeVar("FR")
Approval: TypeAlias = bool | Callable[[dict[str, Any]], bool]

_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")


@dataclass(frozen=True, eq=False, repr=False)
class Tool(Generic[P, R]):
    """Something that a model may call. Make one with `@tool`, `from_function` or `from_schema`.

    A tool is immutable, and calling it calls the function, unchanged, so it can be unit tested.

    Attributes:
        name: What the model calls it: letters, digits, `_` and `-`, at most 64.
        description: What the model reads about it; may be empty.
        parameters: JSON Schema of the arguments. Treat it as read-only.
        handler: The function.
        timeout: Seconds that one attempt may take; None for no limit.
        retries: Further attempts after an exception.
        requires_approval: Whether a person must agree first, or a predicate on the arguments; ask
            `needs_approval` for a given call.
        idempotent: Whether calling it twice is the same as once.
        exclusive: Whether nothing else may run beside it.
        max_result_tokens: Longest result that the model is shown; None for no limit.
    """

    name: str
    description: str
    parameters: dict[str, Any]
    handler: Callable[P, R]
    timeout: float | None = None
    retries: int = 0
    requires_approval: Approval = False
    idempotent: bool = False
    exclusive: bool = False
    max_result_tokens: int | None = None
    _checker: Checker | None = None
    _context: str | None = None
    _positional: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _check_options(self)
        # What help(), Sphinx and inspect.signature() look at; a frozen dataclass needs the detour.
        object.__setattr__(self, "__wrapped__", self.handler)
        object.__setattr__(self, "__name__", self.name)
        object.__setattr__(self, "__doc__", self.handler.__doc__)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function itself: no validation, no thread, no timeout."""
        return self.handler(*args, **kwargs)

    def __repr__(self) -> str:
        return f"Tool({self.name!r}, {describe(self.handler)})"

    @property
    def is_async(self) -> bool:
        """True when the function is a coroutine function: it then runs in the event loop."""
        f = self.handler
        return inspect.iscoroutinefunction(f) or inspect.iscoroutinefunction(plain_function(f))

    def openai_schema(self) -> dict[str, Any]:
        """The tool as an entry of the `tools` list of a chat completion request."""
        return {
            "type": "function",
            "function": {
                "name": self.name,
                "description": self.description,
                "parameters": self.parameters,
            },
        }

    def validate(self, arguments: dict[str, Any]) -> ValidatedCall:
        """Check the arguments that a model gave, and convert them to the function's types.

        Raises:
            ArgumentError: They do not fit; `message` has one line per problem.
        """
        from .validation import validate

        assert self._checker is not None
        return validate(self._checker, arguments, self.parameters)

    def needs_approval(self, arguments: dict[str, Any]) -> bool:
        """Whether a person must agree to this call.

        A predicate gets the arguments as the function would: checked, converted, with defaults.
        False for arguments that do not fit, since they never run; True when the predicate itself
        fails, since then nobody has said that the call is harmless.
        """
        wanted = self.requires_approval
        if not callable(wanted):
            return wanted
        from .problems import ArgumentError

        try:
            return bool(wanted(self.validate(arguments).arguments))
        except ArgumentError:
            return False
        except Exception:
            return True

    def invoke(self, arguments: dict[str, Any], ctx: object) -> Any:
        """Call the function with validated arguments and, if it asks for it, the context."""
        keywords = dict(arguments)
        if self._context is not None:
            keywords[self._context] = ctx
        positional = [keywords.pop(name) for name in self._positional]
        f: Callable[..., Any] = self.handler
        return f(*positional, **keywords)

    @classmethod
    def from_function(
        cls,
        f: Callable[FP, FR],
        /,
        *,
        name: str | None = None,
        description: str | None = None,
        timeout: float | None = None,
        retries: int = 0,
        requires_approval: Approval = False,
        idempotent: bool = False,
        exclusive: bool = False,
        max_result_tokens: int | None = None,
    ) -> Tool[FP, FR]:
        """Make a tool from a function, a bound method, a partial or a callable object.

        Its type hints make the schema, its docstring the texts. `name` is the function's own by
        default, `description` the docstring without its sections; the other options are the
        attributes of `Tool`.

        Raises:
            ConfigurationError: The function cannot be a tool; the message says what to change.
        """
        own_name = _function_name(f)
        _refuse_unusable(f, own_name)
        # pydantic is imported with the first tool, not with the package.
        from .schema import build_arguments
        from .validation import pydantic_checker

        signature = read_signature(f)
        texts = read_docstring(_docstring(f))
        arguments = build_arguments(describe(f), signature, texts.parameters)
        make = cast("type[Tool[FP, FR]]", cls)
        return make(
            name=own_name if name is None else name,
            description=texts.description if description is None else description,
            parameters=arguments.schema,
            handler=f,
            timeout=timeout,
            retries=retries,
            requires_approval=requires_approval,
            idempotent=idempotent,
            exclusive=exclusive,
            max_result_tokens=max_result_tokens,
            _checker=pydantic_checker(arguments),
            _context=signature.context,
            _positional=signature.positional,
        )

    @classmethod
    def from_schema(
        cls,
        name: str,
        description: str,
        parameters: dict[str, Any],
        handler: Callable[..., FR],
        *,
        timeout: float | None = None,
        retries: int = 0,
        requires_approval: Approval = False,
        idempotent: bool = False,
        exclusive: bool = False,
        max_result_tokens: int | None = None,
    ) -> Tool[..., FR]:
        """Make a tool from a JSON Schema; `handler` gets the arguments as keywords, as they came.

        Raises:
            ConfigurationError: The schema is not valid, or is not of an object.
        """
        from .validation import schema_checker

        own = copy.deepcopy(parameters)
        return cast("type[Tool[..., FR]]", cls)(
            name=name,
            description=description,
            parameters=own,
            handler=handler,
            timeout=timeout,
            retries=retries,
            requires_approval=requires_approval,
            idempotent=idempotent,
            exclusive=exclusive,
            max_result_tokens=max_result_tokens,
            _checker=schema_checker(name, own),
            _context=context_parameter(handler),
        )


@overload
def tool(
    f: Callable[P, R],
    /,
    *,
    name: str | None = None,
    description: str | None = None,
    timeout: float | None = None,
    retries: int = 0,
    requires_approval: Approval = False,
    idempotent: bool = False,
    exclusive: bool = False,
    max_result_tokens: int | None = None,
) -> Tool[P, R]: ...


@overload
def tool(
    f: None = None,
    /,
    *,
    name: str | None = None,
    description: str | None = None,
    timeout: float | None = None,
    retries: int = 0,
    requires_approval: Approval = False,
    idempotent: bool = False,
    exclusive: bool = False,
    max_result_tokens: int | None = None,
) -> Callable[[Callable[P, R]], Tool[P, R]]: ...


def tool(f: Callable[..., Any] | None = None, /, **options: Any) -> Any:
    """Make a function a tool: `@tool`, `@tool(timeout=5)` or `tool(obj.method, name="x")`.

    The options are those of `Tool.from_function`.
    """
    if f is None:
        return functools.partial(_decorate, options)
    return _decorate(options, f)


def _decorate(options: dict[str, Any], f: Callable[..., Any]) -> Tool[..., Any]:
    make: Callable[..., Tool[..., Any]] = Tool.from_function
    return make(f, **options)


def _function_name(f: Callable[..., Any]) -> str:
    while isinstance(f, functools.partial):
        f = f.func
    return str(getattr(f, "__name__", type(f).__name__))


def _docstring(f: Callable[..., Any]) -> str | None:
    while isinstance(f, functools.partial):
        f = f.func
    if hasattr(f, "__name__"):
        return f.__doc__
    return plain_function(f).__doc__ or type(f).__doc__


def _refuse_unusable(f: Any, name: str) -> None:
    if isinstance(f, Tool):
        raise ConfigurationError(f"'{name}' is a tool already; use it as it is")
    if isinstance(f, type) or not callable(f):
        what = (
            f"'{name}' is a class"
            if isinstance(f, type)
            else f"an object of type {name} is not a function"
        )
        raise ConfigurationError(f"{what}; a tool is made from a function or a method")
    if name == "<lambda>":
        raise ConfigurationError(
            "a lambda has no name and no annotations; write the tool with 'def'"
        )
    body = plain_function(f)
    if inspect.isgeneratorfunction(body) or inspect.isasyncgenfunction(body):
        raise ConfigurationError(
            f"tool {describe(f)} is a generator; return a list, and report progress with ctx.emit()"
        )


def _check_options(made: Tool[Any, Any]) -> None:
    name, timeout, limit = made.name, made.timeout, made.max_result_tokens
    if not _NAME.fullmatch(name):
        raise ConfigurationError(
            f"{name!r} ({describe(made.handler)}) cannot be a tool's name: letters, digits, '_' "
            "and '-' only, 1 to 64 of them; pass name=…"
        )
    if timeout is not None and not timeout > 0:
        raise ConfigurationError(f"tool '{name}': timeout is in seconds, above 0, not {timeout!r}")
    if made.retries < 0:
        raise ConfigurationError(f"tool '{name}': retries is 0 or more, not {made.retries!r}")
    if limit is not None and limit < 1:
        raise ConfigurationError(f"tool '{name}': max_result_tokens is 1 or more, not {limit!r}")
