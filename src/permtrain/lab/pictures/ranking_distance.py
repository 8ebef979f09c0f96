"""Ranking distance over training, with the values of the weights and the validation loss.

Source: Train by Reconnect, figure 3, and figure 12 of the preprint.
"""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from permtrain.errors import PictureError
from permtrain.lab.pictures.numbers.arrays import drawable
from permtrain.lab.pictures.numbers.ranking import RankingHistory
from permtrain.lab.pictures.style import AFTER, BEFORE, PALETTE, entitle, new_figure, tidy


def draw_ranking_distance(histories: Mapping[str, RankingHistory]) -> Figure:
    """One column for each setting: values of the weights, ranking distance, loss.

    Args:
        histories: by column title.

    Raises:
        PictureError: nothing was watched, or what was is not finite.
    """
    if not histories:
        raise PictureError("there is no record of ranking distances to draw")
    count = len(histories)
    figure = new_figure(max(3.2 * count, 5.0), 6.6)
    grid = figure.subplots(3, count, squeeze=False, sharex="col", sharey="row")
    for column, (title, history) in enumerate(histories.items()):
        _check(title, history)
        values, distance, loss = (tidy(axes) for axes in grid[:, column])
        for i, tint in enumerate((AFTER, BEFORE, AFTER)):
            values.plot(
                history.epochs, history.percentiles[:, i], color=tint, linewidth=0.3, alpha=0.5,
                rasterized=history.percentiles.shape[2] > 20,
            )  # fmt: skip
        for extreme in (history.lowest, history.highest):
            values.plot(history.epochs, extreme, "--", color="black", linewidth=0.9)
        distance.plot(
            history.distance_epochs, history.deviation, color=PALETTE[4], linewidth=0.8,
            label="standard deviation", rasterized=True,
        )  # fmt: skip
        distance.plot(
            history.distance_epochs, history.mean, color=AFTER, linewidth=0.8, label="mean",
            rasterized=True,
        )  # fmt: skip
        distance.set_ylim(bottom=0)
        loss.plot(*np.transpose(history.losses), color=AFTER, marker=".", linewidth=1)
        loss.set_xlabel("epoch")
        entitle(values, f"{title}\n{history.layer}")
        if column == 0:
            values.set_ylabel("weights: extremes (dashed),\nvectors' 15th, 50th, 85th percentile")
            distance.set_ylabel("change of rank in a step,\nas part of the vector's length")
            distance.legend(fontsize=7, frameon=False)
            loss.set_ylabel(history.loss_name)
    return figure


def _check(title: str, history: RankingHistory) -> None:
    drawable(history.percentiles, f"{title}: percentiles", ndim=3)
    drawable(history.mean, f"{title}: mean ranking distance", ndim=1)
    drawable(history.deviation, f"{title}: deviation of the ranking distance", ndim=1)
    if not len(history.losses):
        raise PictureError(f"{title}: no loss was recorded")
    drawable(np.array(history.losses), f"{title}: loss")
