"""Times as counts in fixed buckets, since percentiles of hours do not add up to those of a day and counts do."""

import math
from collections.abc import Mapping

from django.db.models import F, FloatField, IntegerField, Value
from django.db.models.functions import Cast, Floor, Greatest, Ln

# Each bucket ends 20 % above its begin and is read as its geometric middle: at most 9.6 % away from the true value.
GROWTH = 1.2


def bucket_of(column: str) -> Cast:
    """Return the expression for the number of the bucket that a column of milliseconds falls into."""
    milliseconds = Cast(Greatest(F(column), Value(1)), FloatField())
    return Cast(Floor(Ln(milliseconds) / Value(math.log(GROWTH))), IntegerField())


def percentile(counts: Mapping[int, int], share: float) -> int | None:
    """Return the milliseconds that this share of the times does not exceed, within 10 %; None without any.

    `counts` has the number of times by bucket. The rank is the nearest one: of ten times the ninth is the 90 %.
    """
    rank = math.ceil(share * sum(counts.values()))
    seen = 0
    for bucket in sorted(counts):
        seen += counts[bucket]
        if rank and seen >= rank:
            return round(math.pow(GROWTH, bucket + 0.5))
    return None
