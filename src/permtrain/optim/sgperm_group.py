"""The settings that a parameter group of SGPerm holds, and how they change from step to step.

Source: Qiu and Suda, "Permute to Train", 2022, section 5.1 (alpha, lambda); the momentum is ours.
"""

from dataclasses import fields
from typing import Any

from permtrain.errors import SettingError
from permtrain.graph.partition import Sizes, authors_subsets, equal_subsets
from permtrain.graph.search import SEARCHES
from permtrain.optim.sgperm_settings import MoveSettings
from permtrain.ranges import as_plain, check_values

_CHANGEABLE = tuple(each.name for each in fields(MoveSettings) if each.name != "recommendation")


def subset_sizes(group: dict[str, Any], length: int) -> Sizes:
    """Of the subsets that a weight vector of `length` is cut into at this step."""
    subsets = authors_subsets if group["search"] == "authors" else equal_subsets
    return subsets(length, group["current_partition_ratio"])


def advance_(group: dict[str, Any]) -> None:
    """alpha_t, lambda_t and the momentum from those of the step before."""
    alpha = group.get("current_aggressiveness", group["aggressiveness"])
    ratio = group.get("current_partition_ratio", group["partition_ratio"])
    group["current_aggressiveness"] = max(
        group["aggressiveness_decay"] * alpha, group["aggressiveness_min"]
    )
    group["current_partition_ratio"] = min(
        group["partition_ratio_growth"] * ratio, group["partition_ratio_max"]
    )
    momentum = group.get("current_momentum", group["momentum"])
    group["current_momentum"] = min(
        momentum + (1 - group["momentum_approach"]) * (1 - momentum),
        max(group["momentum"], group["momentum_max"]),
    )


def settings_of(group: dict[str, Any]) -> dict[str, Any]:
    """What a user may say in a group, as it stands there."""
    return {key: group[key] for key in (*_CHANGEABLE, "granularity") if key in group}


def check_change(group: dict[str, Any], known: dict[str, Any]) -> None:
    """Refuses settings that somebody changed, by name; the group has the known ones again then."""
    now = settings_of(group)
    try:
        missing = [key for key in known if key not in now]
        if missing:
            raise SettingError(f"{missing[0]} was taken out of a parameter group; allowed: a value")
        if now["granularity"] != known["granularity"]:
            raise SettingError(
                f"granularity is {now['granularity']!r}, and was {known['granularity']!r} when its "
                "group was added; allowed: a new optimizer"
            )
        check_group({key: as_plain(value) for key, value in now.items()})
    except SettingError:
        group.update(known)
        raise


def forget_current_(group: dict[str, Any], known: dict[str, Any]) -> None:
    """Lets what decays or grows begin anew where its first value is another than the known one."""
    for key in ("aggressiveness", "partition_ratio", "momentum"):
        if group[key] != known[key]:
            group.pop(f"current_{key}", None)


def check_group(group: dict[str, Any]) -> None:
    """Refuses a setting outside its range, or that does not go with another, by name."""
    check_values(MoveSettings, group)
    if group["aggressiveness_min"] > group["aggressiveness"]:
        raise SettingError(
            f"aggressiveness_min is {group['aggressiveness_min']}; allowed: at most "
            f"aggressiveness, {group['aggressiveness']}"
        )
    if group["partition_ratio_max"] < group["partition_ratio"]:
        raise SettingError(
            f"partition_ratio_max is {group['partition_ratio_max']}; allowed: at least "
            f"partition_ratio, {group['partition_ratio']}"
        )
    if group["order"] not in SEARCHES[group["search"]].orders:
        raise SettingError(
            f"order is {group['order']!r}; allowed with search {group['search']!r}: "
            f"{', '.join(SEARCHES[group['search']].orders)}"
        )
