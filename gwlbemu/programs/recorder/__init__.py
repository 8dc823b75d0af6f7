"""The process that records every tap and every dropped packet of a lab into one pcapng."""
