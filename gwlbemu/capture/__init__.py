"""Packets for people, pure: pcapng bytes, one-line rendering, the journey of a packet across taps."""
