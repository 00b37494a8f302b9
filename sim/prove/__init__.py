"""Properties of the RTL, proved for all inputs."""
