"""P8, P11 to P15: what living with the daemon is like."""
from tests.benchmarks.harness import Row, Scale


def living_with_it(scale: Scale) -> dict[str, Row]:
    return {}


def p13(scale: Scale) -> dict[str, Row]:
    return {}
