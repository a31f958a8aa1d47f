"""Pictures and pages: what reports of runs, profiles and environments are drawn with."""
