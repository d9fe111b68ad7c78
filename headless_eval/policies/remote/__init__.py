"""Policies on a server that speaks openpi's websocket protocol: ``--policy ws://host:port``."""
