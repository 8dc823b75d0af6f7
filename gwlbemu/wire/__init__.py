"""Bytes <-> frozen values: GENEVE (RFC 8926), AWS's options, IP/TCP/UDP headers.

Imports nothing of the project but errors.
"""
