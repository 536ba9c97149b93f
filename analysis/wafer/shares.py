"""Intervals of shares."""

_Z = 1.959963984540054


def wilson(good: int, count: int) -> tuple[float, float]:
    """95 % interval of a share (Wilson, 1927), for `count` > 0."""
    share, z2 = good / count, _Z**2
    middle = (share + z2 / (2 * count)) / (1 + z2 / count)
    half = _Z / (1 + z2 / count) * (share * (1 - share) / count + z2 / (4 * count**2)) ** 0.5
    # At the ends the bounds are 0 and 1 but for rounding.
    return 0.0 if good == 0 else middle - half, 1.0 if good == count else middle + half
