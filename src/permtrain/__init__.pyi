from .core.arrangement import arrange, straight_through
from .core.permutation import Permutation, permutation_between, ranking_distance
from .core.plan import Cut
from .core.profile import profile_of
from .core.ranking import ranking
from .core.vectors import VectorView
from .initial.initialize import initialize_
from .optim.index import IndexOptimizer
from .optim.laperm import LaPerm
from .optim.sgperm import SGPerm
from .verification import Verification, verify

__all__ = [
    "Cut",
    "IndexOptimizer",
    "LaPerm",
    "Permutation",
    "SGPerm",
    "VectorView",
    "Verification",
    "arrange",
    "initialize_",
    "permutation_between",
    "profile_of",
    "ranking",
    "ranking_distance",
    "straight_through",
    "verify",
]

__version__: str
