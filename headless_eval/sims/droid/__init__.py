"""The DROID scenes: table-top tasks in which a Franka Panda puts an object into a container."""
