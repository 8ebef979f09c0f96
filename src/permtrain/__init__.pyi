from .core.arrangement import arrange, straight_through
from .core.permutation import Permutation, permutation_between, ranking_distance
from .core.profile import profile_of
from .core.ranking import ranking
from .core.vectors import VectorView

__all__ = [
    "Permutation",
    "VectorView",
    "arrange",
    "permutation_between",
    "profile_of",
    "ranking",
    "ranking_distance",
    "straight_through",
]

__version__: str
