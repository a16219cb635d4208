"""Settings of the property tests of formats."""

from hypothesis import settings

# Tests never assert times.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")
