"""An appliance that misbehaves on demand, for tests and lessons: modes (what it does to a packet) and the process."""
