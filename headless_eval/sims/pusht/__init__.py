"""Push-T: a T-shaped block is pushed onto its mark, simulated by the package ``gym-pusht``."""
