from hypothesis import settings

# No deadline: the machines that run this are shared, and a slow example is no failure.
# Derandomised: the same examples in every run, as with the seeded generators.
settings.register_profile("tritloom", deadline=None, derandomize=True)
settings.load_profile("tritloom")
