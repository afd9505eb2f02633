"""What every test shares: Hypothesis tries the same examples on each run, without a clock."""

from hypothesis import settings

settings.register_profile("steady", deadline=None, derandomize=True)
settings.load_profile("steady")
