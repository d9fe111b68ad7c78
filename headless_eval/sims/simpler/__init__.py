"""SimplerEnv's tasks (Li et al., 2024) over SAPIEN 3: two robots in front of photographs of their real rooms."""
