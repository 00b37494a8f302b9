"""Test benches that run inside the simulator, the runner that starts them, and their tests."""
