"""Certificates: a run's claims in one small file, and their check by whoever gets it (``docs/certificates.md``)."""
