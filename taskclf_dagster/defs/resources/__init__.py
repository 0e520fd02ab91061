"""Resources and I/O manager: home, clock, settings of a run, the supervisor that limits runs, and the records between assets."""
