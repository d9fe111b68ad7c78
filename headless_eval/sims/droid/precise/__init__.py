"""The suite ``droid_precise``: tasks whose difficulty is a number with a unit."""
