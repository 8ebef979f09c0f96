from .core.arrange import arrange, straight_through
from .core.cut import Granularity
from .core.description import Description, describe
from .core.granularity import GranularityRule
from .core.layouts import register_layout
from .core.permutation import Permutation, permutation_between, ranking_distance
from .core.profile import profile_of
from .core.ranking import ranking
from .errors import (
    ChangedWeightsError,
    CheckpointError,
    CircuitError,
    DataError,
    GranularityError,
    KindError,
    LeftAloneWarning,
    NonFiniteError,
    NoVectorsError,
    PackedFileError,
    PermtrainError,
    PictureError,
    ProfileError,
    ResultsError,
    SettingError,
)
from .initial.initialize import initialize_, records_of
from .initial.record import initial_values
from .initial.rules import Rule
from .initial.structure import Structure
from .optim.frozen_zeros import FrozenZeros
from .optim.index import IndexOptimizer
from .optim.laperm import LaPerm
from .optim.rewiring import Rewiring
from .optim.sgperm import SGPerm
from .optim.sgperm_settings import SGPERM_AUTHORS_CODE, SGPERM_PUBLISHED
from .optim.supermask import Supermask
from .packed.model import pack, unpack
from .packed.reader import PackedFile
from .verification import Verification, verify

__all__ = [
    "SGPERM_AUTHORS_CODE",
    "SGPERM_PUBLISHED",
    "ChangedWeightsError",
    "CheckpointError",
    "CircuitError",
    "DataError",
    "Description",
    "FrozenZeros",
    "Granularity",
    "GranularityError",
    "GranularityRule",
    "IndexOptimizer",
    "KindError",
    "LaPerm",
    "LeftAloneWarning",
    "NoVectorsError",
    "NonFiniteError",
    "PackedFile",
    "PackedFileError",
    "PermtrainError",
    "Permutation",
    "PictureError",
    "ProfileError",
    "ResultsError",
    "Rewiring",
    "Rule",
    "SGPerm",
    "SettingError",
    "Structure",
    "Supermask",
    "Verification",
    "arrange",
    "describe",
    "initial_values",
    "initialize_",
    "pack",
    "permutation_between",
    "profile_of",
    "ranking",
    "ranking_distance",
    "records_of",
    "register_layout",
    "straight_through",
    "unpack",
    "verify",
]

__version__: str
