"""What monitoring compares with: the profile of the rows a model was trained on, and how their windows differed from it."""

from __future__ import annotations

import msgspec

from tidemill.core.errors import FormatTooNew, InvalidData
from tidemill.measures.profile import Profile

FORMAT = 1


class Reference(msgspec.Struct, frozen=True, kw_only=True):
    """The reference of a model version.

    Attributes:
        format: Version of this layout.
        profile: Counts and moments of the rows, the model's own predictions among them as `prediction`.
        window: Length of the reference's own windows in microseconds, 0 when the rows have no time.
        blocks: Per feature, the Jensen-Shannon distance of each of the reference's windows to the whole, oldest first.
        metrics: How good the model was on the rows it was tested with, by metric.
        baseline_loss: Mean loss per row on those rows, in [0, 1]; None when it was not measured.
    """

    format: int = FORMAT
    profile: Profile
    window: int = 0
    blocks: dict[str, list[float | None]] = msgspec.field(default_factory=dict)
    metrics: dict[str, float] = msgspec.field(default_factory=dict)
    baseline_loss: float | None = None

    def encode(self) -> bytes:
        """The reference as JSON."""
        return msgspec.json.encode(self)


def decode_reference(data: bytes) -> Reference:
    """Read a reference back.

    Raises:
        InvalidData: It is not the JSON of a reference.
        FormatTooNew: A newer program wrote it.
    """
    try:
        reference = msgspec.json.decode(data, type=Reference)
    except msgspec.DecodeError as error:
        raise InvalidData(f"this is no reference profile: {error}", hint="Register the model again") from None
    if reference.format > FORMAT:
        raise FormatTooNew(f"a reference profile of format {reference.format}", expected=f"at most {FORMAT}")
    return reference
