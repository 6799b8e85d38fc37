"""What every test gets: leak checks, a clock to turn, short directories, requirements said aloud."""

import os

from hypothesis import HealthCheck, settings

pytest_plugins = [
    "tests.inn.fixture",
    "tests.plugins.clock",
    "tests.plugins.directories",
    "tests.plugins.leaks",
    "tests.plugins.requirements",
]

# A shared two-core machine stalls for a second now and then: a deadline would measure that, not us.
settings.register_profile("dev", deadline=None)
settings.register_profile(
    "ci", deadline=None, derandomize=True, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("fuzz", deadline=None, max_examples=20_000, suppress_health_check=list(HealthCheck))
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") else "dev"))
