"""Moving a class from one site of a semester to the other: failover, failback, and the drill that does both."""
