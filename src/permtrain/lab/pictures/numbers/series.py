"""Which color and which marker each of many series gets: by method, and by network."""

from collections.abc import Sequence


def series_places(labels: Sequence[str], num_colors: int) -> dict[str, tuple[int, int]]:
    """The numbers of color and marker of each series: a method has one color, a network one marker.

    A label reads "net: method"; one without a colon is a method of a single net. With more methods
    than colors the markers move on, so that no two series look alike.

    Example:
        >>> places = series_places(["lenet5: Adam", "lenet5: LaPerm", "fc: Adam"], 7)
        >>> list(places.values())
        [(0, 0), (1, 0), (0, 1)]
        >>> series_places(["a", "b", "c"], 2)
        {'a': (0, 0), 'b': (1, 0), 'c': (0, 1)}
    """
    parts = {label: label.rpartition(": ")[::2] for label in labels}
    nets = list(dict.fromkeys(net for net, _ in parts.values()))
    methods = list(dict.fromkeys(method for _, method in parts.values()))
    found = {}
    for label, (net, method) in parts.items():
        round_, color = divmod(methods.index(method), num_colors)
        found[label] = color, nets.index(net) + len(nets) * round_
    return found
