"""Settings that all tests share."""

from hypothesis import HealthCheck, settings

# A shared machine may be slow at any moment, which is no failure: no test here is about time.
settings.register_profile("convbench", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("convbench")
