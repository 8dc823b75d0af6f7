"""An IDS: rules (Suricata's language, a subset), stream (TCP in order), detect (rules on flows), eve (alerts)."""
