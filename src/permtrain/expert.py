"""Names for those who look inside: cuts of tensors, records of birth, what every method answers.

They are documented and tested as the public ones, and change more often.
"""

from permtrain.core.cut import Cut
from permtrain.core.vectors import vectors_of
from permtrain.initial.record import TensorRecord
from permtrain.optim.method import Method
from permtrain.optim.sync_period import StepwisePeriod

__all__ = ["Cut", "Method", "StepwisePeriod", "TensorRecord", "vectors_of"]
