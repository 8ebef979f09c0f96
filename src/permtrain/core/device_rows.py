"""What a device is to do with the vectors of one tensor while the host goes on."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class DeviceRows:
    """Vectors to arrange: `out` becomes the profile's values in the order of `like`.

    Attributes:
        profile_VL: (V, L) or (1, L), ascending, of any floating dtype.
        like_VL: (V, L), float.
        out_VL: (V, L), of the profile's dtype; `like_VL` itself, or shares no memory with the
            others. Without latent weights, a row of `like_VL` with NaN or infinity leaves its row
            here as it is.
        not_finite: a single int32 on the same device; becomes 1 if there is such a row, else stays.
        latent_VL: (V, L), of `like_VL`'s dtype: takes the rows of `like_VL`, but not one with NaN
            or infinity: the row that lies here counts in its place. None where they are not kept.

    Ties: by position, the first one smallest; -0.0 and 0.0 tie.
    """

    profile_VL: Tensor
    like_VL: Tensor
    out_VL: Tensor
    not_finite: Tensor
    latent_VL: Tensor | None = None
