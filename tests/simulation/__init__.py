"""The simulator: workloads, traces, drives, replay and sweeps."""
