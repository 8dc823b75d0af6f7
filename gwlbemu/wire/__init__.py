"""Bytes <-> frozen values: GENEVE (RFC 8926), AWS's options, IP/TCP/UDP heads.

Imports nothing of the project but errors.
"""
