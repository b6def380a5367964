"""The demonstration: the platform's main job on real data, step by step, each one checked."""
