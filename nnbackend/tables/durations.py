"""Durations in texts, as programs write them: days and a clock, ISO 8601, hours beyond a day."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

__all__ = ["are_durations", "seconds_of_duration"]

_NUMBER = r"[+-]?[0-9]+(?:[.,][0-9]+)?"
_CLOCK = (
    r"(?P<sign>[+-]?)(?P<hours>[0-9]+):(?P<minutes>[0-5][0-9]):(?P<seconds>[0-5][0-9](?:\.[0-9]+)?)"
)
_FORMS = [
    re.compile(rf"(?P<days>[+-]?[0-9]+) days?(?:,? {_CLOCK})?"),
    re.compile(_CLOCK),
    re.compile(
        rf"(?P<sign>[+-]?)P(?=[0-9T+-])(?:(?P<weeks>{_NUMBER})W)?(?:(?P<days>{_NUMBER})D)?"
        rf"(?:T(?=[0-9+-])(?:(?P<hours>{_NUMBER})H)?(?:(?P<minutes>{_NUMBER})M)?"
        rf"(?:(?P<seconds>{_NUMBER})S)?)?"
    ),
]
_TIME_OF_DAY = re.compile(r"(?:[01]?[0-9]|2[0-3]):.*")
_UNITS = {"weeks": 604_800.0, "days": 86_400.0, "hours": 3600.0, "minutes": 60.0, "seconds": 1.0}


def seconds_of_duration(text: str) -> float:
    """Return the seconds that a text means as a duration; NaN if it is none.

    >>> [seconds_of_duration(text) for text in ("1 day, 2:00:00", "-1 days +23:00:00", "30:00:05")]
    [93600.0, -3600.0, 108005.0]
    >>> [seconds_of_duration(text) for text in ("PT1H30M", "-P1DT0.5S", "3 days", "12:30")]
    [5400.0, -86400.5, 259200.0, nan]
    """
    match = next((found for form in _FORMS if (found := form.fullmatch(text))), None)
    if match is None:
        return math.nan
    fields = match.groupdict()
    parts = {
        unit: float((fields.get(unit) or "0").replace(",", ".")) * size
        for unit, size in _UNITS.items()
    }
    sign = -1.0 if fields["sign"] == "-" else 1.0
    if match.re is _FORMS[0]:  # there the sign of the clock is not that of the days
        return parts["days"] + sign * (sum(parts.values()) - parts["days"])
    return sign * sum(parts.values())


def are_durations(texts: Iterable[str], as_told: bool = False) -> bool:
    """Return whether all texts are durations.

    Clocks such as 2:30:00 are times of day, unless another of the texts is beyond a day or says days.

    Args:
        texts: the texts.
        as_told: whether they are to be numbers, so that clocks are durations; default False.
    """
    are_times = not as_told
    text = None
    for text in texts:
        if math.isnan(seconds_of_duration(text)):
            return False
        are_times = are_times and _TIME_OF_DAY.fullmatch(text) is not None
    return text is not None and not are_times
