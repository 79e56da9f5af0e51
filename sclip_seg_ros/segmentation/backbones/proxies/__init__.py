"""Towers beside CLIP's, by whose features places attend to each other (ProxyCLIP)."""
