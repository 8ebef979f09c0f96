"""Where a model holds the parameters of an optimizer, looked at before each step."""

from collections.abc import Mapping
from typing import Any, TypeAlias

from torch import Tensor, nn

from permtrain.core.layouts import COMPUTED_FROM
from permtrain.core.names import parameters_of
from permtrain.errors import ChangedWeightsError

_Link: TypeAlias = tuple[dict[str, Any], str, object]
"""What holds it, a module's dictionary; its name there; the module or parameter that is held."""


class Places:
    """The places in a model of parameters that an optimizer moves.

    Args:
        model: None where there is none; then nothing is refused.
    """

    def __init__(self, model: nn.Module | None) -> None:
        self._model = model
        self._parameters: dict[str, Tensor] = {}
        self._paths: dict[str, list[_Link]] = {}
        self._links: list[_Link] | None = None

    def add(self, parameters: Mapping[str, Tensor]) -> None:
        """Looks after more parameters, by their names in the model."""
        self._parameters |= parameters
        self._find()

    def check(self) -> None:
        """Refuses a model that would go on with other parameters than those of the optimizer.

        One that the model no longer has at all, and nothing in its place, was taken out, and may be
        trained on.

        Cost: one comparison of identities for each parameter, and each module that holds one.
        Raises:
            ChangedWeightsError: naming the parameter.
        """
        if self._links is not None:
            for holder, key, held in self._links:
                if holder.get(key) is not held:
                    break
            else:
                return
        self._refuse_replaced()
        self._find()

    def _find(self) -> None:
        """Notes the first path to each parameter; one that was taken out has none."""
        if self._model is None:
            self._links = []
            return
        paths = _paths(self._model)
        self._paths = {
            name: paths[id(each)] for name, each in self._parameters.items() if id(each) in paths
        }
        links = {(id(link[0]), link[1]): link for path in self._paths.values() for link in path}
        self._links = list(links.values())

    def _refuse_replaced(self) -> None:
        if self._model is None:
            return
        present = dict(parameters_of(self._model, remove_duplicate=False))
        present_ids = {id(parameter) for parameter in present.values()}
        known = {id(parameter) for parameter in self._parameters.values()}
        for name, parameter in self._parameters.items():
            if id(parameter) in present_ids:
                continue
            successors = _in_place_of(name, present) + _where_broken(self._paths.get(name, []))
            if any(id(each) not in known for each in successors):
                raise ChangedWeightsError(
                    f"{name}: the parameter was replaced in the model, and the optimizer still has "
                    "the old one; allowed: an optimizer made when the model has its final "
                    "parameters (load_state_dict(assign=True) replaces them too)"
                )

    def __getstate__(self) -> dict[str, Any]:
        return {"_model": self._model, "_parameters": list(self._parameters.items())}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["_model"])  # type: ignore[misc]
        self._parameters = dict(state["_parameters"])  # links are found at the next look


def _paths(model: nn.Module) -> dict[int, list[_Link]]:
    """The first path to each parameter, by its identity."""
    found: dict[int, list[_Link]] = {}
    seen: set[int] = set()
    waiting: list[tuple[nn.Module, list[_Link]]] = [(model, [])]
    while waiting:
        module, path = waiting.pop()
        parameters, children = (vars(module).get(key) for key in ("_parameters", "_modules"))
        if id(module) in seen or not isinstance(parameters, dict) or not isinstance(children, dict):
            continue  # a scripted module has other dictionaries
        seen.add(id(module))
        for key, parameter in parameters.items():
            if parameter is not None:
                found.setdefault(id(parameter), [*path, (parameters, key, parameter)])
        for key, child in reversed(children.items()):
            if child is not None:
                waiting.append((child, [*path, (children, key, child)]))
    return found


def _in_place_of(name: str, present: Mapping[str, Tensor]) -> list[Tensor]:
    """What a model has under a parameter's name, or computes the parameter from."""
    module_name, _, own_name = name.rpartition(".")
    parametrized = f"{module_name}.parametrizations.{own_name}.".removeprefix(".")
    hooked = [name + ending for ending in COMPUTED_FROM]
    return [
        each for other, each in present.items() if other in hooked or other.startswith(parametrized)
    ]


def _where_broken(path: list[_Link]) -> list[Tensor]:
    """The parameters of the module that stands where the path to a parameter leads elsewhere."""
    for holder, key, held in path:
        now = holder.get(key)
        if now is not held:
            return list(now.parameters()) if isinstance(now, nn.Module) else []
    return []
