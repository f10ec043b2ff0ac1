"""Record what happened in a run, and read it back. No decision of a build is taken here."""
