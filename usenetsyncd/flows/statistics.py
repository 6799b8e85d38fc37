"""What a sample says about everything: exact bounds, and the sentence that tells a person."""

from math import exp, lgamma, log, log1p

CONFIDENCE = 0.99
_STEPS = 60


def share_missing_below(bad: int, sampled: int, confidence: float = CONFIDENCE) -> float:
    """The share of which it is certain with this confidence that not more than it is bad.

    Exact for draws that do not depend on each other (Clopper and Pearson 1934, one-sided): the share at which so few bad
    ones or fewer would be drawn with probability 1 - confidence. 1.0 without a sample.
    """
    if sampled <= 0 or bad >= sampled:
        return 1.0
    low, high = bad / sampled, 1.0
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if _at_most(bad, sampled, middle) > 1 - confidence:
            low = middle
        else:
            high = middle
    return high


def _at_most(bad: int, sampled: int, share: float) -> float:
    """The probability of ``bad`` or fewer in ``sampled`` draws. Terms that are too small to count are left out."""
    total = 0.0
    for count in range(bad, -1, -1):
        ways = lgamma(sampled + 1) - lgamma(count + 1) - lgamma(sampled - count + 1)
        term = exp(ways + count * log(share) + (sampled - count) * log1p(-share))
        total += term
        if term < total * 1e-17:
            break
    return total


def percentage_above(share: float) -> str:
    """A share in percent with two digits, rounded up, so that "less than" it stays true."""
    percent = share * 100
    for digits in range(6):
        scaled = percent * 10**digits
        if scaled >= 10 or digits == 5:
            # What is whole but for the rounding of the machine is whole.
            up = int(scaled - 1e-9) + 1
            return f"{up / 10**digits:.{digits}f}".rstrip("0").rstrip(".") if digits else str(up)
    raise AssertionError("unreachable")


def sample_statement(good: int, sampled: int, whole: bool = False, confidence: float = CONFIDENCE) -> str:
    """What to tell of ``good`` articles that could be read among ``sampled``; whole: these were all there are.

    "459 of 459 sampled: with 99 % confidence less than 1 % is missing".
    """
    if not sampled:
        return "no article was fetched: servers were only asked whether they have them"
    if whole:
        if good == sampled:
            return f"all {sampled:,} articles were fetched and opened: nothing is missing"
        return f"{good:,} of {sampled:,} articles could be fetched and opened: {sampled - good:,} are missing"
    bound = share_missing_below(sampled - good, sampled, confidence)
    if bound >= 1:
        return f"{good:,} of {sampled:,} sampled: that says nothing about the others"
    return (
        f"{good:,} of {sampled:,} sampled: with {confidence * 100:.0f} % confidence less than "
        f"{percentage_above(bound)} % is missing"
    )
