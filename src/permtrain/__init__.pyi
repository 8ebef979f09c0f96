from .core.arrangement import arrange, straight_through
from .core.cut import Cut
from .core.permutation import Permutation, permutation_between, ranking_distance
from .core.profile import profile_of
from .core.ranking import ranking
from .initial.initialize import initialize_, records_of
from .initial.record import TensorRecord, initial_values
from .initial.rules import Rule
from .initial.structure import Structure
from .optim.frozen_zeros import FrozenZeros
from .optim.index import IndexOptimizer
from .optim.laperm import LaPerm
from .optim.rewiring import Rewiring
from .optim.sgperm import SGPerm
from .packed.model import pack, unpack
from .packed.reader import PackedFile
from .verification import Verification, verify

__all__ = [
    "Cut",
    "FrozenZeros",
    "IndexOptimizer",
    "LaPerm",
    "PackedFile",
    "Permutation",
    "Rewiring",
    "Rule",
    "SGPerm",
    "Structure",
    "TensorRecord",
    "Verification",
    "arrange",
    "initial_values",
    "initialize_",
    "pack",
    "permutation_between",
    "profile_of",
    "ranking",
    "ranking_distance",
    "records_of",
    "straight_through",
    "unpack",
    "verify",
]

__version__: str
