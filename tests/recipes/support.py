"""Recipes to test, and readers of what they are written as."""

from __future__ import annotations

from typing import Any, cast

import yaml

from ling_agent import facts, recipes
from ling_agent.errors import ConfigurationError
from ling_agent.recipes import Recipe, Wish
from ling_agent.recipes.deployments import recipes as deployed

SECRET = "sk-of-mine-1234"


def every_recipe() -> dict[str, Recipe]:
    """Those of ``deploy``, and two for each pair of server and model that there is."""
    found = {f"{place.folder}/{recipe.server}": recipe for place, recipe in deployed()}
    for server in recipes.SERVERS:
        for model in facts.models().values():
            plain = Wish(server, model.id)
            full = Wish(server, model.id, context=model.max_context, concurrency=3, gpus=2)
            for name, wish in (
                (f"{server}/{model.id}", plain),
                (f"{server}/{model.id}/full", full),
            ):
                made = _made(wish)
                if made is not None:
                    found[name] = made
    return found


def _made(wish: Wish) -> Recipe | None:
    """None for what the server does not run, or cannot be told."""
    try:
        made = recipes.make(wish)
        assert made.command
    except ConfigurationError:
        return None
    return made


def made_for(server: str, model: str = "ling-2.6-flash", **wish: Any) -> Recipe:
    """A recipe by what is asked for."""
    return recipes.make(Wish(server, model, **wish))


def service_of(made: Recipe) -> dict[str, Any]:
    """The one service of a compose file, with the command as docker would run it."""
    read = cast("dict[str, Any]", yaml.safe_load(made.text))
    (service,) = cast("dict[str, dict[str, Any]]", read["services"]).values()
    return {**service, "command": [word.replace("$$", "$") for word in service["command"]]}


def option(words: list[str], name: str) -> str | None:
    """The value of an option; None where it is not given."""
    return words[words.index(name) + 1] if name in words else None
