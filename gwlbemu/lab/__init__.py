"""A plan made real: up, change, failure, the state folder, and a handle on a lab that is up."""
